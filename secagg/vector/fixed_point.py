"""From real vectors to integers whose L2 norm is bounded exactly."""

from __future__ import annotations

from math import isqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from secagg.vector.ring import Integers

_LIMIT: Final = 2.0**63


def quantise(values: NDArray[np.float64], scale: int) -> Integers:
    """``values * scale`` rounded to the nearest integer, ties to even, as int64.

    ``scale`` is 1 .. 2^53 and exact as a float. Raises ValueError for a NaN, an infinity or a
    result outside int64.
    """
    if not 1 <= scale <= 1 << 53 or int(float(scale)) != scale:
        raise ValueError(f"the scale must be an integer of 1 .. 2^53, not {scale}")
    scaled = np.rint(np.asarray(values, np.float64) * float(scale))
    # False for NaN as well.
    if not bool(np.all((scaled >= -_LIMIT) & (scaled < _LIMIT))):
        raise ValueError("a value is not finite, or too large for this scale; clip first")
    return scaled.astype(np.int64)


def clip_l2(values: Integers, bound: int) -> Integers:
    """A copy of ``values`` whose squared norm, computed exactly, is at most ``bound ** 2``.

    Values inside the bound are unchanged; others become ``v * bound / N`` truncated towards zero,
    with N the norm rounded up to an integer. No float is involved, so there is nothing to round
    the wrong way. Raises ValueError for a negative bound.
    """
    if bound < 0:
        raise ValueError(f"a norm is not bounded by a negative number: {bound}")
    squared = squared_norm(values)
    if squared <= bound * bound:
        return values.copy()
    norm = isqrt(squared - 1) + 1
    clipped = [(abs(value) * bound // norm) * (1 if value > 0 else -1) for value in values.tolist()]
    return np.array(clipped, np.int64)


def squared_norm(values: Integers) -> int:
    """The sum of squares, exact."""
    return sum(value * value for value in values.tolist())
