"""The hospital's key files: 64 hex digits each, readable by their owner alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from party.private_files import check_private
from secagg.cli import CommandError, ExitCode
from secagg.crypto.secret import Secret

_KEY: Final = re.compile(rb"([0-9a-fA-F]{64})\s*")
_LONGEST_FILE: Final = 256


def read_key(path: Path) -> Secret:
    """The 32 bytes that ``path`` holds in hex.

    Raises CommandError if others may read the file, or if it holds anything else; the error never
    quotes the content.
    """
    check_private(path)
    with path.open("rb") as file:
        match = _KEY.fullmatch(file.read(_LONGEST_FILE))
    if match is None:
        raise CommandError(
            f"{path} is not a key file: one line of 64 hexadecimal digits is expected.",
            "Restore it from your backup; a new key must be enrolled in the policy first.",
            ExitCode.USAGE,
        )
    return Secret(bytes.fromhex(match[1].decode("ascii")))
