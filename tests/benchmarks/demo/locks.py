"""Which processes have ended, told by the locks that they hold while they run."""

import fcntl
from pathlib import Path


def still_runs(home: Path) -> bool:
    """Whether a process holds the lock of the state directory in ``home``."""
    with (home / "state" / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
