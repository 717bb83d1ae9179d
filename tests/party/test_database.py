"""The database: what it promises about durability, locking and deletion."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, insert, text
from sqlalchemy.exc import IntegrityError, OperationalError

from party.database import empty_log, open_database, reading
from party.journal import SEALED_ANSWERS


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_database(tmp_path / "party.sqlite3")
    yield made
    made.dispose()


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("secure_delete", 1)],
)
def test_every_connection_is_durable(engine: Engine, pragma: str, value: object) -> None:
    reader = reading(engine)
    with reader.connect() as first, reader.connect() as second:
        for connection in (first, second):
            assert connection.execute(text(f"PRAGMA {pragma}")).scalar_one() == value


def test_a_transaction_holds_the_write_lock_from_its_beginning(
    engine: Engine, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "party.sqlite3", timeout=0, isolation_level=None)
    with engine.begin():
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        with reading(engine).connect() as reader:  # readers do not wait
            reader.execute(text("SELECT count(*) FROM entries"))
    other.execute("BEGIN IMMEDIATE")
    other.rollback()
    other.close()


def test_reading_cannot_write_behind_a_writers_back(engine: Engine) -> None:
    with reading(engine).connect() as snapshot:
        assert snapshot.execute(text("SELECT count(*) FROM charges")).scalar_one() == 0
        with engine.begin() as writer:
            writer.execute(text(ONE_CHARGE))
        with pytest.raises(OperationalError, match="locked"):
            snapshot.execute(text(ONE_CHARGE.replace("'s'", "'t'")))


ONE_CHARGE = (
    "INSERT INTO charges (session, round, attempt, rho_sum, rho_own, samples, charged_at)"
    " VALUES ('s', 1, 1, 1, 1, 1, 1)"
)


def test_files_are_for_their_owner_alone(engine: Engine, tmp_path: Path) -> None:
    with engine.begin() as connection:
        connection.execute(text(ONE_CHARGE))
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_errors_do_not_repeat_what_was_to_be_stored(place: Path | URL) -> None:
    opened = open_database(place)
    secret = b"a sealed answer"
    row = {"entry": 99, "round": 1, "body": secret}
    with pytest.raises(IntegrityError) as refused, opened.begin() as connection:
        connection.execute(insert(SEALED_ANSWERS), [row])
    assert secret.decode() not in str(refused.value)
    assert secret.hex() not in str(refused.value)
    opened.dispose()


def test_the_emptied_log_has_no_bytes(engine: Engine, tmp_path: Path) -> None:
    with engine.begin() as connection:
        connection.execute(text(ONE_CHARGE))
    log = tmp_path / "party.sqlite3-wal"
    assert log.stat().st_size > 0
    empty_log(engine)
    assert log.stat().st_size == 0


def test_a_database_is_opened_again(engine: Engine, tmp_path: Path) -> None:
    with engine.begin() as connection:
        connection.execute(text(ONE_CHARGE))
    again = open_database(tmp_path / "party.sqlite3")
    with reading(again).connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM charges")).scalar_one() == 1
    again.dispose()
