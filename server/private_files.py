"""Files that others must not read: the server's private keys."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from secagg.cli import CommandError, ExitCode


def check_private(path: Path, descriptor: int | None = None) -> None:
    """Raise CommandError unless ``path`` is a file to which only its owner has access.

    ``descriptor``: of the file, if it is open; then that very file is looked at.
    """
    try:
        mode = (path.stat() if descriptor is None else os.fstat(descriptor)).st_mode
    except OSError as error:
        raise CommandError(
            f"{path} cannot be read: {error.strerror}.",
            "Restore it, or correct its path in server.toml.",
            ExitCode.USAGE,
        ) from None
    if not stat.S_ISREG(mode):
        raise CommandError(
            f"{path} is not a file.", "Correct its path in server.toml.", ExitCode.USAGE
        )
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise CommandError(
            f"{path} is open to other users of this machine (mode {stat.S_IMODE(mode):04o}).",
            f"Run: chmod 600 {path}",
            ExitCode.USAGE,
        )
