"""``secagg init``: make a consortium's policy, keys, certificates and configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from secagg.cli import CommandError, ExitCode, Format
from secagg.enrollment.fingerprint import fingerprint
from secagg.policy import Policy
from server.consortium import Created, create
from server.enrolled import Enrolled, enroll
from server.policy_template import Template, find_template, shipped

_FILE: Final = "Each hospital puts its records beside its party.toml, as train.jsonl."
_EHR: Final = (
    "Each hospital's EHR encrypts records with fernet.key and posts them to the hospital's node. "
    "api.token is for callers, if party.toml demands a token."
)


def init(
    directory: Annotated[Path, typer.Argument(help="Where to make it: a new directory.")],
    enrollment: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="What `secagg party enroll` has written at a hospital, which keeps its keys; once "
            "for each. Their order is the roster's.",
        ),
    ] = None,
    hospital: Annotated[
        list[str] | None,
        typer.Option(help="For a trial: a hospital's name; once for each. Its keys are made here."),
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
        typer.Option(
            help="For a trial: batches are posted by each hospital's EHR, not read from a file."
        ),
    ] = False,
    rounds: Annotated[
        int,
        typer.Option(
            min=1, max=100_000, help="For a trial: rounds in each party.toml; unused with --ehr."
        ),
    ] = 10,
    epsilon: Annotated[
        str,
        typer.Option(help="For a trial: budget in each party.toml; unused without noise."),
    ] = "1.0",
    output: Annotated[Format, typer.Option("--format", help="How to print the result.")] = (
        Format.TEXT
    ),
) -> None:
    """Make a consortium: its policy, its server, and what each hospital gets.

    Of hospitals that have enrolled, or for a trial of hospitals whose keys are made here: one
    directory for each, to be handed over on a channel you trust. Keep ca.key off the network.
    Nothing is overwritten.
    """
    template = _template(policy_template)
    if enrollment and hospital:
        raise CommandError(
            "A consortium is made of hospitals that have enrolled, or it is a trial; not both.",
            "Give --enrollment for each hospital, or --hospital for each.",
            ExitCode.USAGE,
        )
    if enrollment:
        enrolled = enroll(
            directory,
            enrollment,
            template,
            consortium=consortium,
            server_host=server_host,
            server_port=server_port,
        )
        typer.echo(_enrolled_json(enrolled) if output is Format.JSON else _enrolled_text(enrolled))
        return
    created = create(
        directory,
        hospital or [],
        template,
        consortium=consortium,
        server_host=server_host,
        server_port=server_port,
        rounds=rounds,
        epsilon=epsilon,
        ehr=ehr,
    )
    typer.echo(_created_json(created) if output is Format.JSON else _created_text(created, ehr))


def _template(name: str | None) -> Template:
    if name is None:
        raise CommandError(
            "A policy template is missing: it says which model is trained, on which features, "
            "and with how much noise.",
            f"Give --policy-template one of {', '.join(shipped())}; or FILE.json: a policy without "
            f"consortium, server_key and roster.",
            ExitCode.USAGE,
        )
    return find_template(name)


def _created_json(created: Created) -> str:
    facts = {
        "policy_digest": created.policy.digest().hex(),
        "server": str(created.server),
        "hospitals": {name: str(path) for name, path in created.hospitals.items()},
    }
    return msgspec.json.encode(facts).decode()


def _created_text(created: Created, ehr: bool) -> str:
    return "\n".join(
        (
            *_summary(created.policy),
            "",
            f"secagg server start --config {created.server}",
            *(f"secagg party start --config {path}" for path in created.hospitals.values()),
            "",
            _EHR if ehr else _FILE,
        )
    )


def _enrolled_json(enrolled: Enrolled) -> str:
    facts = {
        "policy_digest": enrolled.policy.digest().hex(),
        "policy_fingerprint": fingerprint(enrolled.policy.digest()),
        "server": str(enrolled.server),
        "answers": {name: str(path) for name, path in enrolled.answers.items()},
        "enrollment_fingerprints": dict(enrolled.fingerprints),
    }
    return msgspec.json.encode(facts).decode()


def _enrolled_text(enrolled: Enrolled) -> str:
    return "\n".join(
        (
            *_summary(enrolled.policy),
            "",
            "Call each hospital, on a number that you have from elsewhere, and compare what it",
            "reads out with its enrollment's fingerprint; only then send it its answer:",
            *(
                f"    {name}: {enrolled.fingerprints[name]}    {path}"
                for name, path in enrolled.answers.items()
            ),
            f"Read out to it the policy's fingerprint: {fingerprint(enrolled.policy.digest())}",
            "",
            f"secagg server start --config {enrolled.server}",
        )
    )


def _summary(policy: Policy) -> tuple[str, str]:
    return (
        f"Consortium {policy.consortium!r} of {policy.n} hospitals: any {policy.threshold} finish "
        f"a round, {policy.min_survivors} have to take part, {policy.corrupt} may collude with the "
        f"server.",
        f"Policy digest: {policy.digest().hex()}",
    )
