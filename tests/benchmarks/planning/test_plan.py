"""A plan's figures are those of the policy that it writes."""

from fractions import Fraction
from math import sqrt

import msgspec
import numpy as np
import pytest

from benchmarks.planning.plan import Mode, Wish, fitted, parse_wish, planned, sample_policy
from party.ledger import Cost
from secagg.cli import CommandError, ExitCode
from secagg.privacy.budget import Budget
from server.policy_template import Template, find_template

ISSUES_WISH = Wish(Fraction(1), Fraction(1, 10**5), rounds=12, hospitals=4, patients=500)


@pytest.fixture
def base() -> Template:
    return find_template("respiratory-cardiac")


@pytest.mark.parametrize("mode", ["exact", "at_least", "local"])
@pytest.mark.parametrize("hospitals", [3, 4, 10, 100])
def test_the_rounds_fit_the_budget_and_one_more_does_not(
    base: Template, mode: Mode, hospitals: int
) -> None:
    wish = Wish(Fraction(1, 2), Fraction(1, 10**6), 7, hospitals, 300, mode)
    found, template = planned(wish, base)
    policy = sample_policy(wish, template)
    cost = Cost.of(policy)
    assert cost is not None
    promised = cost.own if mode == "local" else cost.sum
    assert Budget(wish.epsilon, wish.delta).affordable(promised) == 7
    spent = found.epsilon_own if mode == "local" else found.epsilon_sum
    assert 0.4999 < spent <= 0.5


def test_the_noise_multiplier_is_the_gaussian_mechanisms(base: Template) -> None:
    found, _ = planned(ISSUES_WISH, base)
    assert found.noise_multiplier == pytest.approx(1 / sqrt(2 * found.rho), rel=1e-6)


@pytest.mark.parametrize("mode", ["exact", "at_least", "local"])
def test_the_error_is_that_of_drawn_noise(base: Template, mode: Mode) -> None:
    plan, template = planned(Wish(Fraction(1), Fraction(1, 10**5), 12, 4, 500, mode), base)
    mechanism = sample_policy(ISSUES_WISH, template).mechanism
    for error in (plan.error, plan.error_at_the_floor):
        size, total = 20_000, np.zeros(20_000)
        for hospital in range(error.hospitals):
            seed = bytes([hospital]) * 32
            disclosed = mechanism.surplus_seeds(seed, 4, error.hospitals)
            total += mechanism.noise(seed, size, 4)
            total -= mechanism.surplus_noise(disclosed, size, 4, error.hospitals)
        measured = float(np.sqrt(np.mean(np.square(total))))
        assert error.coordinate * plan.scale * error.patients == pytest.approx(measured, rel=0.03)
        assert error.norm == pytest.approx(error.coordinate * sqrt(plan.coordinates - 1))


def test_the_curve_falls_and_passes_through_the_plan(base: Template) -> None:
    found, _ = planned(ISSUES_WISH, base)
    norms = [point.norm for point in found.curve]
    assert norms == sorted(norms, reverse=True)
    assert dict(msgspec.structs.astuple(point) for point in found.curve)[1.0] == found.error.norm


def test_bounds_follow_the_number_of_patients(base: Template) -> None:
    template = fitted(ISSUES_WISH, base)
    assert template.model.contribution.max_patients == 512
    assert template.model.update.count_floor == 3 * 500 // 2
    more = fitted(Wish(Fraction(1), Fraction(1, 10**5), 12, 4, 513), base)
    assert more.model.contribution.max_patients == 1024


def test_narrow_noise_is_given_finer_integers(base: Template) -> None:
    coarse = msgspec.structs.replace(
        base,
        model=msgspec.structs.replace(
            base.model,
            contribution=msgspec.structs.replace(
                base.model.contribution, scale=2, gradient_bound=2, count_weight=1
            ),
        ),
    )
    wish = Wish(Fraction(8), Fraction(1, 1000), 1, 40, 100)
    template = fitted(wish, coarse)
    rule = template.model.contribution
    factor = rule.scale // 2
    assert factor > 1
    assert (rule.gradient_bound, rule.count_weight) == (2 * factor, factor)
    sample_policy(wish, template)


def test_notations_of_one_number_are_one_wish() -> None:
    assert parse_wish("1", "1e-5", 12, 4, 500, "exact") == ISSUES_WISH
    assert parse_wish("1.0", "0.00001", 12, 4, 500, "exact") == ISSUES_WISH
    assert fitted(ISSUES_WISH, find_template("respiratory-cardiac")).noise.delta == "0.00001"


@pytest.mark.parametrize(
    ("epsilon", "delta", "said"),
    [
        ("0", "1e-5", "epsilon"),
        ("-1", "1e-5", "epsilon"),
        ("much", "1e-5", "epsilon"),
        ("inf", "1e-5", "epsilon"),
        ("1e9", "1e-5", "epsilon"),
        ("1", "0", "delta"),
        ("1", "1", "delta"),
        ("1", "1e-31", "delta"),
        ("1", "nan", "delta"),
        ("1", "", "delta"),
    ],
)
def test_what_cannot_be_planned_is_refused(epsilon: str, delta: str, said: str) -> None:
    with pytest.raises(CommandError, match=f"(An|A) {said} of") as refused:
        parse_wish(epsilon, delta, 1, 4, 10, "exact")
    assert refused.value.exit_code == ExitCode.USAGE


def test_thresholds_that_do_not_fit_the_number_of_hospitals_are_refused() -> None:
    wish = Wish(Fraction(1), Fraction(1, 1000), 6, 9, 100)
    with pytest.raises(CommandError, match=r"No policy does this: .*required is"):
        planned(wish, find_template("heart-disease"))


def test_more_rounds_than_the_ledgers_unit_allows_are_refused(base: Template) -> None:
    with pytest.raises(CommandError, match="smallest charge"):
        fitted(Wish(Fraction(1, 1000), Fraction(1, 10**9), 100_000, 4, 500), base)
