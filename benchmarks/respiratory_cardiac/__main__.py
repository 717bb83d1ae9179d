"""``python -m benchmarks.respiratory_cardiac``: print synthetic records, one JSON object a line."""

import json
import sys
from typing import Annotated

import typer

from benchmarks.respiratory_cardiac.generator import Hospital, patients


def main(
    hospital: Annotated[Hospital, typer.Option(help="Whose mix of diagnoses.")] = Hospital.NORTH,
    patients_: Annotated[int, typer.Option("--patients", min=1, help="How many.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other patients.")] = 0,
) -> None:
    """Synthetic patients' records for the policy template respiratory-cardiac."""
    for record in patients(hospital, patients_, seed):
        sys.stdout.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    typer.run(main)
