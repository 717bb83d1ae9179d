"""The standing file: when it counts, what it contributes, and what its errors do not say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.heart_disease.dataset import load
from benchmarks.heart_disease.policy import model_spec, schema
from party.batches import BatchError, Progress, StandingFile, read_file
from party.training.features import read_batch
from party.training.gradient import contribution
from party.training.records import MAX_RECORD_BYTES, decode_record
from secagg.model import initial

SPEC, SCHEMA = model_spec(), schema()
RECORDS = [row.record for row in load()["cleveland"].train[:20]]


def written(directory: Path, records: list[dict[str, Any]], ending: str = "\n") -> Path:
    path = directory / "train.jsonl"
    path.write_text("".join(json.dumps(record) + ending for record in records))
    return path


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\n\n"])
def test_a_file_contributes_what_its_records_do(tmp_path: Path, ending: str) -> None:
    source = StandingFile(written(tmp_path, RECORDS, ending), SCHEMA, SPEC, rounds=3)
    decoded = [decode_record(json.dumps(record).encode()) for record in RECORDS]
    expected = contribution(read_batch(decoded, SCHEMA), initial(SPEC), SPEC)
    taken = source.take(9, Progress(6, 2), initial(SPEC))
    assert (taken.vector == expected).all()
    assert (taken.number, taken.batch) == (7, None)


def test_a_last_line_without_an_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in RECORDS))
    assert len(read_file(path, SCHEMA)) == len(RECORDS)


def test_it_counts_for_the_next_round_until_the_model_is_trained(tmp_path: Path) -> None:
    source = StandingFile(tmp_path / "unread.jsonl", SCHEMA, SPEC, rounds=3)
    assert source.waiting(Progress(closed=0, updates=0)) == 1
    assert source.waiting(Progress(closed=6, updates=2)) == 7
    assert source.waiting(Progress(closed=7, updates=3)) is None


def test_a_bad_record_is_named_by_place_and_not_quoted(tmp_path: Path) -> None:
    bad = {**RECORDS[3], "patient_id": "CANARY-PATIENT", "age": 4711}
    path = written(tmp_path, [*RECORDS[:2], bad])
    with pytest.raises(BatchError, match="record 2, age") as refused:
        read_file(path, SCHEMA)
    assert "CANARY" not in str(refused.value)
    assert "4711" not in str(refused.value)


def test_a_patient_twice_and_an_endless_line_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BatchError, match="twice"):
        read_file(written(tmp_path, [RECORDS[0], RECORDS[0]]), SCHEMA)
    long = {**RECORDS[0], "note": "x" * (3 * MAX_RECORD_BYTES)}
    with pytest.raises(BatchError, match="longer than"):
        read_file(written(tmp_path, [long]), SCHEMA)


def test_a_missing_file_and_too_many_patients_are_explained(tmp_path: Path) -> None:
    with pytest.raises(BatchError, match=r"party\.toml"):
        read_file(tmp_path / "absent.jsonl", SCHEMA)
    many = [{**RECORDS[0], "patient_id": str(number)} for number in range(513)]
    source = StandingFile(written(tmp_path, many), SCHEMA, SPEC, rounds=1)
    with pytest.raises(BatchError, match="512"):
        source.take(1, Progress(0, 0), initial(SPEC))
