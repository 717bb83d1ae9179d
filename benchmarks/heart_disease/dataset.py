"""The vendored table as records of the shape that a hospital's systems send, split as FLamby does.

See ``data/README.md`` for the source, the licence and what is corrected on reading.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

HOSPITALS: Final = ("cleveland", "hungary", "switzerland", "va-long-beach")

_NAMES: Final = dict(
    zip(("Cleveland", "Hungary", "Switzerland", "VA Long Beach"), HOSPITALS, strict=True)
)
_MISLABELLED: Final = {"304": "Hungary"}
_UNUSED: Final = frozenset({"slope", "ca", "thal"})
_CHEST_PAIN: Final = {
    "asymptomatic": "asymptomatic",
    "typical angina": "typical angina",
    "atypical angina": "atypical angina",
    "non-anginal": "non-anginal chest pain",
}

JsonRecord = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One patient: the row id in the table, the hospital, and the record as JSON-ready objects."""

    row_id: int
    hospital: str
    record: JsonRecord
    diseased: bool


@dataclass(frozen=True, slots=True)
class Split:
    """The rows of one hospital, in the table's order."""

    train: tuple[Row, ...]
    test: tuple[Row, ...]


@cache
def rows() -> tuple[Row, ...]:
    """The 740 patients with no empty cell outside ``slope``, ``ca`` and ``thal``, by row id."""
    with (files(__package__) / "data" / "heart_disease_uci.csv").open(encoding="utf-8") as table:
        return tuple(_rows(csv.DictReader(table)))


@cache
def load() -> dict[str, Split]:
    """FLamby's split, by hospital in the order of ``HOSPITALS``."""
    with (files(__package__) / "data" / "test_rows.csv").open(encoding="utf-8") as table:
        test_ids = {int(line["row_id"]) for line in csv.DictReader(table)}
    return {
        hospital: Split(
            train=tuple(r for r in rows() if r.hospital == hospital and r.row_id not in test_ids),
            test=tuple(r for r in rows() if r.hospital == hospital and r.row_id in test_ids),
        )
        for hospital in HOSPITALS
    }


def _rows(lines: Iterator[dict[str, str]]) -> Iterator[Row]:
    for line in lines:
        if any(not cell for column, cell in line.items() if column not in _UNUSED):
            continue
        hospital = _NAMES[_MISLABELLED.get(line["id"], line["dataset"])]
        row_id = int(line["id"])
        diseased = int(line["num"]) > 0
        yield Row(row_id, hospital, _record(f"{hospital}-{row_id}", line, diseased), diseased)


def _record(patient_id: str, line: dict[str, str], diseased: bool) -> JsonRecord:
    symptoms = [_CHEST_PAIN[line["cp"]]]
    if line["exang"] == "TRUE":
        symptoms.append("exercise-induced angina")
    vitals: JsonRecord = {"max_hr": int(line["thalch"])}
    if int(line["trestbps"]):
        vitals["bp"] = {"systolic": int(line["trestbps"])}
    labs: JsonRecord = {
        "fasting_glucose_over_120": line["fbs"] == "TRUE",
        "resting_ecg": line["restecg"],
        "st_depression": float(line["oldpeak"]),
    }
    if int(line["chol"]):
        labs["chol"] = int(line["chol"])
    return {
        "patient_id": patient_id,
        "age": int(line["age"]),
        "sex": line["sex"].lower(),
        "symptoms": symptoms,
        "vitals": vitals,
        "labs": labs,
        "diagnosis": "heart disease" if diseased else "no heart disease",
    }
