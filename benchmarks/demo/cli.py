"""``secagg demo``: the whole system on one machine, with a loss on the way."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import trio
import typer
from rich.console import Console

from benchmarks.demo import printing
from benchmarks.demo.director import Director
from benchmarks.demo.plan import Plan, drops, target
from benchmarks.demo.processes import children
from benchmarks.demo.report import Report, Round, report
from benchmarks.demo.serving import Served, serve_forever
from benchmarks.demo.setting import set_up
from benchmarks.heart_disease.policy import CHOSEN, DELTA
from party.status import StatusReport
from secagg.cli import CommandError, ExitCode, Format

DEFAULT_DROP = "switzerland@share_keys"


class Noise(StrEnum):
    """Whom the noise protects against; docs/privacy.md."""

    EXACT = "exact"
    AT_LEAST = "at_least"
    LOCAL = "local"
    NONE = "none"


def demo(
    rounds: Annotated[int, typer.Option(min=1, max=100)] = CHOSEN.rounds,
    drop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME@STAGE[@ROUND]",
            help=f"Kill a hospital's process after a stage of a round, and bring it back; may be "
            f"repeated. [default: {DEFAULT_DROP}@2]",
        ),
    ] = None,
    noise: Annotated[Noise, typer.Option(help="Which guarantee the noise is for.")] = Noise.EXACT,
    epsilon: Annotated[str, typer.Option(help="For a patient, over all rounds together.")] = "1",
    delta: Annotated[str, typer.Option(help="For a patient, over all rounds together.")] = DELTA,
    seed: Annotated[int, typer.Option(min=0, help="Of the order of the records alone.")] = 0,
    keep: Annotated[
        Path | None,
        typer.Option(help="Make everything in this new directory, and leave it with its logs."),
    ] = None,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve",
            help="Instead: start everybody, print one JSON line that says how to post to each "
            "hospital, and stay until SIGTERM or Ctrl-C.",
        ),
    ] = False,
    output: Annotated[Format, typer.Option("--format", help="text or json.")] = Format.TEXT,
) -> None:
    """Four hospitals train a model; one is killed mid-round, the round completes, it comes back.

    One server and four hospitals, each a process, over TLS on loopback, with real patients' data.
    """
    if serve and drop is not None:
        raise CommandError(
            "Nobody is killed while the demonstration serves.",
            "Leave out --drop or --serve.",
            ExitCode.USAGE,
        )
    plan = Plan(
        rounds,
        drops([DEFAULT_DROP] if drop is None else drop, rounds),
        target(noise.value, epsilon, delta),
        seed,
    )
    with ExitStack() as context:
        directory = keep or Path(
            context.enter_context(tempfile.TemporaryDirectory(prefix="secagg-demo-"))
        )
        if serve:
            trio.run(stand_by, plan, directory)
            return
        found = trio.run(perform, plan, directory)
    if output is Format.JSON:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found)).decode() + "\n")
    else:
        printing.show(found, plan)


async def perform(plan: Plan, directory: Path) -> Report:
    """Play ``plan`` in ``directory``. Raises CommandError if it fails or is stopped."""
    tell = _teller()

    def show(found: Round) -> None:
        tell(printing.one_line(found))

    tell(f"setting up the consortium in {directory}")
    consortium = set_up(directory, plan)
    statuses: Mapping[str, StatusReport] = {}
    async with trio.open_nursery() as nursery:
        running = trio.CancelScope()
        await nursery.start(_cancel_on_signals, running)
        with running:
            async with children(directory / "logs") as processes:
                statuses = await Director(plan, consortium, processes, tell, show).play()
        nursery.cancel_scope.cancel()
    if running.cancelled_caught:
        raise CommandError(
            "The demonstration was stopped; all its processes have ended.",
            "Start it again to see it whole.",
            ExitCode.FAILED_ROUND,
        )
    tell("all processes have ended")
    return report(statuses)


async def stand_by(plan: Plan, directory: Path) -> None:
    """Serve ``plan`` in ``directory`` until a signal. Raises CommandError if a process ends."""
    tell = _teller()

    def announce(served: Served) -> None:
        sys.stdout.write(msgspec.json.encode(served).decode() + "\n")
        sys.stdout.flush()

    async with trio.open_nursery() as nursery:
        running = trio.CancelScope()
        await nursery.start(_cancel_on_signals, running)
        with running:
            await serve_forever(plan, directory, tell, announce)
        nursery.cancel_scope.cancel()
    tell("all processes have ended")


def _teller() -> Callable[[str], None]:
    """Prints on stderr what happens, and when."""
    console, begun = Console(stderr=True, highlight=False), time.monotonic()

    def tell(line: str) -> None:
        console.print(f"[{time.monotonic() - begun:5.1f} s] {line}", markup=False, soft_wrap=True)

    return tell


async def _cancel_on_signals(
    running: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """The first signal stops the play; further ones do not stop the clearing up."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            running.cancel()
