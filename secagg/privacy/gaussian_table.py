"""Inversion tables: a uniform 192-bit number in, a truncated discrete Gaussian value out.

Built with integers and correctly rounded decimals only, so that a table is the same on every
machine. docs/privacy.md, "The sampler", defines the thresholds and bounds their error.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from itertools import accumulate
from math import isqrt

import numpy as np
from numpy.typing import NDArray

WORD_BITS = 64
REFINEMENT_BITS = 128
THRESHOLD_BITS = WORD_BITS + REFINEMENT_BITS

# exp(-118 / 2) * 2 < 2^-84: what lies beyond the tail has less probability than that.
TAIL_FACTOR = 118
# A guide entry is an int16, and so is every value of a table.
MAX_TAIL = 2**15 - 1

_GUIDE_BITS = 16
_UNDECIDED = np.int16(-(2**15))
_MASS_BITS = 256
_DECIMAL = Context(
    prec=110, rounding=ROUND_HALF_EVEN, Emin=MIN_EMIN, Emax=MAX_EMAX, clamp=0, flags=[], traps=[]
)

Refine = Callable[[int], int]


def tail(variance: Fraction) -> int:
    """T, the largest absolute value of the truncated law: ``(T + 1)^2 > 118 * variance``."""
    return isqrt(TAIL_FACTOR * variance.numerator // variance.denominator)


@dataclass(frozen=True, slots=True, eq=False)
class GaussianTable:
    """Inversion table of N_Z(0, ``variance``) conditioned on ``|x| <= tail``.

    With U uniform in [0, 2^192), the value is ``#{j : thresholds[j] <= U} - tail``, where
    ``thresholds[j] / 2^192`` is the probability of a value of at most ``j - tail``.
    """

    tail: int
    thresholds: tuple[int, ...] = field(repr=False)
    _heads: NDArray[np.uint64] = field(repr=False)  # the thresholds' first 64 bits
    _guide: NDArray[np.int16] = field(repr=False)  # value by the first 16 bits, or _UNDECIDED

    @classmethod
    def build(cls, variance: Fraction) -> GaussianTable:
        """Build the table of ``variance`` > 0; raises ValueError if its tail exceeds int16."""
        bound = tail(variance)
        if bound > MAX_TAIL:
            raise ValueError(f"variance {variance} is too large for one table: decompose it")
        masses = _masses(variance, bound)
        cumulative = list(accumulate(masses[:0:-1] + masses))
        total = cumulative.pop()
        thresholds = tuple((mass << THRESHOLD_BITS) // total for mass in cumulative)
        heads = np.array([t >> REFINEMENT_BITS for t in thresholds], dtype=np.uint64)
        return cls(bound, thresholds, heads, _guide(heads, bound))

    def values(self, words: NDArray[np.uint64], refine: Refine) -> NDArray[np.int16]:
        """The values of uniform ``words`` (contiguous): word i is the first 64 bits of U_i.

        ``refine(i)`` gives its other 128 bits. It is asked only where a word equals the first 64
        bits of a threshold, which happens to fewer than one word in 2^48.
        """
        out = np.take(self._guide, words.astype("<u8", copy=False).view("<u2")[3::4])
        undecided = np.flatnonzero(out == _UNDECIDED)
        heads = words[undecided]
        below = np.searchsorted(self._heads, heads, side="left")
        out[undecided] = below - self.tail
        upto = np.searchsorted(self._heads, heads, side="right")
        for tie in undecided[upto != below].tolist():
            uniform = int(words[tie]) << REFINEMENT_BITS | refine(tie)
            out[tie] = bisect_right(self.thresholds, uniform) - self.tail
        return out


def _masses(variance: Fraction, bound: int) -> list[int]:
    """``exp(-x^2 / (2 variance)) * 2^256`` for x = 0..bound, each within 2^34 of the real value.

    By the recurrence p(x+1) = p(x) r(x), r(x+1) = r(x) q in fixed point.
    """
    exponent = _DECIMAL.divide(Decimal(-variance.denominator), Decimal(2 * variance.numerator))
    ratio = int(_DECIMAL.multiply(_DECIMAL.exp(exponent), Decimal(2**_MASS_BITS)))
    step = ratio * ratio >> _MASS_BITS
    masses = [1 << _MASS_BITS]
    for _ in range(bound):
        masses.append(masses[-1] * ratio >> _MASS_BITS)
        ratio = ratio * step >> _MASS_BITS
    return masses


def _guide(heads: NDArray[np.uint64], bound: int) -> NDArray[np.int16]:
    """The value that a word's first 16 bits decide alone, or _UNDECIDED if a threshold is there."""
    first = np.arange(2**_GUIDE_BITS, dtype=np.uint64) << np.uint64(WORD_BITS - _GUIDE_BITS)
    last = first + np.uint64(2 ** (WORD_BITS - _GUIDE_BITS) - 1)
    below = np.searchsorted(heads, first, side="left")
    upto = np.searchsorted(heads, last, side="right")
    return np.where(below == upto, below - bound, _UNDECIDED).astype(np.int16)
