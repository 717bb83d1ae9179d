"""``secagg party``: the commands of a hospital's node."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Annotated

import trio
import typer
from sqlalchemy.exc import OperationalError

from party import config, logs, process
from party import participation_cli as participation
from party.enrollment import commands as enrollment
from party.rehearsal import Loss, LossPoint
from secagg.cli import CommandError, ExitCode

app = typer.Typer(no_args_is_help=True, help="A hospital's node.")


app.command()(enrollment.enroll)
app.command()(enrollment.install)
app.command()(participation.leave)
app.command("return")(participation.return_)


@app.callback()
def party() -> None:
    """A hospital's node."""


@app.command()
def start(
    configuration: Annotated[
        Path, typer.Option("--config", help="This hospital's party.toml.", show_default=True)
    ] = Path("party.toml"),
    stop_after: Annotated[
        LossPoint | None,
        typer.Option(help="Rehearse a loss: SIGKILL this process after a stage of a round."),
    ] = None,
    stop_in_round: Annotated[
        int, typer.Option(min=1, help="The training round of the rehearsed loss.")
    ] = 1,
) -> None:
    """Run the node until SIGTERM or Ctrl-C.

    Prints one line of JSON with its local URL when that is served; logs go to stderr.
    """
    logs.configure()
    # Keys live in this process's memory; a core dump would put them on disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    rehearsed = None if stop_after is None else Loss(stop_after, stop_in_round)
    try:
        trio.run(process.run, config.load(configuration), rehearsed)
    except* OperationalError as failed:
        raise CommandError(
            f"The node's database cannot be used: {failed.exceptions[0]}.",
            "Check the disk's space and health; nothing was sent that is not recorded.",
            ExitCode.USAGE,
        ) from None
