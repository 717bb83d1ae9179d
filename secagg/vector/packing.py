"""Packing words of b bits without gaps, as they travel.

Coordinate i occupies bits [i * b, (i + 1) * b) of the string, least significant first; bit k of
the string is bit k % 8 of byte k // 8. The last byte is padded with zeros. Any multiple of 8
coordinates therefore starts on a byte, and a vector may be packed or unpacked in such pieces.

How it is done: neighbouring words are first squeezed together inside 64-bit *lanes* (1, 2 or 4
words each). Lanes repeat their position within a byte after one *group* of coordinates, so the
lanes at one position of all groups are moved by one strided, unaligned 64-bit access.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from secagg.vector.ring import MAX_BITS, Words, word_dtype

_CHUNK: Final = 1 << 16
"""Coordinates treated at once, a multiple of every group: temporaries stay in cache."""

_LANE_BITS: Final = 64
_LANE_BYTES: Final = 8

_SLACK: Final = 2 * _LANE_BYTES
"""Bytes kept free after the last group, for lane accesses that reach past it."""


class PackingError(ValueError):
    """Bytes that are not the packed form of a vector of the expected size."""


def packed_size(count: int, bits: int) -> int:
    """Length in bytes of ``count >= 0`` coordinates of ``bits`` (1 .. 64) bits."""
    _check_bits(bits)
    if count < 0:
        raise ValueError(f"a vector has no negative number of coordinates: {count}")
    return (count * bits + 7) // 8


def pack(words: Words, bits: int) -> bytes:
    """The packed form of ``words``.

    Raises ValueError unless they are a vector of the smallest dtype that holds ``bits`` bits and
    each is below 2^bits.
    """
    size = packed_size(words.size, bits)
    dtype = word_dtype(bits)
    if words.dtype != dtype or words.ndim != 1:
        raise ValueError(f"words of {bits} bits are a vector of {dtype}, not of {words.dtype}")
    if bits == 8 * dtype.itemsize:
        return words.tobytes()
    if words.size and int(words.max()) >> bits:
        raise ValueError(f"a word has more than {bits} bits; reduce the words first")
    group = _group(bits)
    packed = np.zeros(-(-words.size // group) * group * bits // 8 + _SLACK, np.uint8)
    for begin in range(0, words.size, _CHUNK):
        chunk = words[begin : begin + _CHUNK]
        missing = -chunk.size % group
        whole = np.pad(chunk, (0, missing)) if missing else np.ascontiguousarray(chunk)
        lanes = _squeeze(whole, bits).reshape(whole.size // group, -1)
        for position, (target, shift, spill) in enumerate(
            _positions(packed[begin * bits // 8 :], bits, lanes.shape)
        ):
            lane = lanes[:, position]
            np.bitwise_or(target, lane << np.uint64(shift), out=target)
            if spill is not None:
                spill[:] |= (lane >> np.uint64(_LANE_BITS - shift)).astype(np.uint8)
    return packed[:size].tobytes()


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
    if bits == 8 * dtype.itemsize:
        return packed.view(dtype).copy()
    group = _group(bits)
    words = np.empty(-(-count // group) * group, dtype)
    for begin in range(0, count, _CHUNK):
        whole = words[begin : begin + _CHUNK]
        first, length = begin * bits // 8, whole.size * bits // 8
        piece = packed[first : first + length]
        padded = np.zeros(length + _SLACK, np.uint8)
        padded[: piece.size] = piece
        lanes = np.empty((whole.size // group, group * dtype.itemsize // _LANE_BYTES), np.uint64)
        for position, (source, shift, spill) in enumerate(_positions(padded, bits, lanes.shape)):
            np.right_shift(source, np.uint64(shift), out=lanes[:, position])
            if spill is not None:
                lanes[:, position] |= spill.astype(np.uint64) << np.uint64(_LANE_BITS - shift)
        whole.view("<u8")[:] = _stretch(lanes.reshape(-1), bits)
    return words[:count]


def _group(bits: int) -> int:
    """Coordinates that fill whole bytes, at least a lane of them: so no two lanes that are moved
    together overlap."""
    return 8 if bits >= _LANE_BYTES else 64


def _positions(
    packed: NDArray[np.uint8], bits: int, shape: tuple[int, ...]
) -> Iterator[tuple[NDArray[np.uint64], int, NDArray[np.uint8] | None]]:
    """For each position of a lane in its group: where the lanes of all groups lie in ``packed``.

    ``shape`` is (groups, lanes per group). Yields the 64-bit words in which these lanes begin,
    by how many bits they are shifted there and, if they reach past the words, the next bytes.
    """
    groups, per_group = shape
    stride = _group(bits) * bits // 8
    lane_bits = 8 * stride // per_group
    for position in range(per_group):
        offset, shift = divmod(position * lane_bits, 8)
        at = np.ndarray((groups,), "<u8", packed, offset, (stride,))
        spills = shift + lane_bits > _LANE_BITS
        end = offset + _LANE_BYTES
        spill = np.ndarray((groups,), np.uint8, packed, end, (stride,)) if spills else None
        yield at, shift, spill


def _squeeze(words: Words, bits: int) -> NDArray[np.uint64]:
    """Bring the low ``bits`` bits of the words together at the bottom of each 64-bit lane."""
    lanes = words.view("<u8").astype(np.uint64)
    slot, used = 8 * words.itemsize, bits
    while slot < _LANE_BITS:
        even, odd = _slot_masks(slot, used)
        lanes = (lanes & even) | (lanes >> np.uint64(slot - used)) & odd
        slot, used = 2 * slot, 2 * used
    return lanes


def _stretch(lanes: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
    """Undo :func:`_squeeze`; whatever lies above the used bits of a lane is discarded."""
    slot, used = _LANE_BITS, bits * _LANE_BYTES // word_dtype(bits).itemsize
    lanes = lanes & np.uint64((1 << used) - 1)
    while used > bits:
        slot, used = slot // 2, used // 2
        even, odd = _slot_masks(slot, used)
        lanes = (lanes & even) | (lanes & odd) << np.uint64(slot - used)
    return lanes


def _slot_masks(slot: int, used: int) -> tuple[np.uint64, np.uint64]:
    """For pairs of slots: the used bits of the first one, and the same number right above."""
    every_pair = ((1 << _LANE_BITS) - 1) // ((1 << 2 * slot) - 1)
    even = ((1 << used) - 1) * every_pair
    return np.uint64(even), np.uint64(even << used)


def _check_bits(bits: int) -> None:
    if not 1 <= bits <= MAX_BITS:
        raise ValueError(f"words have 1 to {MAX_BITS} bits, not {bits}")
