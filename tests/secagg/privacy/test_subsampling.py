"""Poisson subsampling: dp-accounting's curve, composition, and limits that are known."""

from __future__ import annotations

from fractions import Fraction
from math import sqrt

import dp_accounting
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.privacy.accounting import RHO_UNIT, zcdp_to_epsilon
from secagg.privacy.subsampling import ORDERS, RdpCurve

RHOS = st.fractions(0, 10, max_denominator=10**6)
RATES = st.fractions(Fraction(1, 1000), 1, max_denominator=1000)


def theirs(rho: Fraction, rate: Fraction, rounds: int) -> dp_accounting.rdp.RdpAccountant:
    accountant = dp_accounting.rdp.RdpAccountant(list(ORDERS))
    gaussian = dp_accounting.GaussianDpEvent(1 / sqrt(2 * rho))
    accountant.compose(dp_accounting.PoissonSampledDpEvent(float(rate), gaussian), rounds)
    return accountant


@pytest.mark.parametrize("rho", [Fraction(1, 2), Fraction(1, 32), Fraction(1, 1000)])
@pytest.mark.parametrize("rate", [Fraction(1, 100), Fraction(1, 4), Fraction(1)])
def test_the_curve_is_that_of_dp_accounting_rounded_up(rho: Fraction, rate: Fraction) -> None:
    curve = RdpCurve.subsampled(rho, rate)
    for ours, their in zip(curve.units, theirs(rho, rate, 1)._rdp, strict=True):
        assert their - 1e-12 <= ours * RHO_UNIT <= their + float(RHO_UNIT) + 1e-12


@pytest.mark.parametrize("delta", [Fraction(1, 1000), Fraction(1, 10**6)])
def test_epsilon_of_many_rounds_agrees_with_dp_accounting(delta: Fraction) -> None:
    rho, rate, rounds = Fraction(1, 8), Fraction(1, 20), 200
    ours = RdpCurve.subsampled(rho, rate).times(rounds).epsilon(delta)
    expected = theirs(rho, rate, rounds).get_epsilon(float(delta))
    assert expected * (1 - 1e-9) <= ours <= expected * (1 + 1e-4)


@settings(max_examples=10)
@given(RHOS, RATES, RATES)
def test_a_smaller_rate_never_costs_more(rho: Fraction, one: Fraction, other: Fraction) -> None:
    low, high = (RdpCurve.subsampled(rho, rate).units for rate in sorted((one, other)))
    assert all(a <= b for a, b in zip(low, high, strict=True))


@settings(max_examples=10)
@given(RHOS)
def test_taking_everybody_costs_what_zcdp_says(rho: Fraction) -> None:
    curve = RdpCurve.subsampled(rho, Fraction(1))
    for order, units in zip(ORDERS, curve.units, strict=True):
        assert 0 <= units * RHO_UNIT - order * rho < RHO_UNIT


def test_subsampling_saves_privacy() -> None:
    rho, rounds, delta = Fraction(1, 100), 50, Fraction(1, 10**5)
    sampled = RdpCurve.subsampled(rho, Fraction(1, 10)).times(rounds).epsilon(delta)
    assert sampled < zcdp_to_epsilon(rounds * rho, delta) / 4


def test_adding_curves_is_running_both() -> None:
    one = RdpCurve.subsampled(Fraction(1, 10), Fraction(1, 2))
    other = RdpCurve.subsampled(Fraction(1, 3), Fraction(1, 7))
    both = one + other + one
    assert both.units == tuple(2 * a + b for a, b in zip(one.units, other.units, strict=True))
    assert one.times(3) == one + one + one


@pytest.mark.parametrize(("rho", "rate"), [(-1, 1), (1, 0), (1, 2), (1, -1)])
def test_arguments_out_of_range_are_refused(rho: int, rate: int) -> None:
    with pytest.raises(ValueError, match="required are"):
        RdpCurve.subsampled(Fraction(rho), Fraction(rate))
