"""Accuracy on the hospital's own test records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from benchmarks.heart_disease import dataset
from benchmarks.heart_disease.policy import model_spec, schema
from party.batches import read_file
from party.database import open_database
from party.evaluation import Evaluations
from party.training.evaluate import accuracy, train_locally
from secagg.model import initial, model_hash
from tests.party.files import write_records

SPEC, SCHEMA = model_spec(), schema()
FIRST = initial(SPEC)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    split = dataset.load()["cleveland"]
    write_records(tmp_path / "train.jsonl", (row.record for row in split.train))
    write_records(tmp_path / "test.jsonl", (row.record for row in split.test))
    made = open_database(tmp_path / "party.sqlite3")
    yield made
    made.dispose()


def evaluations(engine: Engine, directory: Path, test: str | None = "test.jsonl") -> Evaluations:
    test_file = None if test is None else directory / test
    return Evaluations(engine, SCHEMA, SPEC, directory / "train.jsonl", test_file, rounds=3)


def test_a_model_is_measured_once_and_for_all(engine: Engine, tmp_path: Path) -> None:
    measured = evaluations(engine, tmp_path)
    name = model_hash(FIRST)
    assert measured.of(name) is None
    measured.evaluate(name, FIRST)
    expected = accuracy(read_file(tmp_path / "test.jsonl", SCHEMA), FIRST)
    assert measured.of(name) == expected
    (tmp_path / "test.jsonl").unlink()
    with capture_logs() as logs:
        measured.evaluate(name, FIRST)
    assert logs == []
    assert evaluations(engine, tmp_path).of(name) == expected


def test_the_local_baseline_has_as_many_rounds(engine: Engine, tmp_path: Path) -> None:
    measured = evaluations(engine, tmp_path)
    measured.train_alone()
    alone = train_locally(read_file(tmp_path / "train.jsonl", SCHEMA), SPEC, 3)
    assert measured.local_only == accuracy(read_file(tmp_path / "test.jsonl", SCHEMA), alone)


def test_without_test_records_nothing_is_measured(engine: Engine, tmp_path: Path) -> None:
    measured = evaluations(engine, tmp_path, test=None)
    measured.evaluate(model_hash(FIRST), FIRST)
    measured.train_alone()
    assert measured.of(model_hash(FIRST)) is None
    assert measured.local_only is None


def test_unusable_test_records_are_logged_and_not_quoted(engine: Engine, tmp_path: Path) -> None:
    bad = {**dataset.load()["cleveland"].test[0].record, "age": 4711}
    write_records(tmp_path / "bad.jsonl", [bad])
    write_records(tmp_path / "empty.jsonl", [])
    for name in ("bad.jsonl", "empty.jsonl", "absent.jsonl"):
        measured = evaluations(engine, tmp_path, test=name)
        with capture_logs() as logs:
            measured.evaluate(model_hash(FIRST), FIRST)
            measured.train_alone()
        assert [entry["event"] for entry in logs] == ["test records unusable"] * 2
        assert "4711" not in str(logs)
        assert measured.of(model_hash(FIRST)) is None
