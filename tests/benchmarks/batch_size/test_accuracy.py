"""Accuracy by the number of patients: more of them drown the same noise."""

from fractions import Fraction

import pytest

from benchmarks.batch_size.accuracy import ROUNDS, planned_policy, privacy, utility
from party.ledger import Cost
from secagg.privacy.budget import Budget


def test_the_cost_is_what_the_ledger_charges() -> None:
    policy = planned_policy()
    cost, charged = privacy(policy), Cost.of(policy)
    assert charged is not None
    budget = Budget(Fraction(1), Fraction(policy.noise.delta))
    for _ in range(ROUNDS):
        budget = budget.charged(charged.sum)
    assert cost.all == pytest.approx(budget.epsilon_spent(), rel=1e-6)
    assert cost.all <= 1 < cost.own
    assert ROUNDS * cost.one > cost.all > cost.one


def test_few_patients_drown_in_the_noise_and_many_do_not() -> None:
    few, many = utility(10, 1, 1), utility(500, 1, 1)
    assert few.noised < few.clean
    assert many.noised == pytest.approx(many.clean, abs=0.04)
    assert many.needed is not None
    assert many.needed <= 2
    assert few.needed is None or few.needed > many.needed
    assert many.clean > 0.8
