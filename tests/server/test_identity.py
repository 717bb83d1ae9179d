from __future__ import annotations

import os
from pathlib import Path

import pytest

from secagg.cli import CommandError
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey
from server.identity import identity

SEED = bytes(range(32))


def key_file(directory: Path, content: bytes, mode: int = 0o600) -> Path:
    path = directory / "identity.key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_the_key_of_a_private_file(tmp_path: Path, ending: bytes) -> None:
    read = identity(key_file(tmp_path, SEED.hex().encode() + ending))
    assert read.public == IdentityKey(Secret(SEED)).public


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_that_others_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = key_file(tmp_path, SEED.hex().encode(), mode)
    with pytest.raises(CommandError, match=f"{mode:04o}") as caught:
        identity(path)
    assert caught.value.remedy == f"Run: chmod 600 {path}"


@pytest.mark.parametrize(
    "content",
    [b"", SEED, SEED.hex().encode()[:-1], SEED.hex().encode() + b"0", SEED.hex().encode() + b"\nx"],
)
def test_other_content_is_refused_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(CommandError, match="64 hexadecimal digits") as caught:
        identity(key_file(tmp_path, content))
    assert SEED.hex()[:16] not in str(caught.value) + caught.value.remedy


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"identity\.key cannot be read: No such file"):
        identity(tmp_path / "identity.key")


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    os.mkfifo(path, 0o600)
    with pytest.raises(CommandError, match="is not a file"):
        identity(path)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    path.mkdir(mode=0o700)
    with pytest.raises(CommandError, match="cannot be read: Is a directory"):
        identity(path)
