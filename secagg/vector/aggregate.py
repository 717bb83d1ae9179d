"""The server's side of the vectors: one accumulator, whatever the number of hospitals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from secagg.crypto.hashing import Digest, Label
from secagg.vector.masking import Mask, apply_masks
from secagg.vector.packing import pack, packed_size
from secagg.vector.ring import Ring, Words
from secagg.vector.stream import slices


@final
class Aggregate:
    """The sum of masked inputs mod R, and then, unmasked, of inputs: O(d) memory."""

    __slots__ = ("_ring", "_words")

    def __init__(self, ring: Ring, dimension: int) -> None:
        """Start from zero."""
        self._ring = ring
        self._words: Words = np.zeros(dimension, ring.dtype)

    def add(self, start: int, words: Words) -> None:
        """Add consecutive coordinates of one masked input from ``start`` on."""
        part = self._words[start : start + words.size]
        part += words
        self._ring.reduce(part)

    def unmask(self, masks: Sequence[Mask], where: slice = slice(None)) -> None:
        """Apply the removal plan of round 4 to the coordinates ``where``.

        Slices are independent: they may be treated in any order and in parallel.
        """
        start, _, _ = where.indices(self._words.size)
        apply_masks(self._words[where], masks, self._ring, start)

    def total(self) -> NDArray[np.int64]:
        """The centred integers, int64 of shape (d,)."""
        return self._ring.decode(self._words)


def packed_chunks(values: NDArray[np.int64], ring: Ring) -> Iterator[tuple[int, bytes]]:
    """(start, packed bytes) of each chunk of an unmasked vector, as it is published."""
    for where in slices(values.size):
        yield where.start, pack(ring.encode(values[where]), ring.bits)


def vector_digest(label: Label, values: NDArray[np.int64], ring: Ring) -> bytes:
    """The digest of ``values`` as they are published, chunk by chunk."""
    digest = Digest(label, packed_size(values.size, ring.bits))
    for _, data in packed_chunks(values, ring):
        digest.update(data)
    return digest.finish()
