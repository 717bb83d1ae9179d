"""Participation: a decision that outlives the process, told once, and settled when rounds end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, select
from sqlalchemy.exc import IntegrityError

from party.database import open_database
from party.participation import DECISIONS, Participation


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_database(tmp_path / "party.sqlite3")
    yield made
    made.dispose()


def decisions(engine: Engine) -> list[tuple[int, bool]]:
    with engine.connect() as connection:
        rows = connection.execute(
            select(DECISIONS.c.decided_at, DECISIONS.c.left).order_by(DECISIONS.c.id)
        )
        return [(row.decided_at, row.left) for row in rows]


def test_a_hospital_takes_part_until_it_decides_otherwise(engine: Engine) -> None:
    here = Participation(engine, clock=lambda: 100.9)
    assert not here.left
    assert not here.unsettled
    here.return_()
    assert decisions(engine) == []


def test_a_decision_outlives_the_process_and_is_made_once(engine: Engine) -> None:
    here = Participation(engine, clock=lambda: 100.9)
    here.leave(())
    here.leave(())
    assert Participation(engine).left
    here.return_()
    here.return_()
    assert not Participation(engine).left
    here.leave(())
    assert decisions(engine) == [(100, True), (100, False), (100, True)]


def test_it_is_unsettled_while_a_round_may_need_something(engine: Engine) -> None:
    here = Participation(engine)
    here.settle(())
    here.leave({b"session"})
    here.settle({b"session"})
    assert here.unsettled
    assert Participation(engine).unsettled  # a new process looks again
    here.settle(())
    assert not here.unsettled
    assert here.left


def test_decisions_cannot_be_taken_out(engine: Engine) -> None:
    Participation(engine).leave(())
    with pytest.raises(IntegrityError, match="append-only"), engine.begin() as connection:
        connection.execute(delete(DECISIONS))
    assert Participation(engine).left
