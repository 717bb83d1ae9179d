"""``secagg preflight``: whether a node can start, and what to mend before it does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from party import config
from party.preflight.plan import carry_out
from party.preflight.report import Finding, Outcome, Report
from party.preflight.site import Site
from secagg.cli import CommandError, Format


def preflight(
    configuration: Annotated[
        Path, typer.Option("--config", help="This hospital's party.toml.", show_default=True)
    ] = Path("party.toml"),
    output: Annotated[Format, typer.Option("--format", help="How to print the report.")] = (
        Format.TEXT
    ),
) -> None:
    """Check everything that a node needs before it starts, and change nothing.

    Clock, key files, certificate, policy, disk, database, privacy budget, proxy, names, and a real
    handshake with the server. Exit status 0 if all have passed, else that of the first failure.
    """
    report = _report(configuration)
    typer.echo(report.json() if output is Format.JSON else report.text())
    raise typer.Exit(report.exit_code)


def _report(path: Path) -> Report:
    name = "configuration"
    try:
        loaded = config.load(path)
    except CommandError as error:
        problem = error.problem
        return Report([Finding(name, Outcome.FAILED, problem, error.remedy, error.exit_code)])
    first = Finding(name, Outcome.PASSED, str(path))
    return Report([first, *carry_out(Site(loaded)).findings])
