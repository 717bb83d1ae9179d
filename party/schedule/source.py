"""What a run takes batches from."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from party.submission.posted import Posted

Stamp = tuple[int, int, int]
"""Of a file: its inode, its size, and when it was changed last. Another one if it is written to."""


class NotYet(Exception):
    """A batch cannot be handed over now, but perhaps later. The text says why and how to mend it,
    and quotes no record.
    """


class Refused(Exception):
    """A batch can never be handed over as it is, and is out of the way. The text says why."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A batch on its way into the queue; ``place``: of its file, for the source that claimed it."""

    posted: Posted
    place: str = field(repr=False)


class Source(Protocol):
    """Finds batches, and gives each of them to one run. Blocking, one call at a time."""

    def found(self) -> Mapping[str, Stamp]:
        """What lies there, by name, in the order in which it is to be taken. Raises NotYet."""
        ...

    def claim(self, name: str, number: int, due: datetime) -> Claimed:
        """The batch called ``name``, for training round ``number`` unless it has one already.

        ``due``: of the run. Whatever becomes of this process, the same batch is not handed over
        under two numbers. Raises Refused, NotYet.
        """
        ...

    def handed_over(self, claimed: Claimed) -> None:
        """The queue has it. Raises NotYet."""
        ...


def stamp(path: Path) -> Stamp | None:
    """The stamp of a regular file; None for anything else, symbolic links included.

    Raises OSError, also if there is nothing.
    """
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def read(path: Path, limit: int) -> bytes | None:
    """The content of a regular file; None if it is longer than ``limit`` bytes. Raises OSError."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        data = file.read(limit + 1)
    return data if len(data) <= limit else None
