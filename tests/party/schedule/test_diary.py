from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import URL

from party.database import open_database
from party.schedule.diary import Diary

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
WEEKLY = "0 2 * * 0"


def test_nothing_was_missed_before_the_first_start(place: Path | URL) -> None:
    engine = open_database(place)
    assert Diary(engine, WEEKLY).done_until(NOON) == NOON
    assert Diary(engine, WEEKLY).done_until(NOON + HOUR) == NOON
    engine.dispose()


def test_a_finished_run_is_behind_us(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "party.sqlite3")
    diary = Diary(engine, WEEKLY)
    diary.done_until(NOON)
    diary.finish(NOON + HOUR)
    engine.dispose()
    engine = open_database(tmp_path / "party.sqlite3")
    assert Diary(engine, WEEKLY).done_until(NOON + 5 * HOUR) == NOON + HOUR
    engine.dispose()


def test_another_expression_begins_now(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "party.sqlite3")
    Diary(engine, WEEKLY).done_until(NOON)
    assert Diary(engine, "0 6 * * *").done_until(NOON + 9 * HOUR) == NOON + 9 * HOUR
    assert Diary(engine, WEEKLY).done_until(NOON + 10 * HOUR) == NOON + 10 * HOUR
    engine.dispose()


def test_a_clock_that_was_ahead_holds_no_run_up(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "party.sqlite3")
    diary = Diary(engine, WEEKLY)
    diary.finish(NOON + 10_000 * HOUR)
    assert diary.done_until(NOON) == NOON
    engine.dispose()


def test_a_run_keeps_its_number_until_it_is_over(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "party.sqlite3")
    diary = Diary(engine, WEEKLY)
    with pytest.raises(LookupError):
        diary.number(3)
    diary.done_until(NOON)
    assert diary.number(3) == 3
    assert Diary(engine, WEEKLY).number(4) == 3
    assert diary.done_until(NOON + HOUR) == NOON
    diary.finish(NOON + HOUR)
    assert diary.number(4) == 4
    engine.dispose()
