"""A consortium for a trial: one policy, and for everybody in it a directory with all its keys.

Whoever makes it has held every hospital's keys. Where hospitals do not trust whoever sets it up,
each enrolls with keys of its own: ``server.enrolled``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

from secagg.cli import CommandError, ExitCode
from secagg.crypto.randomness import Randomness, SystemRandomness
from secagg.enrollment import settings
from secagg.enrollment.key_files import HospitalSecrets
from secagg.enrollment.settings import Settings, StandingBatch
from secagg.policy import Policy
from server.founding import LOOPBACK, Address, check_names, found
from server.new_files import make_directory, write_new
from server.policy_template import Template

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
    interface, are made in any case. ``api_port``: of the first hospital's HTTP interface; if the
    server is on this machine, so are all of them, and the others have the ports after it.
    ``randomness`` makes all keys but those for TLS, which come from the operating system in any
    case.

    Raises CommandError, before anything is written, for what does not fit together.
    """
    check_names(hospitals)
    _check_epsilon(epsilon)
    secrets = {name: HospitalSecrets.generate(randomness) for name in hospitals}
    founded = found(
        directory,
        consortium,
        template,
        {name: its.public for name, its in secrets.items()},
        Address(server_host, server_port),
        randomness,
    )
    noise = founded.policy.noise
    budget = None if noise.mode == "none" else (f"{Decimal(epsilon)}", noise.delta)
    batch = None if ehr else StandingBatch(rounds, test_records)
    # All on one machine cannot listen on one port.
    step = 1 if api_port and server_host in LOOPBACK else 0
    for position, name in enumerate(hospitals):
        tls = founded.authority.client(name)
        first = Settings(name, server_host, server_port, budget, batch, api_port + position * step)
        make_directory(directory / name)
        write_new(
            directory / name,
            founded.everybody
            | {settings.CERTIFICATE: tls.certificate, settings.SETTINGS: first.toml()},
            {settings.TLS_KEY: tls.private_key, **secrets[name].files()},
        )
    return Created(
        founded.policy,
        founded.server,
        {name: directory / name / settings.SETTINGS for name in hospitals},
    )


def _check_epsilon(decimal: str) -> None:
    try:
        value = Decimal(decimal)
    except InvalidOperation:
        value = Decimal(0)
    if not value.is_finite() or value <= 0:
        raise CommandError(
            f"A privacy budget of epsilon = {decimal!r} means nothing.",
            "Give a positive decimal such as 1.0.",
            ExitCode.USAGE,
        )
