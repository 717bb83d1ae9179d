"""``secagg budget show``: what this hospital has spent of its privacy, its node running or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, inspect
from sqlalchemy.exc import DatabaseError

from party import config
from party.accounts import ChargeReport, PrivacyBudgetReport, budget_report
from party.config import PartyConfig
from party.journal import ENTRIES, Journal
from party.ledger import Cost, Ledger
from party.models import ModelStore
from party.opening import check_budget, read_policy
from party.preflight.storage import existing_database
from secagg.cli import CommandError, ExitCode, Format
from secagg.errors import LocalMisuse

SCHEMA: Final = "secagg-budget/1"

_SHOWN: Final = 16
"""Hex digits of a model hash in the table; the JSON has them all."""

app = typer.Typer(no_args_is_help=True, help="A hospital's privacy budget.")


@app.callback()
def budget() -> None:
    """A hospital's privacy budget."""


@app.command()
def show(
    configuration: Annotated[
        Path, typer.Option("--config", help="This hospital's party.toml.", show_default=True)
    ] = Path("party.toml"),
    output: Annotated[Format, typer.Option("--format", help="text or json.")] = Format.TEXT,
) -> None:
    """What is spent and what is left of the privacy budget, charge by charge.

    It only reads, and may be asked while the node runs.
    """
    report = account(config.load(configuration))
    if output is Format.JSON:
        typer.echo(json.dumps({"schema": SCHEMA, **report.model_dump(mode="json")}, indent=2))
    else:
        _print(report)


def account(node: PartyConfig) -> PrivacyBudgetReport:
    """The account of the hospital that ``node`` configures. Raises CommandError."""
    policy, _, _ = read_policy(node.policy)
    try:
        u = policy.client(node.name)
    except LocalMisuse as error:
        raise CommandError(
            f"{error}.", "Correct name or policy in party.toml.", ExitCode.USAGE
        ) from None
    cost = Cost.of(policy)
    check_budget(cost, node.budget)
    engine = existing_database(node)
    try:
        if engine is None or not inspect(engine).has_table(ENTRIES.name):
            raise CommandError(
                "No node has run here yet, so nothing is spent.",
                "Start it with `secagg party start`; or correct state_dir in party.toml.",
                ExitCode.USAGE,
            )
        certificates = Journal(engine, None, ModelStore(engine)).certificates
        return budget_report(_ledger(engine, cost, node), certificates, u)
    except DatabaseError as error:
        raise CommandError(
            f"The node's database cannot be read: {error.orig}.",
            "Run this as the user that runs the node; `secagg preflight` looks closer.",
            ExitCode.USAGE,
        ) from None
    finally:
        if engine is not None:
            engine.dispose()


def _ledger(engine: Engine, cost: Cost | None, node: PartyConfig) -> Ledger | None:
    if cost is None or node.budget is None:
        return None
    return Ledger(engine, cost, *node.budget.exact)


def _print(report: PrivacyBudgetReport) -> None:
    console = Console(highlight=False, soft_wrap=True)
    if report.epsilon_total is not None and report.epsilon_used is not None:
        console.print(
            f"epsilon {report.epsilon_used:.6g} of {report.epsilon_total:g} is spent "
            f"({report.percentage_used:.1f} %) at delta = {report.delta:g}; "
            f"{report.affordable_attempts} more attempts fit."
        )
    if report.history:
        console.print(_history(report.history))
    if report.warning is not None:
        console.print(report.warning)


def _history(charges: list[ChargeReport]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("round", "charged at (UTC)", "epsilon", "total", "left", "model"):
        table.add_column(heading, no_wrap=True)
    for charge in charges:
        table.add_row(
            str(charge.round),
            f"{charge.timestamp:%Y-%m-%d %H:%M:%S}",
            f"{charge.epsilon_spent:.6g}",
            f"{charge.epsilon_total_used:.6g}",
            f"{charge.epsilon_remaining:.6g}",
            "none" if charge.model_hash is None else f"{charge.model_hash[:_SHOWN]}..",
        )
    return table
