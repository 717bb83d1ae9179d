"""A new consortium on disk: one policy, and for everybody in it a directory of their own.

Whoever makes it has held every hospital's keys. That is right for a trial; where hospitals do not
trust whoever sets it up, each makes its own identity.key and sends the public half alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from secagg.cli import CommandError, ExitCode
from secagg.crypto.randomness import Randomness, SystemRandomness
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey
from secagg.enrollment import settings
from secagg.enrollment.key_files import IDENTITY_KEY, HospitalSecrets, hex_line
from secagg.enrollment.settings import Settings, StandingBatch
from secagg.errors import DecodeError
from secagg.policy import Policy
from server.certificates import Authority
from server.new_files import make_directory, write_new
from server.policy_template import Template, read_template

__all__ = ["SERVER", "Created", "Template", "create", "read_template"]

SERVER: Final = "server"
"""Name of the server's directory; no hospital may have it."""

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_SYSTEM: Final = SystemRandomness()


@dataclass(frozen=True, slots=True)
class Created:
    """What is on disk now: the policy, server.toml, and each hospital's party.toml."""

    policy: Policy
    server: Path
    hospitals: Mapping[str, Path]


def create(
    directory: Path,
    hospitals: Sequence[str],
    template: Template,
    *,
    consortium: str = "consortium",
    server_host: str = "localhost",
    server_port: int = 8443,
    rounds: int = 10,
    epsilon: str = "1.0",
    test_records: bool = False,
    ehr: bool = False,
    api_port: int = 8000,
    randomness: Randomness = _SYSTEM,
) -> Created:
    """Make the consortium in ``directory``, which must be new or empty.

    ``server_host``, ``server_port``: where hospitals reach the server. ``epsilon`` (a decimal;
    unused without noise): what each party.toml starts with. ``ehr``: whether hospitals' batches are
    posted; otherwise each brings its records in a train.jsonl, which is used in each of ``rounds``
    rounds, and with ``test_records`` in a test.jsonl. Keys for an EHR, and a token for the HTTP
    interface, are made in any case. ``randomness`` makes all keys but those for TLS, which come
    from the operating system in any case.

    Raises CommandError, before anything is written, for what does not fit together.
    """
    _check(directory, hospitals, server_host, server_port, epsilon)
    seed = Secret(randomness.draw(32))
    secrets = {name: HospitalSecrets.generate(randomness) for name in hospitals}
    try:
        policy = template.policy(
            consortium,
            IdentityKey(seed).public,
            {name: its.public for name, its in secrets.items()},
        )
    except DecodeError as error:
        raise CommandError(
            f"These hospitals and this template make no policy: {error}.",
            "Change the hospitals, or the field of the template that is named.",
            ExitCode.USAGE,
        ) from None
    authority = Authority.create(f"{consortium} TLS authority")
    own = authority.issued
    everybody = {settings.POLICY: policy.canonical(), settings.AUTHORITY: own.certificate}

    make_directory(directory)
    write_new(directory, everybody, {"ca.key": own.private_key})
    tls = authority.server(server_host, tuple(dict.fromkeys((*_LOOPBACK, server_host))))
    make_directory(directory / SERVER)
    write_new(
        directory / SERVER,
        everybody
        | {"server.crt": tls.certificate, "server.toml": _server_toml(server_host, server_port)},
        {"server.key": tls.private_key, IDENTITY_KEY: hex_line(seed)},
    )
    budget = None if policy.noise.mode == "none" else (f"{Decimal(epsilon)}", policy.noise.delta)
    batch = None if ehr else StandingBatch(rounds, test_records)
    for name in hospitals:
        tls = authority.client(name)
        first = Settings(name, server_host, server_port, budget, batch, api_port)
        make_directory(directory / name)
        write_new(
            directory / name,
            everybody | {settings.CERTIFICATE: tls.certificate, settings.SETTINGS: first.toml()},
            {settings.TLS_KEY: tls.private_key, **secrets[name].files()},
        )
    return Created(
        policy,
        directory / SERVER / "server.toml",
        {name: directory / name / settings.SETTINGS for name in hospitals},
    )


def _check(directory: Path, hospitals: Sequence[str], host: str, port: int, epsilon: str) -> None:
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise CommandError(
            f"{directory} exists already, and keys are never overwritten.",
            "Name a directory that does not exist, or remove this one if its keys are not in use.",
            ExitCode.USAGE,
        )
    if SERVER in hospitals or len(set(hospitals)) < len(hospitals):
        raise CommandError(
            f"Every hospital needs a name of its own, other than {SERVER!r}.",
            "Give each --hospital another name.",
            ExitCode.USAGE,
        )
    if _HOST.fullmatch(host) is None and not _is_address(host):
        raise CommandError(
            f"{host!r} is neither a host name nor an IP address.",
            "Give the name under which hospitals reach the server, without port or scheme.",
            ExitCode.USAGE,
        )
    if not 1 <= port <= 65535:
        raise CommandError(
            f"Port {port} does not exist.", "Give one from 1 to 65535.", ExitCode.USAGE
        )
    if not _is_positive(epsilon):
        raise CommandError(
            f"A privacy budget of epsilon = {epsilon!r} means nothing.",
            "Give a positive decimal such as 1.0.",
            ExitCode.USAGE,
        )


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return "%" not in host


def _is_positive(decimal: str) -> bool:
    try:
        value = Decimal(decimal)
    except InvalidOperation:
        return False
    return value.is_finite() and value > 0


def _server_toml(host: str, port: int) -> bytes:
    # A server that hospitals reach by another name than loopback's has to listen to the network.
    listen = "127.0.0.1" if host in _LOOPBACK else "0.0.0.0"  # noqa: S104
    if host == "::1":
        listen = host
    return f"""\
policy = "policy.json"
state_dir = "state"

[listen]
host = "{listen}"
port = {port}

[tls]
certificate = "server.crt"
private_key = "server.key"
client_ca = "ca.crt"

[identity]
key_file = "identity.key"
""".encode()
