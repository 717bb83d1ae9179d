"""``audit.jsonl`` and ``audit.head``: the log as files, for whoever reads, copies or checks it.

The database decides. What it has committed is appended here right after each commit, and whatever a
crash left out, at the next start. What stands here is never rewritten: a file that contradicts the
database is evidence, and the node refuses to start on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from pathlib import Path
from typing import BinaryIO, Final, final

from party.audit.line import MAX_LINE_BYTES, Head, encode
from party.durable import flush_directory
from secagg.cli import CommandError, ExitCode

LOG_FILE: Final = "audit.jsonl"
HEAD_FILE: Final = "audit.head"

_PRIVATE: Final = 0o600

Lines = Callable[[int], Generator[bytes, None, None]]
"""The committed lines after the one with this number, in order, without line feeds."""


@final
class Mirror:
    """The two files in ``directory``. Not for two threads at once: its caller has a lock."""

    def __init__(self, directory: Path, lines: Lines) -> None:
        """Compare what is there with the database.

        Raises CommandError if the file has a line that the database has not, or another one.
        """
        self.path = directory / LOG_FILE
        self.head_path = directory / HEAD_FILE
        self._lines = lines
        self._seq, self._length = self._compared()
        self._head: Head | None = None

    def catch_up(self, head: Head) -> None:
        """Append every committed line that is missing, on disk when this returns; then ``head``.

        Raises OSError: nothing is lost by that, the next call makes up for it.
        """
        if head.seq > self._seq:
            self._append()
        if head != self._head:
            self._replace_head(head)
            self._head = head

    def _append(self) -> None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, _PRIVATE)
        with open(descriptor, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            if size == 0:  # new, or somebody has removed it: the whole log again
                self._seq, self._length = 0, 0
            if size < self._length:
                raise OSError(f"{self.path} was cut to {size} bytes while the node was running")
            # What is longer is the rest of a write that failed.
            file.truncate(self._length)
            file.seek(self._length)
            seq, length = self._seq, self._length
            with closing(self._lines(self._seq)) as missing:
                for line in missing:
                    length += file.write(line + b"\n")
                    seq += 1
            _flush(file)
        if self._length == 0:
            flush_directory(self.path.parent)
        self._seq, self._length = seq, length

    def _replace_head(self, head: Head) -> None:
        """Atomically: whoever reads it sees the old one or the new one.

        Not flushed: after a power cut it may be missing or old, until the node starts.
        """
        written = self.head_path.with_suffix(".head.new")
        with suppress(FileNotFoundError):
            written.unlink()
        with open(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE), "wb") as file:
            file.write(encode(head) + b"\n")
        written.replace(self.head_path)

    def _compared(self) -> tuple[int, int]:
        """How many whole lines, and bytes of them, the file has; a last line may be torn."""
        seq = length = 0
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return 0, 0
        with file, closing(self._lines(0)) as committed:
            while line := file.readline(MAX_LINE_BYTES + 1):
                if not line.endswith(b"\n") and len(line) <= MAX_LINE_BYTES:
                    break
                expected = next(committed, None)
                if expected is None:
                    raise self._refused(
                        f"has line {seq + 1}, and the database ends before: an older database was "
                        f"put back, which has also forgotten privacy charges"
                    )
                if line != expected + b"\n":
                    raise self._refused(
                        f"differs from the database in line {seq + 1}: one of them was changed"
                    )
                seq, length = seq + 1, length + len(line)
        return seq, length

    def _refused(self, finding: str) -> CommandError:
        return CommandError(
            f"The audit log {self.path} {finding}.",
            f"Find out who did that. To go on, keep the file as evidence under another name (mv "
            f"{LOG_FILE} {LOG_FILE}.kept): the node then writes a new one from its database. "
            f"docs/operations.md, 'The audit log', says more.",
            ExitCode.USAGE,
        )


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
