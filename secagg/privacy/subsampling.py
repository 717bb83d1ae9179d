"""Amplification by Poisson subsampling, accounted for through a Renyi curve.

Each unit enters a round with probability ``rate``, independently and in secret. Theorem 6 of
docs/privacy.md (after Mironov, Talwar, Zhang 2019) holds for symmetric additive noise and for
the relation *add or remove one*; it is not a zCDP guarantee, so it has a curve of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from fractions import Fraction
from math import ceil, comb
from typing import Final

from secagg.privacy.accounting import RHO_UNIT, renyi_to_epsilon

ORDERS: Final = (*range(2, 65), *range(72, 129, 8), *range(160, 513, 32))
"""The Renyi orders alpha at which a curve is kept, all integers."""

# Sums of at most 513 positive terms: the relative error stays below 10^-55.
_DECIMAL: Final = Context(prec=60, Emin=MIN_EMIN, Emax=MAX_EMAX, clamp=0, flags=[], traps=[])
_ROUNDING: Final = Fraction(1, 10**40)


@dataclass(frozen=True, slots=True)
class RdpCurve:
    """Renyi divergence bounds in ledger units, one per order of ORDERS, rounded up."""

    units: tuple[int, ...]

    @classmethod
    def subsampled(cls, rho: Fraction, rate: Fraction) -> RdpCurve:
        """The curve of one rho-zCDP release of which each unit is part with probability ``rate``.

        Raises ValueError unless rho >= 0 and 0 < rate <= 1.
        """
        if rho < 0 or not 0 < rate <= 1:
            raise ValueError(f"required are rho >= 0 and 0 < rate <= 1, got {rho} and {rate}")
        return cls(tuple(ceil(bound / RHO_UNIT) for bound in _bounds(rho, rate)))

    def __add__(self, other: RdpCurve) -> RdpCurve:
        """Both releases together: divergences compose by addition, order by order."""
        return RdpCurve(tuple(a + b for a, b in zip(self.units, other.units, strict=True)))

    def times(self, rounds: int) -> RdpCurve:
        """``rounds`` such releases together."""
        return RdpCurve(tuple(rounds * units for units in self.units))

    def epsilon(self, delta: Fraction) -> float:
        """The smallest epsilon at ``delta`` that some order shows, rounded up."""
        return min(
            renyi_to_epsilon(order, units * RHO_UNIT, delta)
            for order, units in zip(ORDERS, self.units, strict=True)
        )


def _bounds(rho: Fraction, rate: Fraction) -> Iterator[Fraction]:
    """For each alpha, ln(sum_k C(alpha, k) (1 - rate)^(alpha - k) rate^k e^(k (k - 1) rho)) /
    (alpha - 1), rounded up, and never more than alpha rho (what rate = 1 gives)."""
    inside, outside = _powers(_decimal(rate)), _powers(_decimal(1 - rate))
    moments = [_DECIMAL.exp(_decimal(k * (k - 1) * rho)) for k in range(ORDERS[-1] + 1)]
    for alpha in ORDERS:
        total = Decimal(0)
        for k in range(alpha + 1):
            weight = _DECIMAL.multiply(outside[alpha - k], inside[k])
            term = _DECIMAL.multiply(weight, moments[k])
            total = _DECIMAL.add(total, _DECIMAL.multiply(Decimal(comb(alpha, k)), term))
        bound = (Fraction(_DECIMAL.ln(total)) + _ROUNDING) / (alpha - 1)
        yield min(bound, alpha * rho)


def _decimal(value: Fraction) -> Decimal:
    return _DECIMAL.divide(Decimal(value.numerator), Decimal(value.denominator))


def _powers(base: Decimal) -> list[Decimal]:
    """base^0 .. base^(largest order)."""
    powers = [Decimal(1)]
    for _ in range(ORDERS[-1]):
        powers.append(_DECIMAL.multiply(powers[-1], base))
    return powers
