from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import insert

from party.database import open_database
from party.participation import DECISIONS
from party.preflight import storage
from party.state_dir import DATABASE, held
from secagg.cli import ExitCode
from tests.party.preflight.conftest import Hospital

PAGE = 4096


def make_database(hospital: Hospital, rows: int = 2000) -> Path:
    """A node's database with something in it."""
    with held(hospital.home / "state") as path:
        engine = open_database(path)
        with engine.begin() as connection:
            decided = [{"decided_at": k, "left": bool(k % 2)} for k in range(rows)]
            connection.execute(insert(DECISIONS), decided)
        engine.dispose()
    return path


def tree(directory: Path) -> dict[str, bytes]:
    """Every file that matters; SQLite's shared memory is not one."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


def test_before_its_first_start_a_node_has_no_state(hospital: Hospital) -> None:
    site = hospital.site()
    for check in (storage.state, storage.database):
        assert check(site) == "none yet: the node makes it"
    assert not (hospital.home / "state").exists()


def test_after_it_the_state_is_sound_and_nobodys_elses(hospital: Hospital) -> None:
    make_database(hospital)
    before = tree(hospital.home)
    assert storage.state(hospital.site()) == "no node is running on it"
    assert storage.database(hospital.site()) == "sound"
    assert tree(hospital.home) == before


def test_a_running_node_is_seen(hospital: Hospital) -> None:
    with held(hospital.home / "state"):
        assert storage.state(hospital.site()) == "a node is running on it"
    assert storage.state(hospital.site()) == "no node is running on it"


def test_a_state_directory_that_others_can_read_is_found(hospital: Hospital) -> None:
    make_database(hospital)
    (hospital.home / "state").chmod(0o750)
    hospital.fails(storage.state, "chmod 700", ExitCode.USAGE)


def test_another_users_state_is_found(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    make_database(hospital)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    hospital.fails(storage.state, f"belongs to the user {owner}", ExitCode.USAGE)


def test_a_file_in_its_place_is_found(hospital: Hospital) -> None:
    (hospital.home / "state").write_text("")
    hospital.fails(storage.state, "not a directory", ExitCode.USAGE)


def test_a_place_where_it_cannot_be_made_is_found(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The superuser may write anywhere, so the system's answer is what is changed here.
    monkeypatch.setattr(os, "access", lambda *_: False)
    hospital.fails(storage.state, "not writable for this user", ExitCode.USAGE)
    monkeypatch.undo()
    make_database(hospital)
    monkeypatch.setattr(os, "access", lambda *_: False)
    hospital.fails(storage.state, "not writable for this user", ExitCode.USAGE)


def test_damaged_pages_are_found(hospital: Hospital) -> None:
    path = make_database(hospital)
    data = bytearray(path.read_bytes())
    assert len(data) > 20 * PAGE
    for page in range(5, len(data) // PAGE):
        data[page * PAGE : page * PAGE + 64] = bytes(range(64))
    path.write_bytes(data)
    hospital.fails(storage.database, "is damaged.*Do not start the node", ExitCode.USAGE)


def test_what_is_no_database_is_found(hospital: Hospital) -> None:
    path = make_database(hospital)
    path.write_bytes(b"nonsense" * PAGE)
    hospital.fails(storage.database, "is damaged: file is not a database", ExitCode.USAGE)


def test_what_cannot_be_opened_is_found(hospital: Hospital) -> None:
    (hospital.home / "state" / DATABASE).mkdir(parents=True)
    hospital.fails(storage.database, "cannot be opened", ExitCode.USAGE)


def test_a_server_that_is_not_there_is_found(hospital: Hospital) -> None:
    hospital.add('[database]\nurl = "postgresql://nobody@127.0.0.1:1/nothing"\n')
    hospital.fails(storage.database, "cannot be opened", ExitCode.USAGE)


def test_room_is_compared_with_what_may_be_needed(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "free" in storage.space(hospital.site())
    monkeypatch.setattr(storage, "RESERVE", 2**62)
    hospital.fails(
        storage.space, "MiB free, and [0-9]+ MiB may be needed.*Make room", ExitCode.USAGE
    )
