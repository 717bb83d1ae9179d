from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSimError

from party.schedule import timetable
from party.schedule.timetable import Timetable, local_zone
from secagg.cli import CommandError

BERLIN = ZoneInfo("Europe/Berlin")


def runs(cron: str, since: str, number: int) -> list[str]:
    made = []
    instant: datetime | None = datetime.fromisoformat(since)
    for _ in range(number):
        assert instant is not None
        instant = Timetable(cron, BERLIN).after(instant)
        assert instant is not None
        made.append(instant.strftime("%m-%d %H:%M"))
    return made


def test_a_run_is_due_by_the_local_clock() -> None:
    # Sundays at two, one hour ahead of UTC in winter.
    assert runs("0 2 * * 0", "2026-01-01T00:00+00:00", 2) == ["01-04 01:00", "01-11 01:00"]
    assert runs("0 2 * * 0", "2026-07-01T00:00+00:00", 2) == ["07-05 00:00", "07-12 00:00"]


def test_the_instant_itself_is_over() -> None:
    assert runs("0 2 * * *", "2026-01-04T01:00+00:00", 1) == ["01-05 01:00"]
    assert runs("0 2 * * *", "2026-01-04T00:59:59.9+00:00", 1) == ["01-04 01:00"]


def test_a_change_of_the_clock_loses_no_run_and_makes_none_twice() -> None:
    spring = runs("30 2 * * *", "2026-03-28T12:00+00:00", 2)
    assert spring == ["03-29 01:00", "03-30 00:30"]  # 02:30 does not exist: made at 03:00
    autumn = runs("30 2 * * *", "2026-10-24T12:00+00:00", 2)
    assert autumn == ["10-25 00:30", "10-26 01:30"]


def test_what_is_never_due() -> None:
    with pytest.raises(CronSimError):
        Timetable("0 0 30 2 *", UTC)
    with pytest.raises(CronSimError):
        Timetable("every day", UTC)


def test_the_zone_is_that_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", ":Europe/Berlin")
    assert local_zone() == BERLIN
    monkeypatch.delenv("TZ")
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert noon.astimezone(local_zone()).utcoffset() == noon.astimezone().utcoffset()


@pytest.mark.parametrize("name", ["Mars/Olympus", "CET-1CEST,M3.5.0", "../etc/passwd"])
def test_a_zone_that_is_none(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("TZ", name)
    with pytest.raises(CommandError, match="local time zone cannot be read") as told:
        local_zone()
    assert "Europe/Berlin" in told.value.remedy


def test_a_machine_without_a_zone_lives_in_utc(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TZ", raising=False)
    monkeypatch.setattr(timetable, "_LOCAL_TIME", tmp_path / "localtime")
    assert local_zone() is UTC
