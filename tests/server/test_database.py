from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from server.database import open_database


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_database(tmp_path / "server.sqlite3")
    yield made
    made.dispose()


@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("secure_delete", 1)]
)
def test_every_connection_is_durable(engine: Engine, pragma: str, value: object) -> None:
    for _ in range(2):
        with engine.connect() as connection:
            assert connection.execute(text(f"PRAGMA {pragma}")).scalar_one() == value
        engine.dispose()


def test_a_transaction_holds_the_write_lock_from_its_beginning(
    engine: Engine, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "server.sqlite3", timeout=0, isolation_level=None)
    with engine.begin(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    other.rollback()
    other.close()
