"""``secagg party leave`` and ``secagg party return``: whether this hospital takes part in rounds.

A running node is asked over its own HTTP interface. Without one, its database is opened in its
place, under the same lock: what is decided is then as durable as if the node had done it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import trio
import typer
from sqlalchemy.exc import OperationalError

from party import config, logs, own_api, process, state_dir
from party.api.participation import report
from party.config import PartyConfig
from party.node import Node
from secagg.cli import CommandError, ExitCode, Format

Configuration = Annotated[
    Path, typer.Option("--config", help="This hospital's party.toml.", show_default=True)
]
TokenFile = Annotated[
    Path | None,
    typer.Option(help="File with the token in clear, if the node demands one."),
]
Output = Annotated[Format, typer.Option("--format", help="How to print the result.")]


def leave(
    configuration: Configuration = Path("party.toml"),
    token_file: TokenFile = None,
    output: Output = Format.TEXT,
) -> None:
    """Take part in no more rounds, and erase the batches that wait.

    A round that is under way is gone through to its end, since the others' sum may rest on it.
    What is in certified models remains there. The audit log says that the hospital has left.
    """
    loaded = config.load(configuration)
    answer = _decide(loaded, "DELETE", Node.leave, token_file)
    if output is Format.JSON:
        typer.echo(json.dumps(answer))
        return
    under_way = answer.get("in_round")
    last = "" if under_way is None else f" It goes through round {under_way} to its end first."
    typer.echo(
        f"{loaded.name} takes part in no more rounds.{last} Batches that waited are erased.\n"
        f"To come back: secagg party return --config {configuration}"
    )


def return_(
    configuration: Configuration = Path("party.toml"),
    token_file: TokenFile = None,
    output: Output = Format.TEXT,
) -> None:
    """Take part in rounds again. Batches that were erased have to be posted anew."""
    loaded = config.load(configuration)
    answer = _decide(loaded, "PUT", Node.return_, token_file)
    if output is Format.JSON:
        typer.echo(json.dumps(answer))
        return
    typer.echo(f"{loaded.name} takes part in rounds again.")


def _decide(
    loaded: PartyConfig,
    method: str,
    decision: Callable[[Node], Awaitable[None]],
    token_file: Path | None,
) -> dict[str, Any]:
    """Have the node decide, whether it runs or not; the report of /participation."""
    if state_dir.is_held(loaded.state_dir):
        return own_api.ask(loaded.api, method, "/participation", token_file)
    logs.configure()
    try:
        with process.opened(loaded) as assembly:
            trio.run(decision, assembly.node)
            return report(assembly.node).model_dump()
    except OperationalError as failed:
        raise CommandError(
            f"The node's database cannot be used: {failed.orig}.",
            "Check the disk's space and health, and decide again.",
            ExitCode.USAGE,
        ) from None
