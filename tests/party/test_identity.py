"""Key files: read strictly, never quoted."""

from __future__ import annotations

from pathlib import Path

import pytest

from party.identity import read_key
from secagg.cli import CommandError, ExitCode

KEY = bytes(range(32))


def key_file(directory: Path, content: bytes, mode: int = 0o600) -> Path:
    path = directory / "identity.key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("digits", [KEY.hex(), KEY.hex().upper()])
def test_a_key_is_read(tmp_path: Path, digits: str, ending: bytes) -> None:
    assert read_key(key_file(tmp_path, digits.encode() + ending)).reveal() == KEY


@pytest.mark.parametrize(
    "content",
    [
        b"",
        KEY,
        KEY.hex()[:-1].encode(),
        KEY.hex().encode() + b"0",
        b"0x" + KEY.hex()[2:].encode(),
        KEY.hex().encode() + b"\n" + KEY.hex().encode(),
        ("\u0660" * 64).encode(),  # digits to Unicode, not to us
    ],
)
def test_anything_else_is_refused_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(CommandError, match="64 hexadecimal digits") as refused:
        read_key(key_file(tmp_path, content))
    assert refused.value.exit_code is ExitCode.USAGE
    assert KEY.hex()[:16] not in str(refused.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_key_that_others_may_open_is_refused(tmp_path: Path, mode: int) -> None:
    path = key_file(tmp_path, KEY.hex().encode(), mode)
    with pytest.raises(CommandError, match=f"mode {mode:04o}") as refused:
        read_key(path)
    assert f"chmod 600 {path}" in refused.value.remedy
