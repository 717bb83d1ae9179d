from __future__ import annotations

import stat
from pathlib import Path

import pytest

from party.new_files import refuse_existing, write_new
from secagg.cli import CommandError


def test_private_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "a" / "b"
    write_new(home, {"public": b"1"}, {"private": b"2"})
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()}
    assert modes["private"] == 0o600
    assert modes["public"] & ~0o644 == 0
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert {path.name: path.read_bytes() for path in home.iterdir()} == {
        "public": b"1",
        "private": b"2",
    }


def test_what_exists_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("key", "link"):
        with pytest.raises(CommandError, match=f"already: {name}"):
            refuse_existing(tmp_path, ["other", name])
        with pytest.raises(CommandError, match="cannot be written: File exists"):
            write_new(tmp_path, {}, {name: b"new"})
    assert (tmp_path / "key").read_bytes() == b"old"
    assert not (tmp_path / "nowhere").exists()


def test_a_place_that_is_no_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CommandError, match="file"):
        write_new(tmp_path / "file", {"key": b""})
