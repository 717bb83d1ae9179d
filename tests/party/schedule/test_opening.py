from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from benchmarks.heart_disease.policy import schema
from party.backoff import Backoff
from party.config import Schedule
from party.node import Node
from party.schedule.opening import open_schedule
from party.schedule.scheduler import Scheduler
from party.submission.admission import Admission
from secagg.cli import CommandError
from secagg.crypto.randomness import SeededRandomness
from tests.party.consortium import Consortium

Opened = Callable[[Schedule], Scheduler]


@pytest.fixture
def opened(posting: Consortium, admission: Admission) -> Opened:
    party, randomness = posting.parties[1], SeededRandomness(b"schedule")
    queue, audit = party.queue, party.audit
    assert queue is not None
    assert audit is not None

    async def unreachable() -> trio.SocketStream:
        raise OSError

    node = Node(
        party.client, queue, posting.policy.digest(), unreachable, Backoff(1, 1, randomness)
    )

    def opened(config: Schedule) -> Scheduler:
        return open_schedule(
            config, party.engine, schema(), admission, node, queue, 10_000, randomness, audit
        )

    return opened


def test_a_folder_has_to_be_there(opened: Opened, folder: Path) -> None:
    opened(Schedule(cron="0 2 * * 0", folder=folder))
    with pytest.raises(CommandError, match="is not there") as told:
        opened(Schedule(cron="0 2 * * 0", folder=folder / "elsewhere"))
    assert "Make it" in told.value.remedy


def test_a_bundle_may_come_later(opened: Opened, tmp_path: Path) -> None:
    opened(Schedule(cron="0 2 * * 0", fhir_bundle=tmp_path / "bundle.json"))


def test_bundles_need_the_extra(
    opened: Opened, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [*sys.modules]:
        if name.startswith(("fhir.", "party.schedule.bundle", "party.schedule.fhir_records")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fhir.resources", None)
    with pytest.raises(CommandError, match="not installed: fhir") as told:
        opened(Schedule(cron="0 2 * * 0", fhir_bundle=folder / "bundle.json"))
    assert "secagg[fhir]" in told.value.remedy
    opened(Schedule(cron="0 2 * * 0", folder=folder))


def test_a_time_zone_that_cannot_be_read(
    opened: Opened, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "CET-1CEST")
    with pytest.raises(CommandError, match="local time zone"):
        opened(Schedule(cron="0 2 * * 0", folder=folder))
