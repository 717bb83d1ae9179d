"""``secagg party enroll`` and ``secagg party install``: how a hospital joins a consortium."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from party.enrollment.installing import install as install_answer
from party.enrollment.keys import make
from secagg.cli import CommandError, ExitCode, Format
from secagg.crypto.randomness import SystemRandomness
from secagg.enrollment.fingerprint import fingerprint

Directory = Annotated[
    Path, typer.Option(help="Where this hospital's keys and configuration are.", show_default=True)
]
Output = Annotated[Format, typer.Option("--format", help="How to print the result.")]


def enroll(
    name: Annotated[str, typer.Argument(help="This hospital's name on the roster.")],
    directory: Directory = Path(),
    output: Output = Format.TEXT,
) -> None:
    """Make every key of this hospital here, and an enrollment to send to the consortium.

    The keys stay here. The enrollment holds nothing secret: name, public key, certificate request.
    """
    made = make(name, directory, SystemRandomness())
    if output is Format.JSON:
        facts = {"enrollment": str(made.path), "fingerprint": made.enrollment.fingerprint}
        typer.echo(msgspec.json.encode(facts).decode())
        return
    typer.echo(
        "\n".join(
            (
                f"The keys of {name!r} are in {directory.resolve()}; back them up, show them to "
                f"nobody.",
                f"Send to the consortium: {made.path}",
                f"Read out, when it calls:  {made.enrollment.fingerprint}",
                "",
                f"Then: secagg party install ANSWER --directory {directory}",
            )
        )
    )


def install(
    answer: Annotated[Path, typer.Argument(help="The consortium's answer to the enrollment.")],
    directory: Directory = Path(),
    epsilon: Annotated[
        str | None,
        typer.Option(help="This hospital's privacy budget over all rounds: its own decision."),
    ] = None,
    policy_fingerprint: Annotated[
        str | None,
        typer.Option(help="As the consortium has read it out: another policy is refused."),
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Check the consortium's answer against the keys that are here, and write the configuration."""
    installed = install_answer(answer, directory, _decimal(epsilon), policy_fingerprint)
    policy = installed.policy
    compared = fingerprint(policy.digest())
    if output is Format.JSON:
        facts = {
            "configuration": str(installed.configuration),
            "policy_digest": policy.digest().hex(),
            "policy_fingerprint": compared,
        }
        typer.echo(msgspec.json.encode(facts).decode())
        return
    typer.echo(
        "\n".join(
            (
                f"Consortium {policy.consortium!r}: "
                f"{', '.join(member.name for member in policy.roster)}.",
                f"Policy: {compared}. Every hospital must have the same: compare by telephone.",
                f"Written: {installed.configuration}. It is yours: read it, and set its limits.",
                "",
                f"secagg preflight --config {installed.configuration}",
                f"secagg party start --config {installed.configuration}",
            )
        )
    )


def _decimal(epsilon: str | None) -> Decimal | None:
    if epsilon is None:
        return None
    try:
        value = Decimal(epsilon)
    except InvalidOperation:
        value = Decimal(0)
    if not value.is_finite() or not 0 < value <= 10**6:
        raise CommandError(
            f"A privacy budget of epsilon = {epsilon!r} means nothing.",
            "Give a positive decimal such as 1.0.",
            ExitCode.USAGE,
        )
    return value
