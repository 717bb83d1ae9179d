"""Sums of discrete Gaussians: the bound of Theorem 2 against sums computed to 80 digits."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction
from math import exp, pi, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.privacy.gaussian_sum import SMALLEST_VARIANCE, tau, zcdp

WIDTH = 260


def law(variance: Fraction) -> dict[int, Decimal]:
    """N_Z(0, variance) on -WIDTH..WIDTH, to the context's precision."""
    mass = {
        x: (Decimal(-x * x * variance.denominator) / (2 * variance.numerator)).exp()
        for x in range(-WIDTH, WIDTH + 1)
    }
    total = sum(mass.values())
    return {x: m / total for x, m in mass.items()}


def log_ratios(variances: list[Fraction], at: range) -> list[Decimal]:
    """ln(Pr[X_1 + ... + X_N = y] / Pr[Z = y]), Z discrete Gaussian of the summed variance."""
    first, *others = map(law, variances)
    for other in others:
        first = {
            y: sum((first[x] * other[y - x] for x in first if y - x in other), Decimal(0))
            for y in range(-WIDTH, WIDTH + 1)
        }
    reference = law(sum(variances, Fraction(0)))
    return [(first[y] / reference[y]).ln() for y in at]


@pytest.mark.parametrize(
    "variances",
    [
        [Fraction(6), Fraction(6)],
        [Fraction(6), Fraction(13, 2), Fraction(9)],
        [Fraction(6), Fraction(7), Fraction(6)],
        [Fraction(40), Fraction(6)],
    ],
)
def test_tau_is_at_least_twice_the_log_ratio_of_sum_and_gaussian(
    variances: list[Fraction],
) -> None:
    with localcontext(prec=80):
        seen = max(map(abs, log_ratios(variances, range(0, 12))))
        bound = tau(len(variances), min(variances))
        assert 0 < 2 * seen <= Decimal(bound.numerator) / bound.denominator


@pytest.mark.parametrize("smallest", [Fraction(1, 2), Fraction(1), Fraction(3, 2)])
def test_the_formula_behind_tau_holds_where_it_is_visible(smallest: Fraction) -> None:
    # Below 6, where the effect is large enough to see: 10 (N - 1) exp(-pi^2 v) is still a bound.
    variances = [smallest, smallest, smallest * 2]
    with localcontext(prec=60):
        seen = float(max(map(abs, log_ratios(variances, range(0, 12)))))
    assert 2 * seen <= 10 * 2 * exp(-(pi**2) * smallest)
    assert seen > exp(-2 * pi**2 * smallest)


@given(st.integers(1, 10**6), st.fractions(SMALLEST_VARIANCE, 100))
def test_tau_is_its_formula_rounded_up(components: int, smallest: Fraction) -> None:
    formula = 10 * (components - 1) * exp(-(pi**2) * smallest)
    bound = float(tau(components, smallest))
    assert formula <= bound * (1 + 1e-9)
    if smallest < 17:  # beyond, tau stays at 2^-256 per component
        assert bound <= 2.2 * formula


def test_tau_of_one_component_is_nothing() -> None:
    assert tau(1, Fraction(6)) == 0


@pytest.mark.parametrize("smallest", [Fraction(0), Fraction(6) - Fraction(1, 10**9)])
def test_components_under_six_are_refused(smallest: Fraction) -> None:
    with pytest.raises(ValueError, match="at least 6"):
        tau(2, smallest)


@given(
    st.integers(1, 10**9),
    st.fractions(6, 2**40),
    st.integers(1, 10**6),
    st.integers(1, 2**28),
)
def test_zcdp_is_its_formula_rounded_up(
    sensitivity: int, variance: Fraction, components: int, dimension: int
) -> None:
    smallest = Fraction(6)
    rho = zcdp(sensitivity, variance, components, smallest, dimension)
    excess = 10 * (components - 1) * exp(-(pi**2) * 6)
    formula = (sensitivity / sqrt(variance) + excess * sqrt(dimension)) ** 2 / 2
    assert float(rho) >= formula * (1 - 1e-12)
    assert float(rho) <= formula * (1 + 1e-12) + 1e-15


def test_zcdp_of_one_discrete_gaussian_is_exact() -> None:
    assert zcdp(3, Fraction(50), 1, Fraction(50), 10**6) == Fraction(9, 100)
