"""Files that must not exist yet: keys are never written over older ones."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from party.durable import flush_directory
from secagg.cli import CommandError, ExitCode


def refuse_existing(directory: Path, names: Iterable[str]) -> None:
    """Raise CommandError naming whatever of ``names`` exists in ``directory``."""
    existing = [name for name in names if os.path.lexists(directory / name)]
    if existing:
        raise CommandError(
            f"In {directory} there is already: {', '.join(existing)}. Nothing is overwritten.",
            "Name another --directory, or move these files away if they are not in use.",
            ExitCode.USAGE,
        )


def write_new(
    directory: Path, public: Mapping[str, bytes], private: Mapping[str, bytes] | None = None
) -> None:
    """Write files that do not exist yet, and have them on the disk on return.

    ``private`` ones are for their owner alone from the start. Raises CommandError.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for contents, mode in ((private or {}, 0o600), (public, 0o644)):
            for name, content in contents.items():
                _write(directory / name, content, mode)
        flush_directory(directory)
    except OSError as error:
        raise CommandError(
            f"{error.filename or directory} cannot be written: {error.strerror}.",
            "Name a --directory on a disk with space where this user may write.",
            ExitCode.USAGE,
        ) from None


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
