"""``secagg init``: make a consortium's policy, keys, certificates and configurations."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from secagg.cli import CommandError, ExitCode
from server.consortium import Created, create
from server.policy_template import find_template, shipped

_FILE = "Each hospital puts its records beside its party.toml, as train.jsonl."
_EHR = (
    "Each hospital's EHR encrypts records with fernet.key and posts them to the hospital's node. "
    "api.token is for callers, if party.toml demands a token."
)


class Format(StrEnum):
    """How the result is printed."""

    TEXT = "text"
    JSON = "json"


def init(
    directory: Annotated[Path, typer.Argument(help="Where to make it: a new directory.")],
    hospital: Annotated[
        list[str] | None,
        typer.Option(help="A hospital's name; once for each. Their order is the roster's."),
    ] = None,
    policy_template: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help=f"{', '.join(shipped())}; or JSON: a policy without consortium, server_key and "
            f"roster.",
        ),
    ] = None,
    consortium: Annotated[str, typer.Option(help="The consortium's name.")] = "consortium",
    server_host: Annotated[
        str, typer.Option(help="Name or address under which hospitals reach the server.")
    ] = "localhost",
    server_port: Annotated[int, typer.Option(min=1, max=65535)] = 8443,
    ehr: Annotated[
        bool,
        typer.Option(help="Batches are posted by each hospital's EHR, not read from a file."),
    ] = False,
    rounds: Annotated[
        int,
        typer.Option(min=1, max=100_000, help="Rounds in each party.toml; unused with --ehr."),
    ] = 10,
    epsilon: Annotated[
        str, typer.Option(help="Privacy budget in each party.toml; unused without noise.")
    ] = "1.0",
    output: Annotated[Format, typer.Option("--format", help="How to print the result.")] = (
        Format.TEXT
    ),
) -> None:
    """Make a consortium: policy, keys, certificates, one directory for everybody in it.

    Give each hospital its directory over a channel you trust, and keep ca.key off the network.
    Nothing is overwritten.
    """
    if policy_template is None:
        raise CommandError(
            "A policy template is missing: it says which model is trained, on which features, "
            "and with how much noise.",
            f"Give --policy-template one of {', '.join(shipped())}; or FILE.json: a policy without "
            f"consortium, server_key and roster.",
            ExitCode.USAGE,
        )
    created = create(
        directory,
        hospital or [],
        find_template(policy_template),
        consortium=consortium,
        server_host=server_host,
        server_port=server_port,
        rounds=rounds,
        epsilon=epsilon,
        ehr=ehr,
    )
    typer.echo(_as_json(created) if output is Format.JSON else _as_text(created, ehr))


def _as_json(created: Created) -> str:
    facts = {
        "policy_digest": created.policy.digest().hex(),
        "server": str(created.server),
        "hospitals": {name: str(path) for name, path in created.hospitals.items()},
    }
    return msgspec.json.encode(facts).decode()


def _as_text(created: Created, ehr: bool) -> str:
    policy = created.policy
    return "\n".join(
        (
            f"Consortium {policy.consortium!r} of {policy.n} hospitals: any {policy.threshold} "
            f"finish a round, {policy.min_survivors} have to take part, {policy.corrupt} may "
            f"collude with the server.",
            f"Policy digest: {policy.digest().hex()}",
            "",
            f"secagg server start --config {created.server}",
            *(f"secagg party start --config {path}" for path in created.hospitals.values()),
            "",
            _EHR if ehr else _FILE,
        )
    )
