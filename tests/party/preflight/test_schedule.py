from __future__ import annotations

import pytest

from party.preflight import schedule
from secagg.cli import ExitCode
from tests.party.preflight.conftest import Hospital

NIGHTLY = '[schedule]\ncron = "0 2 * * *"\n'


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")


def test_without_a_schedule_batches_are_posted(hospital: Hospital) -> None:
    assert "batches are posted" in schedule.source(hospital.site())


def test_a_folder_has_to_be_there(hospital: Hospital) -> None:
    hospital.add(f'{NIGHTLY}folder = "outbox"\n')
    hospital.fails(schedule.source, "outbox of .schedule. is not there", ExitCode.USAGE)
    (hospital.home / "outbox").mkdir()
    assert schedule.source(hospital.site()).startswith("0 2 * * * (UTC), from the folder ")


def test_a_bundle_may_come_later_but_not_its_directory(hospital: Hospital) -> None:
    hospital.add(f'{NIGHTLY}fhir_bundle = "export/bundle.json"\n')
    hospital.fails(schedule.source, "directory of the bundle", ExitCode.USAGE)
    (hospital.home / "export").mkdir()
    assert "from the bundle " in schedule.source(hospital.site())


def test_an_unknown_time_zone_is_found(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    hospital.add(f'{NIGHTLY}folder = "."\n')
    monkeypatch.setenv("TZ", "Nowhere/Atlantis")
    hospital.fails(schedule.source, "time zone cannot be read", ExitCode.USAGE)
