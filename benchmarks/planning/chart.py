"""The plot of error against epsilon."""

from __future__ import annotations

from pathlib import Path

from benchmarks import plotting
from benchmarks.planning.plan import Plan


def draw(plan: Plan, path: Path) -> None:
    """Draw ``plan.curve`` into ``path``. Raises CommandError as ``plotting`` does."""
    figure = plotting.empty_figure(7, 4.5)
    axes = figure.subplots()
    axes.loglog(
        [point.epsilon for point in plan.curve],
        [point.norm for point in plan.curve],
        marker="o",
        label="error of the average gradient",
    )
    axes.plot(plan.epsilon, plan.error.norm, "*", markersize=16, label="planned")
    axes.axhline(
        plan.gradient_bound, linestyle="--", color="grey", label="most that one patient weighs"
    )
    axes.set_xlabel(f"epsilon of all {plan.rounds} rounds, delta = {plan.delta:g}")
    axes.set_ylabel("norm, root mean square, one round")
    axes.set_title(
        f"{plan.error.hospitals} hospitals, {plan.error.patients} patients, mode {plan.mode}"
    )
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    plotting.save(figure, path)
