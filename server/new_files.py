"""Directories and files of a new consortium: never over an old one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from secagg.cli import CommandError, ExitCode


def make_directory(directory: Path) -> None:
    """Make ``directory``, for its owner alone. Raises CommandError."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(directory, error) from None


def write_new(directory: Path, public: Mapping[str, bytes], private: Mapping[str, bytes]) -> None:
    """Write files that do not exist yet; ``private`` ones for their owner alone from the start.

    Raises CommandError.
    """
    for contents, mode in ((public, 0o644), (private, 0o600)):
        for name, content in contents.items():
            try:
                descriptor = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
            except OSError as error:
                raise _unwritable(directory / name, error) from None


def _unwritable(path: Path, error: OSError) -> CommandError:
    return CommandError(
        f"{path} cannot be written: {error.strerror}.",
        "Name a directory on a disk with space where this user may write.",
        ExitCode.USAGE,
    )
