"""From real vectors to integers whose L2 norm is bounded exactly."""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from secagg.vector.ring import Integers

MAX_SCALE: Final = 1 << 53
"""Every scale up to here is exact as a float64."""

_INT64_BOUND: Final = 1 << 63
_CHUNK: Final = 1 << 16
_HALF_BITS: Final = 32
_HALF: Final = np.uint64(_HALF_BITS)
_LOW_HALF: Final = np.uint64((1 << _HALF_BITS) - 1)


def quantise(values: NDArray[np.float64], scale: int) -> Integers:
    """The float64 products ``values * scale`` rounded to integers, ties to even.

    ``scale`` is 1 .. 2^53. Raises ValueError for a NaN, an infinity or a result outside int64.
    """
    if not 1 <= scale <= MAX_SCALE:
        raise ValueError(f"the scale is an integer of 1 to 2^53, not {scale}")
    integers = np.empty(values.size, np.int64)
    flat = values.reshape(-1)
    for part in _chunks(values.size):
        with np.errstate(over="ignore"):  # an infinity is refused right below
            scaled = np.rint(flat[part].astype(np.float64) * float(scale))
        # Written so that a NaN fails it.
        if not bool(np.all((scaled >= -_INT64_BOUND) & (scaled < _INT64_BOUND))):
            raise ValueError(
                "a value is not finite or too large for this scale; clip the values first"
            )
        integers[part] = scaled
    return integers.reshape(values.shape)


def clip_l2(values: Integers, bound: int) -> Integers:
    """A copy of ``values`` with a sum of squares, computed exactly, of at most ``bound ** 2``.

    Values that meet the bound stay as they are. Others become ``v * bound / N``, N being the norm
    rounded up to an integer, truncated towards zero: each magnitude is at most ``|v| * bound /
    norm``, so the norm is at most ``bound``. All of it in integers, where nothing can round the
    wrong way. Raises ValueError for a negative bound.
    """
    if bound < 0:
        raise ValueError(f"a norm is not bounded by a negative number: {bound}")
    squared = squared_norm(values)
    clipped = values.copy()
    if squared <= bound * bound:
        return clipped
    norm = isqrt(squared - 1) + 1
    flat = clipped.reshape(-1)
    peak = max(-int(values.min()), int(values.max()))
    shrink = _shrink if max(peak * bound, norm) < _INT64_BOUND else _shrink_large
    for part in _chunks(flat.size):
        flat[part] = shrink(flat[part], bound, norm)
    return clipped


def squared_norm(values: Integers) -> int:
    """The sum of squares, exact for every int64 array."""
    total = 0
    flat = values.reshape(-1)
    for part in _chunks(flat.size):
        # The magnitude of -2^63 wraps to itself, which as an unsigned number is right again.
        magnitudes = np.abs(flat[part]).view(np.uint64)
        high, low = magnitudes >> _HALF, magnitudes & _LOW_HALF
        total += _sum(low * low)
        if high.any():
            total += (_sum(high * low) << (_HALF_BITS + 1)) + (_sum(high * high) << 2 * _HALF_BITS)
    return total


def _chunks(size: int) -> Iterator[slice]:
    """Slices that cover a vector, small enough for temporaries to stay in cache."""
    return (slice(begin, begin + _CHUNK) for begin in range(0, size, _CHUNK))


def _sum(products: NDArray[np.uint64]) -> int:
    """The exact sum of up to 2^32 numbers of 64 bits, by halves."""
    return (int((products >> _HALF).sum()) << _HALF_BITS) + int((products & _LOW_HALF).sum())


def _shrink(values: Integers, bound: int, norm: int) -> Integers:
    """``values * bound / norm`` towards zero, when no product leaves int64."""
    shrunk: Integers = np.sign(values) * (np.abs(values) * bound // norm)
    return shrunk


def _shrink_large(values: Integers, bound: int, norm: int) -> Integers:
    """The same for any values, bound and norm."""
    magnitudes = [abs(value) * bound // norm for value in values.tolist()]
    return np.sign(values) * np.array(magnitudes, np.int64)
