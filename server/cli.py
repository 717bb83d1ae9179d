"""``secagg server``: the commands of the coordinator."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Annotated

import trio
import typer
from sqlalchemy.exc import OperationalError

from secagg.cli import CommandError, ExitCode
from server import config, logs, process

app = typer.Typer(no_args_is_help=True, help="The coordinator.")


@app.callback()
def server() -> None:
    """The coordinator."""


@app.command()
def start(
    configuration: Annotated[
        Path, typer.Option("--config", help="The server.toml.", show_default=True)
    ] = Path("server.toml"),
) -> None:
    """Coordinate until SIGTERM or Ctrl-C.

    Prints one line of JSON with its address when it listens; logs go to stderr.
    """
    logs.configure()
    # The signing key lives in this process's memory; a core dump would put it on disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        trio.run(process.run, config.load(configuration))
    except* OperationalError as failed:
        raise CommandError(
            f"The server's database cannot be used: {failed.exceptions[0]}.",
            "Check the disk's space and health; nothing was sent that is not recorded.",
            ExitCode.USAGE,
        ) from None
