"""Plots by matplotlib, the extra ``plot``, which is imported only when one is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from secagg.cli import CommandError, ExitCode

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def empty_figure(width: float, height: float) -> Figure:
    """A figure of so many inches. Raises CommandError if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ModuleNotFoundError:
        raise CommandError(
            "A plot needs matplotlib, which is not installed here.",
            "Install secagg with its extra `plot`, or leave the option out.",
            ExitCode.USAGE,
        ) from None
    matplotlib.rcParams["svg.hashsalt"] = "secagg"
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` to ``path``, whose suffix says how: .svg, .png or .pdf.

    There is no date inside: the same figures give the same file. Raises CommandError.
    """
    metadata = {"Date": None} if path.suffix == ".svg" else None
    try:
        figure.savefig(path, metadata=metadata)
    except (OSError, ValueError) as error:
        raise CommandError(
            f"The plot cannot be written to {path}: {error}.",
            "Name a .svg, .png or .pdf file in a directory where you may write.",
            ExitCode.USAGE,
        ) from None
