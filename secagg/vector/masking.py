"""Adding masks to a vector in place: the inner loop of the whole protocol.

A mask is the keystream of its seed (``crypto.prg``) read as words of the ring. The work is done
in chunks that stay in the processor's cache; nothing of the size of the vector is allocated.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np

from secagg.crypto.prg import READ_BYTES, Keystream
from secagg.crypto.secret import Secret
from secagg.vector.ring import Ring, Words

CHUNK_BYTES: Final = READ_BYTES
"""Of the vector treated at once. docs/adr/0010 has the measurements behind it."""


@final
@dataclass(frozen=True, slots=True)
class Mask:
    """A mask to add (``sign = 1``) or to subtract (``sign = -1``); the seed has 32 bytes."""

    seed: Secret
    sign: Literal[1, -1]

    def __post_init__(self) -> None:
        if self.sign not in (1, -1):
            raise ValueError(f"the sign of a mask is 1 or -1, not {self.sign}")


def apply_masks(words: Words, masks: Iterable[Mask], ring: Ring, start: int = 0) -> None:
    """Add to ``words``, in place, the signed sum of ``masks`` modulo R.

    ``words`` are the coordinates from ``start`` on, a contiguous vector of the ring's dtype.
    Slices of one vector may be treated one by one, in any order and in parallel threads: the
    result is that of the whole. Besides the vector this takes two buffers of ``CHUNK_BYTES`` and
    about a kilobyte for each mask. Raises ValueError for any other array or a negative start.
    """
    if words.dtype != ring.dtype or words.ndim != 1 or not words.flags.c_contiguous:
        raise ValueError(f"masks are added to a contiguous vector of {ring.dtype} only")
    if start < 0:
        raise ValueError(f"a slice starts at coordinate 0 or later, not at {start}")
    streams = [(Keystream(mask.seed, start * ring.word_bytes), mask.sign) for mask in masks]
    buffer = memoryview(bytearray(min(CHUNK_BYTES, words.nbytes)))
    pad = np.frombuffer(buffer, ring.dtype)
    # Chunks outside, masks inside: the chunk is fetched from memory once, not once for each mask.
    for begin in range(0, words.size, max(1, pad.size)):
        chunk = words[begin : begin + pad.size]
        chunk_pad, chunk_buffer = pad[: chunk.size], buffer[: chunk.nbytes]
        for stream, sign in streams:
            stream.read_into(chunk_buffer)
            accumulate = np.add if sign > 0 else np.subtract
            accumulate(chunk, chunk_pad, out=chunk)
        ring.reduce(chunk)
