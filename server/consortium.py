"""A new consortium on disk: one policy, and for everybody in it a directory of their own.

Whoever makes it has held every hospital's keys. That is right for a trial; where hospitals do not
trust whoever sets it up, each makes its own identity.key and sends the public half alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Literal

import msgspec

from secagg.cli import CommandError, ExitCode
from secagg.crypto.randomness import Randomness, SystemRandomness
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey
from secagg.errors import DecodeError
from secagg.model import ModelSpec
from secagg.policy import SCHEMA, SUITE, Member, NoiseSpec, Policy, VectorSpec, checked
from secagg.schema import FeatureSchema
from server.certificates import Authority

SERVER: Final = "server"
"""Name of the server's directory; no hospital may have it."""

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_SYSTEM: Final = SystemRandomness()


class Template(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A policy without its people: everything but ``consortium``, ``server_key`` and ``roster``.

    Thresholds left out follow from the number n of hospitals: ``corrupt`` is n // 5, at least 1;
    ``min_survivors`` the least that the policy allows; ``dropouts`` all the others. A ``vector``
    left out is the one that the model's contributions need.
    """

    schema: Literal["secagg-policy/1"] = SCHEMA
    suite: Literal["secagg-suite-1"] = SUITE
    version: int = 1
    corrupt: int | None = None
    dropouts: int | None = None
    min_survivors: int | None = None
    graph: Literal["complete"] = "complete"
    vector: VectorSpec | None = None
    noise: NoiseSpec
    model: ModelSpec
    features: FeatureSchema
    max_charged_attempts: int = 3

    def policy(self, consortium: str, server_key: bytes, roster: Mapping[str, bytes]) -> Policy:
        """The policy of these people, checked; ``roster``: public identity keys by name, in order.

        Raises DecodeError saying which bound failed.
        """
        n = len(roster)
        corrupt = max(1, n // 5) if self.corrupt is None else self.corrupt
        threshold = (n + corrupt) // 2 + 1
        least = max(threshold, corrupt + 2, 3)
        survivors = least if self.min_survivors is None else self.min_survivors
        dropouts = max(n - survivors, 0) if self.dropouts is None else self.dropouts
        rule = self.model.contribution
        needed = VectorSpec(self.model.dimension, rule.coordinate_bound, rule.scale)
        return checked(
            Policy(
                schema=self.schema,
                suite=self.suite,
                consortium=consortium,
                version=self.version,
                server_key=server_key.hex(),
                roster=tuple(Member(name, key.hex()) for name, key in roster.items()),
                corrupt=corrupt,
                dropouts=dropouts,
                min_survivors=survivors,
                graph=self.graph,
                vector=self.vector or needed,
                noise=self.noise,
                model=self.model,
                features=self.features,
                max_charged_attempts=self.max_charged_attempts,
            )
        )


@dataclass(frozen=True, slots=True)
class Created:
    """What is on disk now: the policy, server.toml, and each hospital's party.toml."""

    policy: Policy
    server: Path
    hospitals: Mapping[str, Path]


def read_template(path: Path) -> Template:
    """The template in the JSON file ``path``. Raises CommandError naming the field that is wrong.

    A policy.json without consortium, server_key and roster is one.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Template)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CommandError(
            f"The policy template {path} cannot be used: {error}.",
            "It is a policy as JSON, without consortium, server_key and roster.",
            ExitCode.USAGE,
        ) from None


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
    api_port: int = 8000,
    randomness: Randomness = _SYSTEM,
) -> Created:
    """Make the consortium in ``directory``, which must be new or empty.

    ``server_host``, ``server_port``: where hospitals reach the server. ``rounds``, ``epsilon``
    (a decimal; unused without noise): what each party.toml starts with. ``test_records``: whether
    it names a test.jsonl. Records are for the hospitals to bring. ``randomness`` makes identity and
    journal keys; TLS keys come from the operating system in any case.

    Raises CommandError, before anything is written, for what does not fit together.
    """
    _check(directory, hospitals, server_host, server_port, epsilon)
    seeds = {name: Secret(randomness.draw(32)) for name in (SERVER, *hospitals)}
    public = {name: IdentityKey(seed).public for name, seed in seeds.items()}
    try:
        policy = template.policy(
            consortium, public[SERVER], {name: public[name] for name in hospitals}
        )
    except DecodeError as error:
        raise CommandError(
            f"These hospitals and this template make no policy: {error}.",
            "Change the hospitals, or the field of the template that is named.",
            ExitCode.USAGE,
        ) from None
    authority = Authority.create(f"{consortium} TLS authority")
    own = authority.issued
    everybody = {"policy.json": policy.canonical(), "ca.crt": own.certificate}

    _make(directory)
    _write(directory, everybody, {"ca.key": own.private_key})
    tls = authority.server(server_host, tuple(dict.fromkeys((*_LOOPBACK, server_host))))
    _make(directory / SERVER)
    _write(
        directory / SERVER,
        everybody
        | {"server.crt": tls.certificate, "server.toml": _server_toml(server_host, server_port)},
        {"server.key": tls.private_key, "identity.key": _hex(seeds[SERVER])},
    )
    for name in hospitals:
        tls = authority.client(name)
        settings = _party_toml(
            name, server_host, server_port, policy.noise, rounds, epsilon, test_records, api_port
        )
        _make(directory / name)
        _write(
            directory / name,
            everybody | {"party.crt": tls.certificate, "party.toml": settings},
            {
                "party.key": tls.private_key,
                "identity.key": _hex(seeds[name]),
                "journal.key": _hex(Secret(randomness.draw(32))),
            },
        )
    return Created(
        policy,
        directory / SERVER / "server.toml",
        {name: directory / name / "party.toml" for name in hospitals},
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


def _party_toml(
    name: str,
    host: str,
    port: int,
    noise: NoiseSpec,
    rounds: int,
    epsilon: str,
    test_records: bool,
    api_port: int,
) -> bytes:
    test = 'test = "test.jsonl"\n' if test_records else ""
    budget = f"""
[budget]  # what this hospital allows over all rounds: its own decision
epsilon = "{Decimal(epsilon)}"
delta = "{noise.delta}"
"""
    return f"""\
name = "{name}"
policy = "policy.json"
state_dir = "state"

[server]
host = "{host}"
port = {port}

[tls]
ca = "ca.crt"
certificate = "party.crt"
private_key = "party.key"
server_name = "{host}"

[identity]
key_file = "identity.key"
journal_key_file = "journal.key"

[data]
train = "train.jsonl"
{test}rounds = {rounds}
{budget if noise.mode != "none" else ""}
[api]
port = {api_port}
""".encode()


def _hex(secret: Secret) -> bytes:
    return secret.reveal().hex().encode() + b"\n"


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(directory, error) from None


def _write(directory: Path, public: Mapping[str, bytes], private: Mapping[str, bytes]) -> None:
    """Write new files; never over an old one, and keys for their owner alone from the start."""
    for contents, mode in ((public, 0o644), (private, 0o600)):
        for name, content in contents.items():
            try:
                descriptor = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
            except OSError as error:
                raise _unwritable(directory / name, error) from None


def _unwritable(path: Path, error: OSError) -> CommandError:
    return CommandError(
        f"{path} cannot be written: {error.strerror}.",
        "Name a directory on a disk with space where this user may write.",
        ExitCode.USAGE,
    )
