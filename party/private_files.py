"""Files that others must not read: keys, tokens."""

from __future__ import annotations

import stat
from pathlib import Path

from secagg.cli import CommandError, ExitCode


def check_private(path: Path) -> None:
    """Raise CommandError unless ``path`` is a file to which only its owner has access."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise CommandError(
            f"{path} cannot be read: {error.strerror}.",
            "Restore it, or correct its path in party.toml.",
            ExitCode.USAGE,
        ) from None
    if not stat.S_ISREG(mode):
        raise CommandError(
            f"{path} is not a file.", "Correct its path in party.toml.", ExitCode.USAGE
        )
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise CommandError(
            f"{path} is open to other users of this machine (mode {stat.S_IMODE(mode):04o}).",
            f"Run: chmod 600 {path}",
            ExitCode.USAGE,
        )
