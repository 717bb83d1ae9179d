from __future__ import annotations

import time
from pathlib import Path

import pytest
from sqlalchemy import insert

from party.database import open_database
from party.participation import DECISIONS
from party.preflight import clock
from party.preflight.clock import is_synchronised
from party.state_dir import held
from secagg.cli import ExitCode
from tests.party.preflight.conftest import Hospital


def command(directory: Path, does: str) -> None:
    """A ``timedatectl`` in ``directory``."""
    directory.mkdir(exist_ok=True)
    path = directory / "timedatectl"
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("does", "synchronised"),
    [("echo yes", True), ("echo no", False), ("echo", None), ("exit 1", None)],
)
def test_the_time_service_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, synchronised: bool | None
) -> None:
    command(tmp_path / "bin", does)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert is_synchronised(tmp_path / "none") is synchronised


def test_what_cannot_be_executed_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(tmp_path / "bin", "")
    (tmp_path / "bin" / "timedatectl").write_bytes(b"\x00not a program")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert is_synchronised(tmp_path / "none") is None


def test_systemds_own_mark_is_seen_without_asking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert is_synchronised(tmp_path / "timesync") is None
    (tmp_path / "timesync").mkdir()
    assert is_synchronised(tmp_path / "timesync") is False
    (tmp_path / "timesync" / "synchronized").touch()
    assert is_synchronised(tmp_path / "timesync") is True


@pytest.fixture
def timesync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A time service of the test's own."""
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    monkeypatch.setattr(clock, "TIMESYNC", tmp_path / "timesync")
    return tmp_path / "timesync"


def test_an_unsynchronised_clock_is_found(hospital: Hospital, timesync: Path) -> None:
    assert "cannot be seen from here" in clock.plausible(hospital.site())
    timesync.mkdir()
    hospital.fails(clock.plausible, "not synchronised", ExitCode.USAGE)
    (timesync / "synchronized").touch()
    assert clock.plausible(hospital.site()).endswith("; synchronised")


def decide(hospital: Hospital, moment: float) -> None:
    """Have the node write something down at ``moment``."""
    with held(hospital.home / "state") as path:
        engine = open_database(path)
        with engine.begin() as connection:
            connection.execute(insert(DECISIONS).values(decided_at=int(moment), left=True))
        engine.dispose()


def test_a_clock_behind_the_nodes_own_records_is_found(hospital: Hospital, timesync: Path) -> None:
    decide(hospital, time.time() - 1000)
    assert clock.plausible(hospital.site())
    decide(hospital, time.time() + 1000)
    words = "By this machine's clock it is .*newest record is of .*timedatectl"
    hospital.fails(clock.plausible, words, ExitCode.USAGE)
