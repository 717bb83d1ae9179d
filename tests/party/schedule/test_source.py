from __future__ import annotations

import os
from pathlib import Path

import pytest

from party.schedule.source import read, stamp


def test_a_stamp_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("half")
    half = stamp(path)
    assert half == stamp(path)
    path.write_text("half and half")
    assert stamp(path) != half
    path.write_text("four")
    os.utime(path, ns=(1, 1))
    assert stamp(path) != half


def test_only_regular_files_count(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("elsewhere")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert [stamp(tmp_path / name) for name in ("link", "directory", "pipe")] == [None] * 3
    with pytest.raises(FileNotFoundError):
        stamp(tmp_path / "nothing")
    with pytest.raises(OSError, match="symbolic"):
        read(tmp_path / "link", 100)


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert (read(path, 5), read(path, 4)) == (b"12345", None)
