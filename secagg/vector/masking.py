"""Adding masks to a vector in place: the inner loop of the whole protocol.

A mask is the keystream of its seed (``crypto.prg``) read as words of the ring. The work is done
in chunks that stay in the processor's cache; nothing of the size of the vector is allocated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np

from secagg.crypto.prg import Keystream
from secagg.crypto.secret import Secret
from secagg.vector.ring import Ring, Words

CHUNK_BYTES: Final = 128 * 1024

_ZEROS: Final = bytes(CHUNK_BYTES)


@final
@dataclass(frozen=True, slots=True)
class Mask:
    """A mask to add (``sign = 1``) or to subtract (``sign = -1``); the seed has 32 bytes."""

    seed: Secret
    sign: Literal[1, -1]


def apply_masks(words: Words, masks: Sequence[Mask], ring: Ring, start: int = 0) -> None:
    """Add to ``words``, in place, the signed sum of ``masks`` modulo R.

    ``words`` are the coordinates from ``start`` on, contiguous and of the ring's dtype; slices
    may be treated one by one, in any order and in parallel, with the same result as the whole.
    """
    if words.dtype != ring.dtype or words.ndim != 1 or not words.flags.c_contiguous:
        raise ValueError(f"masks are added to contiguous vectors of {ring.dtype} only")
    streams = [(Keystream(mask.seed, start * ring.word_bytes), mask.sign) for mask in masks]
    buffer = bytearray(CHUNK_BYTES)
    pad = np.frombuffer(buffer, ring.dtype)
    zeros = memoryview(_ZEROS)
    for begin in range(0, words.size, pad.size):
        chunk = words[begin : begin + pad.size]
        chunk_pad = pad[: chunk.size]
        chunk_zeros = zeros[: chunk.nbytes]
        for stream, sign in streams:
            stream.read_into(chunk_zeros, buffer)
            if sign > 0:
                chunk += chunk_pad
            else:
                chunk -= chunk_pad
        ring.reduce(chunk)
