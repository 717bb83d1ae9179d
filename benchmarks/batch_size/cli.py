"""``secagg bench batch-size``: how many patients to post at a time."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
import trio
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.batch_size.accuracy import (
    ROUNDS,
    TOLERANCE,
    Privacy,
    Utility,
    planned_policy,
    privacy,
    utility,
)
from benchmarks.batch_size.timing import Time, times
from secagg.cli import Format

SCHEMA: Final = "secagg-bench-batch-size/1"
SIZES: Final = (10, 100, 500, 1000, 2000)
_SEED: Final = 1000
_WIDTH: Final = 118


def batch_size(
    size: Annotated[
        list[int] | None,
        typer.Option(
            min=1, max=2048, help=f"Patients per hospital; repeatable. [default: {SIZES}]"
        ),
    ] = None,
    repetitions: Annotated[int, typer.Option(min=1, help="Rounds timed for each size.")] = 5,
    seeds: Annotated[int, typer.Option(min=1, help="Noise seeds for each accuracy.")] = 10,
    output: Annotated[Format, typer.Option("--format", help="text or json.")] = Format.TEXT,
) -> None:
    """Batches of 10 to 2,000 synthetic patients per hospital: time, accuracy, privacy cost.

    Times are of a server and four nodes on this machine, from HTTP request to answer.
    """
    sizes = size or list(SIZES)
    console = Console(stderr=True, highlight=False)

    def tell(found: Time) -> None:
        console.print(f"{found.patients} patients per hospital: {found.answer:.2f} s")

    timed = trio.run(times, sizes, repetitions, _SEED, tell)
    useful = []
    for each in sizes:
        useful.append(utility(each, seeds, _SEED))
        console.print(f"accuracy with {each} patients per hospital: {useful[-1].noised:.3f}")
    cost = privacy(planned_policy())
    if output is Format.JSON:
        document = {"schema": SCHEMA, "privacy": cost, "times": timed, "accuracies": useful}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(document)).decode() + "\n")
        return
    Console(width=_WIDTH).print(_table(timed, useful, cost))


def _table(timed: Sequence[Time], useful: Sequence[Utility], cost: Privacy) -> Table:
    table = Table(
        title=f"Four hospitals, synthetic patients, policy respiratory-cardiac, {ROUNDS} rounds.\n"
        f"Privacy: one round costs epsilon = {cost.one:.3f}, all {cost.all:.3f}, at delta = "
        f"{cost.delta:g}, however many patients are posted."
    )
    for heading in (
        *("patients", "request", "answer", "judging", "training", "accuracy", "without noise"),
        f"epsilon for {TOLERANCE:g} less",
    ):
        table.add_column(heading, justify="right")
    for time, use in zip(timed, useful, strict=True):
        table.add_row(
            f"{time.patients:,}",
            f"{time.body / 1000:,.0f} kB",
            f"{time.answer:.2f} s",
            f"{time.judging:.3f} s",
            f"{time.training:.3f} s",
            f"{use.noised:.3f} +- {use.deviation:.3f}",
            f"{use.clean:.3f}",
            "over 100" if use.needed is None else f"{use.needed:g}",
        )
    return table
