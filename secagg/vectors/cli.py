"""``secagg vectors``: check test vectors with this installation, or write them anew.

The files are read and written here and nowhere else in ``secagg.vectors``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from secagg.cli import CommandError, ExitCode
from secagg.vectors.build import built, checked
from secagg.vectors.catalogue import catalogue
from secagg.vectors.document import VectorError, read, written

FOLDER: Final = Path("tests/vectors")
SHOWN: Final = 5
"""Differences of one file that are printed."""

app = typer.Typer(help="Test vectors: docs/test-vectors.md.", no_args_is_help=True)


@app.command()
def check(
    files: Annotated[
        list[Path] | None, typer.Argument(help=f"Vectors. Default: all in {FOLDER}.")
    ] = None,
) -> None:
    """Compute every vector anew from its config, seed and operations, and compare."""
    chosen = files or sorted(FOLDER.glob("*.json"))
    if not chosen:
        raise CommandError(
            f"There are no vectors in {FOLDER}.",
            "Name the files, or run this where the repository is checked out.",
            ExitCode.USAGE,
        )
    failed = []
    for file in chosen:
        found = _differences(file)
        if found:
            failed.append(file)
            typer.echo(f"{file}: {len(found)} differences")
            for difference in found[:SHOWN]:
                typer.echo(f"  {difference}")
    typer.echo(f"{len(chosen) - len(failed)} of {len(chosen)} vectors hold")
    if failed:
        raise CommandError(
            f"{len(failed)} vectors do not hold.",
            "Either they were altered, or this version computes something else: `git diff` and"
            " docs/test-vectors.md say which.",
            ExitCode.FAILED_ROUND,
        )


@app.command()
def make(
    folder: Annotated[Path, typer.Option(help="Where to write them.")] = FOLDER,
) -> None:
    """Write every vector of the catalogue; the same bytes, whenever and wherever."""
    if not folder.is_dir():
        raise CommandError(
            f"{folder} is no folder.", "Make it, or name another one with --folder.", ExitCode.USAGE
        )
    entries = catalogue()
    for name, entry in entries.items():
        (folder / f"{name}.json").write_bytes(written(built(entry)))
    typer.echo(f"{len(entries)} vectors written to {folder}")


def _differences(file: Path) -> list[str]:
    try:
        return checked(read(file.read_bytes()))
    except OSError as error:
        raise CommandError(
            f"{file} cannot be read: {error.strerror}.", "Name a vector.", ExitCode.USAGE
        ) from error
    except VectorError as error:
        return [str(error)]
