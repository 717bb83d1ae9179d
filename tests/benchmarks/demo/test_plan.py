"""The options of the demonstration, and what is wrong with some."""

from __future__ import annotations

import pytest

from benchmarks.demo.plan import Drop, Plan, drops, target
from benchmarks.heart_disease.policy import Target
from party.rehearsal import LossPoint
from secagg.cli import CommandError, ExitCode


def test_losses_without_a_round_follow_one_another() -> None:
    texts = ["switzerland@share_keys", "hungary@unmasking", "cleveland@start@1"]
    assert drops(texts, 3) == (
        Drop("switzerland", LossPoint.SHARE_KEYS, 2),
        Drop("hungary", LossPoint.UNMASKING, 3),
        Drop("cleveland", LossPoint.START, 1),
    )


def test_a_loss_without_a_round_is_never_after_the_last_one() -> None:
    assert drops(["va-long-beach@masked_input"], 1)[0].round == 1


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (["geneva@share_keys"], "no hospital 'geneva'"),
        (["hungary@lunch"], "no stage 'lunch'"),
        (["hungary"], "no stage ''"),
        (["hungary@start@4"], "no round '4'"),
        (["hungary@start@0"], "no round '0'"),
        (["hungary@start@"], "no round ''"),
        (["hungary@start@2", "hungary@unmasking@2"], "lost twice"),
    ],
)
def test_a_loss_that_cannot_happen_is_refused(texts: list[str], problem: str) -> None:
    with pytest.raises(CommandError, match=problem) as refused:
        drops(texts, 3)
    assert refused.value.exit_code is ExitCode.USAGE


def test_the_next_loss_is_the_earliest_of_those_to_come() -> None:
    lost = ["hungary@start@3", "hungary@unmasking@2", "switzerland@start@1"]
    plan = Plan(rounds=3, drops=drops(lost, 3), target=None, seed=0)
    assert plan.next_drop("hungary", 0) == Drop("hungary", LossPoint.UNMASKING, 2)
    assert plan.next_drop("hungary", 2) == Drop("hungary", LossPoint.START, 3)
    assert plan.next_drop("hungary", 3) is None
    assert plan.next_drop("cleveland", 0) is None


def test_noise_is_what_was_asked_for() -> None:
    assert target("local", "0.5", "0.01") == Target("local", "0.5", "0.01")
    assert target("none", "1", "0.001") is None


@pytest.mark.parametrize(
    ("mode", "epsilon", "delta", "problem"),
    [
        ("exact", "0", "0.001", "epsilon of '0'"),
        ("exact", "-1", "0.001", "epsilon of '-1'"),
        ("exact", "much", "0.001", "epsilon of 'much'"),
        ("exact", "NaN", "0.001", "epsilon of 'NaN'"),
        ("exact", "inf", "0.001", "epsilon of 'inf'"),
        ("exact", "1001", "0.001", "epsilon of '1001'"),
        ("exact", "1", "1", "delta of '1'"),
        ("exact", "1", "0.000", "delta of '0.000'"),
        ("exact", "1", "1e-3", "delta of '1e-3'"),
        ("loud", "1", "0.001", "no noise called 'loud'"),
    ],
)
def test_a_guarantee_that_means_nothing_is_refused(
    mode: str, epsilon: str, delta: str, problem: str
) -> None:
    with pytest.raises(CommandError, match=problem) as refused:
        target(mode, epsilon, delta)
    assert refused.value.exit_code is ExitCode.USAGE
