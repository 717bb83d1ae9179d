"""Whether an audit log is whole and genuine: a pure function of its lines, one key and some heads.

What it finds, and what nobody could: a line that is changed, missing, moved, repeated or foreign,
by its own hash, signature and number; lines cut off the end, and a log that was written anew from
some line on, by any head that was kept elsewhere. Whoever holds the hospital's identity key can
write a log anew, so without a head of that time nothing shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import final

from party.audit.events import Started
from party.audit.line import (
    MAX_LINE_BYTES,
    Head,
    Line,
    Place,
    body_hash,
    decode,
    head_of,
    is_signed,
)
from secagg.errors import DecodeError, SecaggError


class Fault(StrEnum):
    """What is wrong."""

    EMPTY = "the log is empty"
    TORN = "the last line is incomplete"
    UNREADABLE = "not a line of an audit log"
    EDITED = "edited"
    FORGED = "not signed by this hospital"
    REMOVED = "lines were removed"
    MOVED = "lines were moved"
    INSERTED = "a line was inserted"
    FORKED = "two histories were joined"
    FOREIGN = "the log of another hospital"
    HEAD_FORGED = "a head is not signed by this hospital"
    TRUNCATED = "the end was cut off"
    REWRITTEN = "the log was written anew"


class LogRefused(SecaggError):
    """The log is not whole and genuine: the first ``fault``, on ``line`` (from 1), in words."""

    def __init__(self, fault: Fault, line: int, detail: str) -> None:
        super().__init__(f"line {line}: {fault}: {detail}" if line else f"{fault}: {detail}")
        self.fault = fault
        self.line = line
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Verified:
    """A whole, genuine log. ``held_to``: how many heads it was held to.

    ``hospital``: the name that it gives itself. ``first``, ``last``: times of its end lines.
    """

    hospital: str
    head: Head
    first: str
    last: str
    held_to: int


def verify(lines: Iterable[bytes], identity_key: str, heads: Sequence[Head] = ()) -> Verified:
    """Check all of a log, and hold it to each of ``heads``.

    ``lines``: the file's, each with its line feed. ``identity_key``: the hospital's newest, 64 hex
    digits; an older one is known from the log itself. Raises LogRefused with the first fault.
    """
    for head in heads:
        if not head.is_signed():
            raise LogRefused(
                Fault.HEAD_FORGED, 0, f"the signature of the head of line {head.seq} does not fit"
            )
    reader = _Reader(identity_key, heads)
    remaining = iter(lines)
    for data in remaining:
        reader.take(data, remaining)
    return reader.finished()


@final
class _Reader:
    """The state of one pass: everything up to here is sound."""

    def __init__(self, expected_key: str, heads: Sequence[Head]) -> None:
        self._expected_key = expected_key
        self._heads = sorted(heads, key=lambda head: head.seq)
        self._met = 0
        self._place = Place()
        self._first = ""
        self._newest: Line | None = None
        self._hospital = ""
        #: The key that signs from the newest line "started" on, where that one stands, and all.
        self._key = ""
        self._key_since = 0
        self._keys: set[str] = set()

    def take(self, data: bytes, following: Iterator[bytes]) -> None:
        """The next line; ``following`` is looked through only if this one is out of place."""
        number = self._place.seq + 1
        line = _genuine(data, number)
        key = self._key_of(line)
        signed = is_signed(line, key)
        if line.seq != number and (signed or is_signed(line, self._expected_key)):
            raise _out_of_place(line.seq, number, following)
        if not signed:
            raise LogRefused(
                Fault.FORGED, number, "its hash fits, its signature does not: written by another"
            )
        if line.previous != self._place.hash:
            raise LogRefused(
                Fault.FORKED,
                number,
                "it does not follow the line before it, though both are this hospital's: a "
                "database was put back to an older state, or parts of two logs were joined",
            )
        self._accept(line, key)

    def finished(self) -> Verified:
        """The verdict at the end of the log."""
        newest = self._newest
        if newest is None:
            raise LogRefused(Fault.EMPTY, 0, "every node's log has a line from its first start on")
        if self._key != self._expected_key:
            raise LogRefused(
                Fault.FOREIGN,
                self._key_since,
                f"from here on it is signed with the key {self._key} of {self._hospital!r}, and "
                f"{self._expected_key} was expected",
            )
        for head in self._heads[self._met :]:
            if head.identity_key not in self._keys:
                raise _foreign(head)
            raise LogRefused(
                Fault.TRUNCATED,
                newest.seq,
                f"the log ends here, and a head signs line {head.seq}",
            )
        return Verified(
            hospital=self._hospital,
            head=head_of(newest, self._key),
            first=self._first,
            last=newest.time,
            held_to=len(self._heads),
        )

    def _key_of(self, line: Line) -> str:
        """The key that must have signed ``line``: a start names its own, and signs with it."""
        if line.event != Started.NAME:
            return self._key
        named = line.fields.get("identity_key")
        return named if isinstance(named, str) else ""

    def _accept(self, line: Line, key: str) -> None:
        if key != self._key:
            self._key, self._key_since = key, line.seq
            self._keys.add(key)
        if line.event == Started.NAME:
            self._hospital = str(line.fields.get("hospital"))
        self._first = self._first or line.time
        self._newest = line
        self._place = Place(line.seq, line.hash)
        while self._met < len(self._heads) and self._heads[self._met].seq == line.seq:
            self._hold(line, self._heads[self._met])
            self._met += 1

    def _hold(self, line: Line, head: Head) -> None:
        if head.identity_key != self._key:
            raise _foreign(head)
        if head.hash != line.hash:
            raise LogRefused(
                Fault.REWRITTEN,
                line.seq,
                "a head signs another line here: this one, or one before it, was written later",
            )


def _genuine(data: bytes, number: int) -> Line:
    """The line in ``data``, which is in the one form and has the hash that it states."""
    if not data.endswith(b"\n") and len(data) <= MAX_LINE_BYTES:
        raise LogRefused(
            Fault.TORN, number, "it has no end; if the node was running, copy the file again"
        )
    try:
        line = decode(data.removesuffix(b"\n"))
    except DecodeError as error:
        raise LogRefused(Fault.UNREADABLE, number, str(error)) from None
    if body_hash(line) != line.hash:
        raise LogRefused(Fault.EDITED, number, "its content has another hash than it states")
    return line


def _out_of_place(seq: int, number: int, following: Iterator[bytes]) -> LogRefused:
    """What happened around a genuine line ``seq`` that stands where ``number`` belongs."""
    if seq < number:
        return LogRefused(Fault.INSERTED, number, f"it repeats line {seq}")
    for offset, data in enumerate(following, start=1):
        try:
            found = decode(data.removesuffix(b"\n")).seq
        except DecodeError:
            continue
        if found == number:
            return LogRefused(
                Fault.MOVED,
                number,
                f"line {seq} stands here, and this one as number {number + offset}",
            )
    missing = f"line {number} is" if seq == number + 1 else f"lines {number} to {seq - 1} are"
    return LogRefused(Fault.REMOVED, number, f"{missing} missing before line {seq}")


def _foreign(head: Head) -> LogRefused:
    return LogRefused(
        Fault.HEAD_FORGED,
        0,
        f"the head of line {head.seq} is of the key {head.identity_key}, which did not sign there",
    )
