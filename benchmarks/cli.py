"""``secagg bench``: what the project's figures rest on, measured anew on your machine.

The commands are entry points (``bench.noise``, ...): each needs its own libraries, and one that is
not installed says so without being in the way of the others.
"""

import typer

app = typer.Typer(no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure: each command prints a table, or with --format json one versioned object."""
