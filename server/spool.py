"""Masked inputs on disk, as they arrive: what the server holds of n vectors is never in memory.

A directory lives as long as its attempt. A masked input that did not become part of U3 is deleted
when U3 is known: nobody could ever unmask it together with others, and nobody should try.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, final

from secagg.checks import Check
from secagg.crypto.hashing import Label
from secagg.errors import PeerViolation
from secagg.policy import Policy
from secagg.vector.packing import packed_size, unpack
from secagg.vector.ring import Words
from secagg.vector.stream import CHUNK, StreamError, VectorReceiver, slices
from secagg.wire.messages import VectorChunk


@final
class _Incoming:
    """One client's masked input: checked chunk by chunk, appended to its file."""

    __slots__ = ("digest", "file", "receiver")

    def __init__(self, path: Path, receiver: VectorReceiver) -> None:
        self.receiver = receiver
        self.file: BinaryIO = path.open("wb")
        self.digest: bytes | None = None

    def receive(self, chunk: VectorChunk) -> None:
        self.receiver.receive(chunk.start, chunk.data)
        self.file.write(chunk.data)
        if self.receiver.complete:
            self.digest = self.receiver.finish()
            self.file.close()


@final
class Spool:
    """The masked inputs of one attempt.

    Methods block. Different clients may be treated in different threads, one client in one at a
    time.
    """

    def __init__(self, directory: Path, policy: Policy, *, resumed: bool = False) -> None:
        """Make ``directory`` (mode 0700), which must not exist.

        ``resumed``: it is there, with the finished masked inputs of U3.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=resumed)
        self.directory = directory
        self._policy = policy
        self._ring, self._dimension = policy.ring, policy.vector.dimension
        self._incoming: dict[int, _Incoming] = {}

    def receive(self, u: int, chunk: VectorChunk) -> None:
        """Take the next chunk of client ``u``. Raises PeerViolation unless it continues the vector.

        After a reconnect a client sends everything again: an unfinished input starts over, and the
        repetition of a finished one is not looked at.
        """
        incoming = self._incoming.get(u)
        if incoming is not None and incoming.digest is not None:
            return
        if incoming is None or (chunk.start == 0 and incoming.receiver.received):
            if incoming is not None:
                incoming.file.close()
            receiver = VectorReceiver(Label.MASKED_INPUT, self._ring, self._dimension)
            incoming = self._incoming[u] = _Incoming(self._path(u), receiver)
        try:
            incoming.receive(chunk)
        except StreamError as error:
            name = self._policy.name(u)
            raise PeerViolation(Check.STREAM_IN_ORDER, name, str(error)) from None

    def finish(self, u: int) -> bytes:
        """The digest of client ``u``'s masked input. Raises PeerViolation if it is not whole."""
        incoming = self._incoming.get(u)
        if incoming is None or incoming.digest is None:
            name = self._policy.name(u)
            raise PeerViolation(Check.STREAM_IN_ORDER, name, "its masked input is missing")
        return incoming.digest

    def keep_only(self, u3: Iterable[int]) -> None:
        """U3 is known: delete every other masked input."""
        kept = set(u3)
        for u in self._incoming.keys() - kept:
            self._path(u).unlink(missing_ok=True)

    def chunks(self, u: int) -> Iterator[tuple[int, Words]]:
        """(start, words) of client ``u``'s finished masked input, in order."""
        for start, data in self.packed(u):
            count = min(CHUNK, self._dimension - start)
            yield start, unpack(data, self._ring.bits, count)

    def packed(self, u: int) -> Iterator[tuple[int, bytes]]:
        """(start, packed bytes) of each chunk of client ``u``'s finished masked input, in order."""
        try:
            file = self._path(u).open("rb")
        except FileNotFoundError:
            return  # the round has been certified meanwhile: who still reads learns that next
        with file:
            for where in slices(self._dimension):
                yield where.start, file.read(packed_size(where.stop - where.start, self._ring.bits))

    def close(self) -> None:
        """Delete everything."""
        for incoming in self._incoming.values():
            incoming.file.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _path(self, u: int) -> Path:
        return self.directory / str(u)


def swept(directory: Path, kept: bytes | None) -> Path:
    """``directory`` for the spools of a new process: what earlier ones have left there goes, but
    for the masked inputs of session ``kept``, whose sum is published and not certified yet.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    for spool in directory.iterdir():
        if kept is None or spool.name != kept.hex():
            shutil.rmtree(spool, ignore_errors=True)
    return directory
