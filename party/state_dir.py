"""The node's own directory: private to its user, and used by one process at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from secagg.cli import CommandError, ExitCode

DATABASE: Final = "party.sqlite3"
_LOCK: Final = "lock"


@contextmanager
def held(directory: Path) -> Iterator[Path]:
    """Make ``directory`` (mode 0700) if need be and hold it; yields the database's path.

    Two nodes over one journal could enter one attempt twice, so the second one is refused with
    CommandError. The lock goes with the process, however it ends.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        lock = (directory / _LOCK).open("w", encoding="ascii")
    except OSError as error:
        raise CommandError(
            f"The state directory {directory} cannot be used: {error.strerror}.",
            "Make it writable for this user, or set another state_dir in party.toml.",
            ExitCode.USAGE,
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(
                f"Another node is running on the state directory {directory}.",
                "Stop it first, or give this node a state_dir of its own.",
                ExitCode.USAGE,
            ) from None
        yield directory / DATABASE


def is_held(directory: Path) -> bool:
    """Whether a node runs on ``directory`` at this moment; nothing is made or changed.

    Raises CommandError if that cannot be seen.
    """
    try:
        with (directory / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError as error:
        raise CommandError(
            f"The state directory {directory} cannot be looked into: {error.strerror}.",
            "Run this as the user that runs the node.",
            ExitCode.USAGE,
        ) from None
    return False
