"""Ledger arithmetic: nothing is overspent, whatever the order and size of the charges."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.privacy.accounting import RHO_UNIT, zcdp_to_epsilon
from secagg.privacy.budget import Budget, BudgetExceeded, Charge

EPSILON, DELTA = Fraction(1), Fraction(1, 10**6)
CHARGES = st.builds(Charge, st.integers(0, 10**8), st.integers(0, 10**6))


def test_a_round_costs_what_the_conversion_says() -> None:
    budget = Budget(EPSILON, DELTA).charged(Charge(rho=10**7))
    assert budget.epsilon_spent() == zcdp_to_epsilon(Fraction(1, 100), DELTA)


def test_the_budget_takes_charges_up_to_its_last_unit() -> None:
    # rho = 0.024356... is what epsilon = 1 at delta = 1e-6 buys (a known answer).
    units = Budget(EPSILON, DELTA).affordable(Charge(rho=1))
    assert units * RHO_UNIT == pytest.approx(0.0243560, abs=5e-8)
    full = Budget(EPSILON, DELTA).charged(Charge(rho=units))
    assert full.epsilon_spent() <= EPSILON
    assert not full.allows(Charge(rho=1))


@given(st.lists(CHARGES, max_size=30))
def test_no_series_of_charges_spends_more_than_the_budget(charges: list[Charge]) -> None:
    budget = Budget(EPSILON, DELTA)
    for charge in charges:
        if budget.allows(charge):
            budget = budget.charged(charge)
        else:
            with pytest.raises(BudgetExceeded):
                budget.charged(charge)
    assert budget.spent.epsilon(DELTA) <= EPSILON


def test_order_and_grouping_of_charges_do_not_matter() -> None:
    charges = (Charge(3, 7), Charge(10**6, 5), Charge(0, 10**9), Charge(12345, 0))
    spent = {sum(order, Charge()) for order in permutations(charges)}
    assert spent == {Charge(1012348, 10**9 + 12)}


@given(st.integers(1, 10**7), st.integers(0, 10**7), CHARGES)
def test_affordable_is_the_number_of_rounds_that_fit(rho: int, samples: int, spent: Charge) -> None:
    budget = Budget(EPSILON, DELTA, spent)
    rounds = budget.affordable(Charge(rho, samples))
    assert rounds == 0 or budget.allows(Charge(rounds * rho, rounds * samples))
    assert not budget.allows(Charge((rounds + 1) * rho, (rounds + 1) * samples))


def test_the_refusal_says_what_is_spent_and_allowed() -> None:
    budget = Budget(EPSILON, DELTA, Charge(rho=10**7))
    with pytest.raises(BudgetExceeded, match=r"to 2\.25.*1 is allowed; 0\.6.* is spent"):
        budget.charged(Charge(rho=10**8))


def test_noise_that_is_not_ideal_enough_for_delta_is_refused() -> None:
    # 2^64 samples at 2^-83 each are 2e-6 of total variation: more than all of delta.
    budget = Budget(EPSILON, DELTA)
    assert Charge(1, 2**64).epsilon(DELTA) == inf
    assert not budget.allows(Charge(1, 2**64))


def test_a_charge_is_never_negative() -> None:
    for arguments in ((-1, 0), (0, -1)):
        with pytest.raises(ValueError, match="negative"):
            Charge(*arguments)


@pytest.mark.parametrize(("epsilon", "delta"), [(0, 0.5), (-1, 0.5), (1, 0), (1, 1)])
def test_a_budget_has_an_epsilon_and_a_delta(epsilon: float, delta: float) -> None:
    with pytest.raises(ValueError, match="required are"):
        Budget(Fraction(epsilon), Fraction(delta))


def test_a_charge_without_cost_has_no_count() -> None:
    with pytest.raises(ValueError, match="any number"):
        Budget(EPSILON, DELTA).affordable(Charge(0, 5))
