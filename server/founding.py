"""What is made once for a consortium, whoever holds the hospitals' keys: policy, TLS authority, and
the server with its own directory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from secagg.cli import CommandError, ExitCode
from secagg.crypto.randomness import Randomness
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey
from secagg.enrollment import settings
from secagg.enrollment.key_files import IDENTITY_KEY, hex_line
from secagg.errors import DecodeError
from secagg.policy import Policy
from server.certificates import Authority
from server.new_files import make_directory, write_new
from server.policy_template import Template

SERVER: Final = "server"
"""Name of the server's directory; no hospital may have it."""

LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Address:
    """Where hospitals reach the server."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Founded:
    """The policy, who issues certificates, and the server's server.toml."""

    policy: Policy
    authority: Authority
    server: Path

    @property
    def everybody(self) -> dict[str, bytes]:
        """The files that every member has."""
        return {
            settings.POLICY: self.policy.canonical(),
            settings.AUTHORITY: self.authority.issued.certificate,
        }


def found(
    directory: Path,
    consortium: str,
    template: Template,
    roster: Mapping[str, bytes],
    address: Address,
    randomness: Randomness,
) -> Founded:
    """Found the consortium of ``roster`` (public identity keys by name) in ``directory``.

    Raises CommandError, before anything is written, for what does not fit together.
    """
    check_free(directory)
    check_names(list(roster))
    _check_address(address)
    seed = Secret(randomness.draw(32))
    try:
        policy = template.policy(consortium, IdentityKey(seed).public, roster)
    except DecodeError as error:
        raise CommandError(
            f"These hospitals and this template make no policy: {error}.",
            "Change the hospitals, or the field of the template that is named.",
            ExitCode.USAGE,
        ) from None
    authority = Authority.create(f"{consortium} TLS authority")
    founded = Founded(policy, authority, directory / SERVER / "server.toml")
    tls = authority.server(address.host, tuple(dict.fromkeys((*LOOPBACK, address.host))))
    make_directory(directory)
    write_new(directory, founded.everybody, {"ca.key": authority.issued.private_key})
    make_directory(directory / SERVER)
    write_new(
        directory / SERVER,
        founded.everybody | {"server.crt": tls.certificate, "server.toml": _server_toml(address)},
        {"server.key": tls.private_key, IDENTITY_KEY: hex_line(seed)},
    )
    return founded


def check_free(directory: Path) -> None:
    """Raise CommandError unless ``directory`` is new or empty."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise CommandError(
            f"{directory} exists already, and keys are never overwritten.",
            "Name a directory that does not exist, or remove this one if its keys are not in use.",
            ExitCode.USAGE,
        )


def check_names(hospitals: Sequence[str]) -> None:
    """Raise CommandError unless every hospital has a name of its own."""
    if SERVER in hospitals or len(set(hospitals)) < len(hospitals):
        raise CommandError(
            f"Every hospital needs a name of its own, other than {SERVER!r}.",
            "Give each hospital another name.",
            ExitCode.USAGE,
        )


def _check_address(address: Address) -> None:
    if not settings.is_host(address.host):
        raise CommandError(
            f"{address.host!r} is neither a host name nor an IP address.",
            "Give the name under which hospitals reach the server, without port or scheme.",
            ExitCode.USAGE,
        )
    if not 1 <= address.port <= 65535:
        raise CommandError(
            f"Port {address.port} does not exist.", "Give one from 1 to 65535.", ExitCode.USAGE
        )


def _server_toml(address: Address) -> bytes:
    # A server that hospitals reach by another name than loopback's has to listen to the network.
    listen = "127.0.0.1" if address.host in LOOPBACK else "0.0.0.0"  # noqa: S104
    if address.host == "::1":
        listen = address.host
    return f"""\
policy = "policy.json"
state_dir = "state"

[listen]
host = "{listen}"
port = {address.port}

[tls]
certificate = "server.crt"
private_key = "server.key"
client_ca = "ca.crt"

[identity]
key_file = "identity.key"
""".encode()
