"""The study as a picture: accuracy against epsilon, beside FLamby's published points."""

from pathlib import Path
from typing import Final

from benchmarks import plotting
from benchmarks.heart_disease.dataset import HOSPITALS
from benchmarks.heart_disease.policy import Mode
from benchmarks.heart_disease.study import PUBLISHED, Result, Study

_MODES: Final[dict[Mode, tuple[str, str]]] = {
    "exact": ("secagg, noise for the sum (exact)", "o"),
    "at_least": ("secagg, noise for the sum (at_least)", "s"),
    "local": ("secagg, full local noise (local)", "^"),
}
_LOWEST: Final = 0.57  # there is room for the legend
_APART: Final = 1.06
"""Points of one epsilon stand side by side, by this factor."""


def draw(study: Study, path: Path) -> None:
    """Draw ``study`` into ``path``: means, with one standard deviation over the noise seeds.

    Raises CommandError as ``plotting`` does.
    """
    figure = plotting.empty_figure(8, 5)
    axes = figure.subplots()
    for shift, (mode, (label, marker)) in zip((1 / _APART, 1, _APART), _MODES.items(), strict=True):
        rows = [
            (row, row.target) for row in study.results if row.target and row.target.mode == mode
        ]
        axes.errorbar(
            [shift * float(target.epsilon) for _, target in rows],
            [row.mean for row, _ in rows],
            yerr=[row.deviation for row, _ in rows],
            marker=marker,
            capsize=4,
            label=label,
        )
    private = [(float(each.epsilon), each.accuracy) for each in PUBLISHED if each.epsilon]
    axes.plot(*zip(*private, strict=True), "x--", color="black", label="FLamby, private")
    axes.axhline(
        _without_privacy(study).mean, linestyle=":", color="tab:green", label="secagg, no noise"
    )
    axes.axhline(
        max(each.accuracy for each in PUBLISHED if each.epsilon is None),
        linestyle=":",
        color="black",
        label="FLamby, pooled, no privacy",
    )
    axes.set_xscale("log")
    axes.set_ylim(bottom=_LOWEST)
    axes.set_xlabel(f"epsilon for a patient over all {study.rounds} rounds, delta = {study.delta}")
    axes.set_ylabel(f"accuracy, mean of {len(HOSPITALS)} hospitals' test sets")
    axes.set_title(
        f"Heart disease in four hospitals ({study.seeds} noise seeds, bars: 1 deviation)"
    )
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(loc="lower right")
    plotting.save(figure, path)


def _without_privacy(study: Study) -> Result:
    """The federated model without noise: the last row that has no target."""
    return [row for row in study.results if row.target is None][-1]
