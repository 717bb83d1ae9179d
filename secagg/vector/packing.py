"""Packing words of b bits without gaps, as they travel.

Coordinate i occupies bits [i * b, (i + 1) * b) of the string, least significant first; bit k of
the string is bit k % 8 of byte k // 8. The last byte is padded with zeros. Any multiple of 8
coordinates therefore starts on a byte, and a vector may be packed or unpacked in such pieces.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from secagg.vector.ring import MAX_BITS, Words, word_dtype

_GROUP: Final = 8
"""Coordinates that occupy whole bytes together, whatever their width."""

_CHUNK: Final = 1 << 14
"""Coordinates treated at once, a multiple of the group: temporaries stay in cache."""

_LANE_BYTES: Final = 8


class PackingError(ValueError):
    """Bytes that are not the packed form of a vector of the expected size."""


def packed_size(count: int, bits: int) -> int:
    """Length in bytes of ``count`` coordinates of ``bits`` bits (1 .. 64)."""
    _check_bits(bits)
    if count < 0:
        raise ValueError(f"a vector has no negative number of coordinates: {count}")
    return (count * bits + 7) // 8


def pack(words: Words, bits: int) -> bytes:
    """The packed form of ``words``.

    Raises ValueError unless they are of the smallest dtype that holds ``bits`` bits and each is
    below 2^bits.
    """
    _check_bits(bits)
    dtype = word_dtype(bits)
    if words.dtype != dtype or words.ndim != 1:
        raise ValueError(f"words of {bits} bits are a vector of {dtype}, not of {words.dtype}")
    if bits == 8 * dtype.itemsize:
        return words.tobytes()
    if words.size and int(words.max()) >> bits:
        raise ValueError(f"a word has more than {bits} bits; reduce the words first")
    packed = bytearray(packed_size(words.size, bits))
    view = np.frombuffer(packed, np.uint8)
    for begin in range(0, words.size, _CHUNK):
        chunk = words[begin : begin + _CHUNK]
        size = packed_size(chunk.size, bits)
        offset = begin // _GROUP * bits
        view[offset : offset + size] = _pack_chunk(chunk, bits)[:size]
    return bytes(packed)


def unpack(data: bytes | bytearray | memoryview, bits: int, count: int) -> Words:
    """The ``count`` words that :func:`pack` was given, of the smallest dtype that holds them.

    Raises PackingError when the length is not ``packed_size(count, bits)`` or the padding is not
    zero.
    """
    size = packed_size(count, bits)
    packed = np.frombuffer(data, np.uint8)
    if packed.size != size:
        raise PackingError(f"{count} words of {bits} bits take {size} bytes, not {packed.size}")
    padding = 8 * size - count * bits
    if padding and int(packed[-1]) >> (8 - padding):
        raise PackingError("the padding after the last word is not zero")
    dtype = word_dtype(bits)
    words: Words = np.empty(count, dtype)
    if bits == 8 * dtype.itemsize:
        words[:] = packed.view(dtype)
        return words
    for begin in range(0, count, _CHUNK):
        chunk = words[begin : begin + _CHUNK]
        offset = begin // _GROUP * bits
        _unpack_chunk(packed[offset : offset + packed_size(chunk.size, bits)], bits, chunk)
    return words


def _pack_chunk(words: Words, bits: int) -> NDArray[np.uint8]:
    groups = -(-words.size // _GROUP)
    padded = np.zeros((groups, _GROUP), np.uint64)
    padded.reshape(-1)[: words.size] = words
    packed = np.zeros((groups, bits), np.uint8)
    for j in range(_GROUP):
        first, shift = divmod(j * bits, 8)
        last = ((j + 1) * bits - 1) // 8
        for byte in range(first, last + 1):
            distance = 8 * (byte - first) - shift
            column = padded[:, j]
            moved = (
                column << np.uint64(-distance) if distance < 0 else column >> np.uint64(distance)
            )
            packed[:, byte] |= moved.astype(np.uint8)
    return packed.reshape(-1)


def _unpack_chunk(packed: NDArray[np.uint8], bits: int, words: Words) -> None:
    groups = -(-words.size // _GROUP)
    padded = np.zeros((groups, bits), np.uint8)
    padded.reshape(-1)[: packed.size] = packed
    wide = np.zeros((groups, _GROUP), np.uint64)
    for j in range(_GROUP):
        first, shift = divmod(j * bits, 8)
        last = ((j + 1) * bits - 1) // 8
        for byte in range(first, last + 1):
            distance = 8 * (byte - first) - shift
            column = padded[:, byte].astype(np.uint64)
            wide[:, j] |= (
                column >> np.uint64(-distance) if distance < 0 else column << np.uint64(distance)
            )
    words[:] = wide.reshape(-1)[: words.size] & np.uint64((1 << bits) - 1)


def _check_bits(bits: int) -> None:
    if not 1 <= bits <= MAX_BITS:
        raise ValueError(f"words have 1 to {MAX_BITS} bits, not {bits}")
