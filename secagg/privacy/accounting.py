"""What a release costs: zCDP in integer units, and its exact price in (epsilon, delta).

rho-zCDP (Bun, Steinke 2016) composes by addition. Every conversion here errs on the safe side:
a printed epsilon is an upper bound, a permitted rho a lower one. Theorems: docs/privacy.md,
"Accounting".
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil, exp, expm1, inf, log, log1p, sqrt
from typing import Final

RHO_UNIT: Final = Fraction(1, 10**9)
"""One unit of a ledger: a nano-rho. 2^63 - 1 units are rho = 9.2e9."""

# Every logarithm and sum below is within a few 2^-52 of its terms; this is added to the result.
_ROUNDING: Final = 2.0**-48
_LARGEST_EXPONENT: Final = 700.0
_BISECTIONS: Final = 100
_FIXPOINT_ROUNDS: Final = 100

Real = float | int | Fraction


def rho_units(rho: Fraction | int) -> int:
    """``rho`` in ledger units, rounded up; raises ValueError if it is negative."""
    if rho < 0:
        raise ValueError(f"rho must not be negative, got {rho}")
    return ceil(rho / RHO_UNIT)


def zcdp_to_epsilon(rho: Real, delta: Real, total_variation: Fraction = Fraction(0)) -> float:
    """The smallest epsilon for which rho-zCDP is known to imply (epsilon, delta)-DP.

    Canonne, Kamath, Steinke 2020 (Proposition 12 of arXiv 2004.00010v4), minimised over alpha;
    an upper bound whatever the rounding. ``total_variation``: distance of what was really sent
    from the rho-zCDP mechanism (all samples together); it is charged to delta, and if it uses
    delta up the result is infinite. Raises ValueError unless rho >= 0 and 0 < delta < 1.
    """
    if rho < 0 or not 0 < delta < 1:
        raise ValueError(f"required are rho >= 0 and 0 < delta < 1, got {rho} and {delta}")
    epsilon = _epsilon(float(rho), float(delta))
    if not total_variation:
        return epsilon
    for _ in range(_FIXPOINT_ROUNDS):
        if epsilon > _LARGEST_EXPONENT:
            break
        left = float(delta) - (1 + exp(epsilon)) * float(total_variation)
        if left <= 0:
            break
        enough = _epsilon(float(rho), left)
        if enough <= epsilon:
            return epsilon
        epsilon = enough * (1 + 2.0**-40)
    return inf


def renyi_to_epsilon(order: int, divergence: Real, delta: Real) -> float:
    """The epsilon at ``delta`` that a Renyi divergence of one ``order`` >= 2 shows, rounded up.

    The same proposition, at this alpha alone. Raises ValueError for other arguments.
    """
    if order < 2 or divergence < 0 or not 0 < delta < 1:
        raise ValueError(
            f"required are order >= 2, divergence >= 0 and 0 < delta < 1, got {order}, "
            f"{divergence} and {delta}"
        )
    return _at_order(float(order - 1), float(divergence), -log(float(delta)))


def epsilon_to_zcdp(epsilon: Real, delta: Real) -> float:
    """A rho, the largest up to rounding, with ``zcdp_to_epsilon(rho, delta) <= epsilon``.

    Raises ValueError unless epsilon > 0 and 0 < delta < 1.
    """
    if not epsilon > 0 or not 0 < delta < 1:
        raise ValueError(f"required are epsilon > 0 and 0 < delta < 1, got {epsilon} and {delta}")
    low, high = 0.0, float(epsilon)  # rho-zCDP never gives less than rho for delta < 1/2 ...
    while zcdp_to_epsilon(high, delta) <= epsilon:  # ... and for larger delta, double
        low, high = high, 2 * high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if zcdp_to_epsilon(middle, delta) <= epsilon:
            low = middle
        else:
            high = middle
    return low


def _epsilon(rho: float, delta: float) -> float:
    """Minimum over a = alpha - 1 > 0 of the bound, rounded up.

    f(a) = (1 + a) rho + ln(a / (1 + a)) + (ln(1 / delta) - ln(1 + a)) / a has the derivative
    rho - (ln(1 / delta) - ln(1 + a)) / a^2, so its minimum solves rho a^2 + ln(1 + a) =
    ln(1 / delta), whose left side increases. Any a gives an upper bound.
    """
    if rho == 0:
        return 0.0
    target = -log(delta)
    low, high = 0.0, min(sqrt(target / rho), expm1(min(target, _LARGEST_EXPONENT)))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if rho * middle * middle + log1p(middle) < target:
            low = middle
        else:
            high = middle
    return _at_order(high, (1 + high) * rho, target)


def _at_order(a: float, divergence: float, target: float) -> float:
    """The bound from a Renyi divergence of order 1 + a, rounded up; target = ln(1 / delta)."""
    terms = (divergence, log(a), -log1p(a), (target - log1p(a)) / a)
    return max(0.0, sum(terms) + _ROUNDING * (sum(map(abs, terms)) + (1 + target) / a))
