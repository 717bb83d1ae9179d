"""``python -m benchmarks.heart_disease``: the utility study, or the selection of its constants."""

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.heart_disease import selection, study
from benchmarks.heart_disease.plot import draw
from secagg.cli import Format

SCHEMA = "secagg-heart-disease/1"
_WIDTH = 100


def main(
    seeds: Annotated[int, typer.Option(min=1, help="Noise seeds per private row.")] = 10,
    select: Annotated[
        bool, typer.Option("--select", help="Cross-validate the constants instead (minutes).")
    ] = False,
    secure: Annotated[
        bool, typer.Option("--secure", help="Add up by whole protocol rounds, in memory.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(help="Also draw the study into this .svg, .png or .pdf.", show_default=False),
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="text or json.")] = Format.TEXT,
) -> None:
    """Accuracy on FLamby's heart-disease split against epsilon, beside FLamby's own figures."""
    if select:
        _select(output)
    else:
        outcome = study.run(seeds, secure=secure)
        if plot is not None:
            draw(outcome, plot)
        _study(outcome, output)


def _study(outcome: study.Study, output: Format) -> None:
    if output is Format.JSON:
        _write({"schema": SCHEMA, "study": outcome, "published": study.PUBLISHED})
        return
    table = Table(
        title=f"Accuracy, mean of four test sets: {outcome.rounds} rounds, {outcome.seeds} seeds, "
        f"delta = {outcome.delta} per patient over all rounds"
    )
    for heading in ("", "epsilon (sum)", "(own vector)", "accuracy", "+-"):
        table.add_column(heading, justify="right" if heading else "left")
    for row in outcome.results:
        epsilons = (f"{row.spent.sum:.3f}", f"{row.spent.own:.3f}") if row.spent else ("", "")
        table.add_row(row.name, *epsilons, f"{row.mean:.3f}", f"{row.deviation:.3f}")
    for figure in study.PUBLISHED:
        table.add_row(figure.name, "", figure.epsilon or "", f"{figure.accuracy:.3f}", "")
    Console(width=_WIDTH).print(table)


def _select(output: Format) -> None:
    console = Console(stderr=True)
    candidates = []
    for number, constants in enumerate(grid := selection.grid(), start=1):
        candidates.append(selection.evaluate(constants))
        console.print(
            f"{number}/{len(grid)}  {candidates[-1].score:.4f}  {constants}", soft_wrap=True
        )
    chosen = selection.select(candidates)
    if output is Format.JSON:
        _write({"schema": SCHEMA, "chosen": chosen, "candidates": candidates})
        return
    Console().print(f"chosen: {chosen}, score {chosen.score:.4f}", soft_wrap=True)


def _write(document: object) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document)).decode() + "\n")


if __name__ == "__main__":
    typer.run(main)
