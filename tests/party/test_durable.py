"""Flushing a directory: what is flushed is a directory, and the descriptor is given back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from party.durable import flush_directory


def test_the_directory_itself_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_ino))
    before = len(os.listdir("/proc/self/fd"))
    flush_directory(tmp_path)
    assert flushed == [tmp_path.stat().st_ino]
    assert len(os.listdir("/proc/self/fd")) == before


def test_anything_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(NotADirectoryError):
        flush_directory(file)
