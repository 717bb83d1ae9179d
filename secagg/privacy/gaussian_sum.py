"""zCDP of a sum of independent discrete Gaussians of unequal variances.

Such a sum is not a discrete Gaussian, only almost one. Theorem 2 of docs/privacy.md bounds the
difference (the tau of Kairouz, Liu, Steinke 2021, there for equal variances).
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil, isqrt
from typing import Final

SMALLEST_VARIANCE: Final = 6
"""Components below this are refused: from here on tau is below 10 * 2^-85 per component."""

# tau <= 10 (N - 1) exp(-pi^2 v) for components of variance at least v; pi^2 / ln 2 > 14.238.
_TAU_FACTOR: Final = 10
_TAU_BITS: Final = Fraction(14238, 1000)
_MOST_BITS: Final = 256  # beyond this many bits a smaller bound would only be longer
_ROOT_BITS: Final = 32


def tau(components: int, smallest: Fraction) -> Fraction:
    """Twice the log-ratio, per coordinate, between the sum and a discrete Gaussian; rounded up.

    ``components``: how many are added; ``smallest``: a lower bound of their variances. Raises
    ValueError if ``smallest`` is under SMALLEST_VARIANCE.
    """
    if smallest < SMALLEST_VARIANCE:
        raise ValueError(f"a component variance must be at least 6, got {float(smallest):.6g}")
    bits = min(_MOST_BITS, int(smallest * _TAU_BITS))
    return Fraction(_TAU_FACTOR * (components - 1), 2**bits)


def zcdp(
    sensitivity: int, variance: Fraction, components: int, smallest: Fraction, dimension: int
) -> Fraction:
    """rho of adding, to each coordinate, a sum of discrete Gaussians: an upper bound.

    ``sensitivity``: L2, in integer coordinates; ``variance``: of the sum, per coordinate;
    ``components`` and ``smallest`` as for :func:`tau`; ``dimension``: number of coordinates.
    rho = (sensitivity / sqrt(variance) + tau sqrt(dimension))^2 / 2.
    """
    excess = tau(components, smallest)
    cross = 2 * sensitivity * excess * _root(dimension / variance)
    return (sensitivity**2 / variance + cross + dimension * excess**2) / 2


def _root(value: Fraction) -> Fraction:
    """The square root of ``value``, rounded up to a multiple of 2^-32."""
    return Fraction(isqrt(ceil(value * 4**_ROOT_BITS)) + 1, 2**_ROOT_BITS)
