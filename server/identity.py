"""The server's key file: 64 hex digits, readable by its owner alone."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from secagg.cli import CommandError, ExitCode
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey
from server.private_files import check_private

_KEY: Final = re.compile(rb"([0-9a-fA-F]{64})\s*")
_LONGEST_FILE: Final = 256


def identity(path: Path) -> IdentityKey:
    """The signing key whose seed ``path`` holds in hex.

    Raises CommandError if others may read the file, or if it holds anything else; the error never
    quotes the content.
    """
    try:
        # Not blocking, so that a named pipe in the file's place is refused and not waited for.
        with open(path, "rb", opener=_open_at_once) as file:
            check_private(path, file.fileno())
            match = _KEY.fullmatch(file.read(_LONGEST_FILE))
    except OSError as error:
        raise CommandError(
            f"{path} cannot be read: {error.strerror}.",
            "Restore it, or correct its path in server.toml.",
            ExitCode.USAGE,
        ) from None
    if match is None:
        raise CommandError(
            f"{path} is not a key file: one line of 64 hexadecimal digits is expected.",
            "Restore it from your backup; a new key needs a new version of the policy.",
            ExitCode.USAGE,
        )
    return IdentityKey(Secret(bytes.fromhex(match[1].decode("ascii"))))


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
