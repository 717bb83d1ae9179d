"""The report for people: three tables."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.demo.plan import Plan
from benchmarks.demo.report import Accuracy, Report, Round

_WIDTH: Final = 110
_SHORT: Final = 16


def one_line(found: Round) -> str:
    """A round in a line, as it ends."""
    parts = [
        f"round {found.round} certified",
        f"{len(found.participants)} participants",
        f"dropped: {', '.join(found.dropped) or 'nobody'}",
        f"model {found.model_hash[:_SHORT]}",
    ]
    if found.accuracy is not None and len(found.accuracies) >= len(found.participants):
        parts.append(f"accuracy {found.accuracy:.3f}")
    return ", ".join(parts)


def show(report: Report, plan: Plan) -> None:
    """Print the report on stdout."""
    console = Console(width=_WIDTH)
    names = list(report.accuracy.federated)
    for table in (
        _rounds(report.rounds, plan),
        _models(report.rounds, names),
        _accuracies(report.accuracy),
    ):
        console.print(table)
        console.print()


def _rounds(rounds: Sequence[Round], plan: Plan) -> Table:
    promise = "no noise"
    if plan.target is not None:
        promise = (
            f"noise: {plan.target.mode}, epsilon = {plan.target.epsilon} at "
            f"delta = {plan.target.delta} per patient over all rounds"
        )
    table = Table(title=f"Rounds ({promise})")
    for heading in ("round", "attempt"):
        table.add_column(heading, justify="right")
    table.add_column("participants")
    table.add_column("dropped")
    for heading in ("epsilon (sum)", "(own vector)", "accuracy"):
        table.add_column(heading, justify="right")
    for found in rounds:
        table.add_row(
            str(found.round),
            str(found.attempt),
            ", ".join(found.participants),
            ", ".join(found.dropped),
            _most(found.epsilon),
            _most(found.epsilon_own),
            "" if found.accuracy is None else f"{found.accuracy:.3f}",
        )
    return table


def _models(rounds: Sequence[Round], names: Sequence[str]) -> Table:
    table = Table(title=f"Model hash at each hospital (first {_SHORT} digits)")
    table.add_column("round", justify="right")
    for name in names:
        table.add_column(name)
    for found in rounds:
        hashes = [found.model_hashes.get(name, "away")[:_SHORT] for name in names]
        table.add_row(str(found.round), *hashes)
    return table


def _accuracies(accuracy: Accuracy) -> Table:
    table = Table(title="Accuracy on each hospital's own test records")
    table.add_column("hospital")
    for heading in ("trained alone", "federated", "difference"):
        table.add_column(heading, justify="right")
    for name, federated in accuracy.federated.items():
        alone = accuracy.local[name]
        table.add_row(name, f"{alone:.3f}", f"{federated:.3f}", f"{federated - alone:+.3f}")
    alone, federated = fmean(accuracy.local.values()), fmean(accuracy.federated.values())
    table.add_section()
    table.add_row("mean", f"{alone:.3f}", f"{federated:.3f}", f"{federated - alone:+.3f}")
    return table


def _most(spent: dict[str, float | None]) -> str:
    """The largest of what the hospitals have spent."""
    known = [each for each in spent.values() if each is not None]
    return f"{max(known):.3f}" if known else "no limit"
