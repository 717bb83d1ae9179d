"""``secagg budget plan``: what a privacy budget means before anybody spends it."""

from __future__ import annotations

import sys
from enum import StrEnum
from math import log
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.planning import chart
from benchmarks.planning.plan import Error, Plan, parse_wish, planned
from secagg.cli import CommandError, ExitCode, Format
from server.policy_template import Template, find_template

_WIDTH: Final = 100
_BAR: Final = 40


class Mode(StrEnum):
    """Whom the noise protects against; docs/privacy.md."""

    EXACT = "exact"
    AT_LEAST = "at_least"
    LOCAL = "local"


def plan(
    epsilon: Annotated[str, typer.Option(help="For a patient, over all rounds together.")] = "1",
    delta: Annotated[str, typer.Option(help="As 0.00001 or 1e-5.")] = "1e-5",
    rounds: Annotated[int, typer.Option(min=1, max=100_000)] = 12,
    hospitals: Annotated[int, typer.Option(min=3, max=4096)] = 4,
    patients: Annotated[
        int, typer.Option(min=1, max=2**24, help="Of each hospital, in a round.")
    ] = 500,
    mode: Annotated[Mode, typer.Option(help="Which guarantee epsilon is of.")] = Mode.EXACT,
    policy_template: Annotated[
        str, typer.Option(help="Features and model: a template's name, or a JSON file.")
    ] = "respiratory-cardiac",
    plot: Annotated[
        Path | None, typer.Option(help="Draw error against epsilon into this .svg, .png or .pdf.")
    ] = None,
    write_policy: Annotated[
        Path | None,
        typer.Option(help="Write the template for `secagg init --policy-template` to a new file."),
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="text or json.")] = Format.TEXT,
) -> None:
    """From a privacy budget to noise, error and bytes, before anybody spends it."""
    wish = parse_wish(epsilon, delta, rounds, hospitals, patients, mode.value)
    found, template = planned(wish, find_template(policy_template))
    if plot is not None:
        chart.draw(found, plot)
    if write_policy is not None:
        _write(template, write_policy)
    if output is Format.JSON:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found)).decode() + "\n")
        return
    console = Console(width=_WIDTH, highlight=False)
    console.print(_facts(found))
    console.print(_curve(found))
    if write_policy is not None:
        console.print(
            f"Wrote {write_policy}. Next: secagg init DIR --policy-template {write_policy} "
            f"--rounds {rounds} --epsilon {epsilon} --hospital NAME (once for each of {hospitals})",
            soft_wrap=True,
        )


def _facts(found: Plan) -> Table:
    table = Table(
        title=f"{found.rounds} rounds within epsilon = {found.epsilon:g} at delta = "
        f"{found.delta:g} for a patient, mode {found.mode}",
        show_header=False,
    )
    own = f"{found.epsilon_own:.3f} toward everybody else together, for its own noised vector"
    together = f"{found.epsilon_sum:.3f} toward the server with {found.corrupt} of the hospitals"
    for name, value in (
        ("epsilon of all rounds", f"{together}\n{own}"),
        ("zCDP of one round", f"rho = {found.rho:.9f}"),
        ("noise multiplier", f"{found.noise_multiplier:.3f} (honest deviation / sensitivity)"),
        (
            "noise of the sum",
            f"{found.deviation:,.1f} units in each of {found.coordinates:,} coordinates; one "
            f"patient moves the sum by {found.sensitivity:,} units at most",
        ),
        (f"error, {found.error.hospitals} hospitals", _error(found.error, found)),
        (
            f"error, {found.error_at_the_floor.hospitals} hospitals (the floor)",
            _error(found.error_at_the_floor, found),
        ),
        ("ring", f"{found.ring_bits} bits a coordinate"),
        (
            "bytes of a hospital, a round",
            f"{found.sent:,} sent, {found.received:,} received; the vector: {found.vector:,}",
        ),
        (
            "thresholds",
            f"{found.min_survivors} hospitals at least, {found.dropouts} may drop out of a round",
        ),
    ):
        table.add_row(name, value)
    return table


def _error(error: Error, found: Plan) -> str:
    return (
        f"average gradient of {error.patients:,} patients: {error.coordinate:.6f} a coordinate, "
        f"norm {error.norm:.4f} (a patient's is at most {found.gradient_bound:.3f}); their number: "
        f"+- {error.count:.1f}"
    )


def _curve(found: Plan) -> Table:
    table = Table(title="Error of the average (norm, one round) against epsilon of all rounds")
    for heading in ("epsilon", "error"):
        table.add_column(heading, justify="right")
    table.add_column("(logarithmic)")
    errors = [point.norm for point in found.curve]
    decades = log(max(errors)) - log(min(errors))
    for point in found.curve:
        length = 1 + round((_BAR - 1) * (log(point.norm) - log(min(errors))) / decades)
        table.add_row(f"{point.epsilon:g}", f"{point.norm:.4f}", "#" * length)
    return table


def _write(template: Template, path: Path) -> None:
    """A template that ``secagg init`` takes; never over an old file."""
    content = msgspec.json.format(msgspec.json.encode(template)).decode() + "\n"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(content)
    except OSError as error:
        raise CommandError(
            f"The policy template cannot be written to {path}: {error.strerror}.",
            "Name a file that does not exist yet, in a directory where you may write.",
            ExitCode.USAGE,
        ) from None
