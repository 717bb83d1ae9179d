"""zCDP accounting: known answers, other libraries' answers, and the direction of every error."""

from __future__ import annotations

from fractions import Fraction
from math import exp, inf, log
from typing import Any

import dp_accounting
import opendp.prelude as dp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.privacy.accounting import (
    RHO_UNIT,
    epsilon_to_zcdp,
    renyi_to_epsilon,
    rho_units,
    zcdp_to_epsilon,
)

RHOS = st.floats(1e-9, 1e3)
DELTAS = st.floats(1e-15, 0.5)


@pytest.mark.parametrize(
    ("rho", "delta", "epsilon"),
    [(0.1, 1e-6, 2.141939), (0.5, 1e-6, 5.221534), (1, 1e-5, 7.077197)],
)
def test_epsilon_known_answers(rho: float, delta: float, epsilon: float) -> None:
    assert zcdp_to_epsilon(rho, delta) == pytest.approx(epsilon, abs=5e-7)


def test_rho_known_answer() -> None:
    assert epsilon_to_zcdp(1, 1e-6) == pytest.approx(0.0243560, abs=5e-8)


@given(RHOS, DELTAS, st.floats(1e-4, 1e4))
def test_epsilon_is_the_minimum_over_alpha(rho: float, delta: float, a: float) -> None:
    # The proposition of Canonne, Kamath, Steinke as printed, at one alpha = 1 + a.
    epsilon = zcdp_to_epsilon(rho, delta)
    alpha = 1 + a
    at_alpha = alpha * rho + log(a / alpha) - (log(delta) + log(alpha)) / a
    assert epsilon <= max(0.0, at_alpha) * (1 + 1e-9) + 1e-9


@given(RHOS, DELTAS)
def test_epsilon_is_enough_for_delta(rho: float, delta: float) -> None:
    # The upper bound, checked in the other direction: some alpha shows (epsilon, delta).
    epsilon = zcdp_to_epsilon(rho, delta)

    def log_delta(a: float) -> float:
        return a * ((1 + a) * rho - epsilon) - log(1 + a) + a * log(a / (1 + a))

    grid = [10 ** (k / 50) for k in range(-500, 500)]
    best = min(grid, key=log_delta)
    fine = [best * 10 ** (k / 5000) for k in range(-100, 101)]
    assert min(map(log_delta, fine)) <= log(delta) + 1e-3


@pytest.mark.parametrize("rho", [1e-6, 0.001, 0.0243560, 0.1, 0.5, 1, 7.5])
@pytest.mark.parametrize("delta", [1e-3, 1e-6, 1e-10])
def test_epsilon_agrees_with_dp_accounting(rho: float, delta: float) -> None:
    orders = [1 + 10 ** (k / 400) for k in range(-1200, 3200)]
    theirs, _ = dp_accounting.rdp.compute_epsilon(orders, [a * rho for a in orders], delta)
    ours = zcdp_to_epsilon(rho, delta)
    assert ours <= theirs * (1 + 1e-12)
    assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize("rho", [0.001, 0.0243560, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-6, 1e-10])
def test_epsilon_agrees_with_opendp(rho: float, delta: float) -> None:
    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T=int)), dp.l2_distance(T=float)
    gaussian: Any = dp.c.make_zCDP_to_approxDP(dp.m.make_gaussian(*space, scale=1.0))
    profile = gaussian.map((2 * rho) ** 0.5)
    assert zcdp_to_epsilon(rho, delta) == pytest.approx(profile.epsilon(delta), rel=1e-6)


@given(st.floats(1e-3, 50), DELTAS)
def test_rho_for_epsilon_never_exceeds_it_and_is_the_largest(epsilon: float, delta: float) -> None:
    rho = epsilon_to_zcdp(epsilon, delta)
    assert zcdp_to_epsilon(rho, delta) <= epsilon
    assert zcdp_to_epsilon(rho * (1 + 1e-9), delta) > epsilon


@given(st.fractions(0, 100))
def test_rho_units_round_up_by_less_than_one(rho: Fraction) -> None:
    units = rho_units(rho)
    assert 0 <= units * RHO_UNIT - rho < RHO_UNIT


@given(RHOS, st.floats(1e-12, 0.5), st.floats(1e-30, 1e-13))
def test_total_variation_is_paid_from_delta(rho: float, delta: float, variation: float) -> None:
    epsilon = zcdp_to_epsilon(rho, delta, Fraction(variation))
    assert epsilon >= zcdp_to_epsilon(rho, delta)
    if epsilon < inf:
        left = delta - (1 + exp(epsilon)) * variation
        assert zcdp_to_epsilon(rho, left) <= epsilon


def test_total_variation_beyond_delta_gives_no_guarantee() -> None:
    assert zcdp_to_epsilon(0.1, 1e-9, Fraction(1, 10**9)) == inf
    assert zcdp_to_epsilon(1e6, 1e-9, Fraction(1, 10**30)) == inf


def test_no_cost_is_epsilon_zero() -> None:
    assert zcdp_to_epsilon(0, 1e-6) == 0


@pytest.mark.parametrize(("rho", "delta"), [(-1, 0.1), (1, 0), (1, 1), (1, -1), (1, float("nan"))])
def test_epsilon_refuses_arguments_out_of_range(rho: float, delta: float) -> None:
    with pytest.raises(ValueError, match="required are"):
        zcdp_to_epsilon(rho, delta)


@pytest.mark.parametrize(("epsilon", "delta"), [(0, 0.1), (-1, 0.1), (1, 0), (1, 1)])
def test_rho_refuses_arguments_out_of_range(epsilon: float, delta: float) -> None:
    with pytest.raises(ValueError, match="required are"):
        epsilon_to_zcdp(epsilon, delta)


def test_rho_units_refuse_a_negative_rho() -> None:
    with pytest.raises(ValueError, match="negative"):
        rho_units(Fraction(-1))


@given(RHOS, DELTAS, st.integers(2, 500))
def test_one_order_never_shows_less_than_the_best(rho: float, delta: float, order: int) -> None:
    at_order = renyi_to_epsilon(order, order * rho, delta)
    assert at_order >= zcdp_to_epsilon(rho, delta) - 1e-9 * (1 + at_order)


@pytest.mark.parametrize(("order", "divergence", "delta"), [(1, 1, 0.1), (2, -1, 0.1), (2, 1, 0)])
def test_an_order_is_refused_with_arguments_out_of_range(
    order: int, divergence: float, delta: float
) -> None:
    with pytest.raises(ValueError, match="required are"):
        renyi_to_epsilon(order, divergence, delta)
