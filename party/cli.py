"""``secagg party``: the commands of a hospital's node."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Annotated

import trio
import typer
from sqlalchemy.exc import OperationalError

from party import config, logs, process
from secagg.cli import CommandError, ExitCode

app = typer.Typer(no_args_is_help=True, help="A hospital's node.")


@app.callback()
def party() -> None:
    """A hospital's node."""


@app.command()
def start(
    configuration: Annotated[
        Path, typer.Option("--config", help="This hospital's party.toml.", show_default=True)
    ] = Path("party.toml"),
) -> None:
    """Run the node until SIGTERM or Ctrl-C.

    Prints one line of JSON with its local URL when that is served; logs go to stderr.
    """
    logs.configure()
    # Keys live in this process's memory; a core dump would put them on disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        trio.run(process.run, config.load(configuration))
    except* OperationalError as failed:
        raise CommandError(
            f"The node's database cannot be used: {failed.exceptions[0]}.",
            "Check the disk's space and health; nothing was sent that is not recorded.",
            ExitCode.USAGE,
        ) from None
