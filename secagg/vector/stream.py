"""A vector on its way: cut into chunks of a fixed number of coordinates, checked as they arrive.

Sender and receiver agree on everything but the content: CHUNK coordinates a chunk, in order, the
last one shorter; digest over all packed bytes, whatever the chunks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

from secagg.crypto.hashing import Digest, Label
from secagg.vector.packing import packed_size, unpack
from secagg.vector.ring import Ring, Words

CHUNK: Final = 2**16
"""Coordinates in one chunk: a multiple of 8, so that every chunk starts on a byte."""


class StreamError(ValueError):
    """A chunk that does not continue its vector."""


def slices(dimension: int) -> Iterator[slice]:
    """The coordinates of each chunk of a vector, in order."""
    for start in range(0, dimension, CHUNK):
        yield slice(start, min(start + CHUNK, dimension))


@final
class VectorReceiver:
    """Checks one incoming vector, chunk by chunk, in O(chunk) memory."""

    __slots__ = ("_digest", "_ring", "dimension", "received")

    def __init__(self, label: Label, ring: Ring, dimension: int) -> None:
        """Expect ``dimension`` coordinates of ``ring``, digested under ``label``."""
        self._ring = ring
        self._digest = Digest(label, packed_size(dimension, ring.bits))
        self.dimension = dimension
        self.received = 0

    def receive(self, start: int, data: bytes) -> Words:
        """The words of the next chunk.

        Raises StreamError unless it starts where the last one ended, has the length that its
        place demands and is canonically padded; the receiver is then as it was before.
        """
        if start != self.received or self.complete:
            raise StreamError(f"expected coordinate {self.received}, got {start}")
        count = min(CHUNK, self.dimension - start)
        try:
            words = unpack(data, self._ring.bits, count)
        except ValueError as error:
            raise StreamError(str(error)) from None
        self._digest.update(data)
        self.received += count
        return words

    @property
    def complete(self) -> bool:
        """Whether all coordinates have come."""
        return self.received == self.dimension

    def finish(self) -> bytes:
        """The digest of the whole vector; raises StreamError while it is incomplete."""
        if not self.complete:
            raise StreamError(f"{self.received} of {self.dimension} coordinates have come")
        return self._digest.finish()
