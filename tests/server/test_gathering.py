"""Which round opens, when, for whom: every rule by itself, without a clock."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.policy import NoiseSpec
from secagg.rounds.r0_advertise_keys import MAX_ATTEMPT
from server.config import Timing
from server.gathering import Ask, Gathering, Open, Standby, View, Wait, can_leave, opening
from tests.server.scripted import NOISE, policy_of

POLICY, _ = policy_of(4, NOISE)
SILENT, _ = policy_of(4, NoiseSpec())
TIMING = Timing()


def ready(*rounds: int | None) -> dict[int, Standby]:
    """Parties 1, 2, ... with these batches, who have entered nothing."""
    return {u: Standby(number, (0, 0)) for u, number in enumerate(rounds, 1)}


# --- which round ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("closed", "rounds", "expected"),
    [
        (0, (1, 1, 1, 1), Open(1, 1, frozenset({1, 2, 3, 4}))),
        (0, (1, 1, 1, None), Open(1, 1, frozenset({1, 2, 3}))),
        (0, (1, 1, None, None), None),
        (4, (1, 1, 1, 1), Open(5, 1, frozenset({1, 2, 3, 4}))),
        (0, (1, 2, 3, 4), Open(3, 1, frozenset({1, 2, 3}))),
        (0, (7, 7, 7, 9), Open(7, 1, frozenset({1, 2, 3}))),
    ],
)
def test_the_lowest_round_for_which_enough_batches_count(
    closed: int, rounds: tuple[int | None, ...], expected: Open | None
) -> None:
    assert opening(POLICY, View(closed, ready(*rounds), {})) == expected


def test_an_attempt_has_a_number_above_every_one_that_was_made() -> None:
    assert opening(POLICY, View(0, ready(1, 1, 1, 1), {1: 3})) == Open(
        1, 4, frozenset({1, 2, 3, 4})
    )


def test_what_the_parties_have_entered_counts_if_too_few_are_below_it() -> None:
    standby = {u: Standby(1, (1, 6 + u)) for u in (1, 2, 3, 4)}
    assert opening(POLICY, View(0, standby, {})) == Open(1, 10, frozenset({1, 2, 3}))
    assert opening(POLICY, View(0, standby, {1: 12})) == Open(1, 13, frozenset({1, 2, 3, 4}))


@pytest.mark.parametrize("claimed", [999, MAX_ATTEMPT, 2**53])
def test_one_party_cannot_use_up_the_attempts_of_a_round(claimed: int) -> None:
    standby = ready(1, 1, 1) | {4: Standby(1, (1, claimed))}
    assert opening(POLICY, View(0, standby, {})) == Open(1, 1, frozenset({1, 2, 3}))


def test_nobody_is_invited_to_a_round_below_one_that_it_entered() -> None:
    standby = ready(1, 1, 1) | {4: Standby(1, (2, 1))}
    assert opening(POLICY, View(0, standby, {})) == Open(1, 1, frozenset({1, 2, 3}))


def test_a_proven_cheat_is_left_out() -> None:
    view = View(0, ready(1, 1, 1, 1), {}, omitted=frozenset({2}))
    assert opening(POLICY, view) == Open(1, 1, frozenset({1, 3, 4}))
    assert isinstance(Gathering(POLICY, TIMING).decide(0, view), Open)


def test_attempts_are_not_endless() -> None:
    assert opening(POLICY, View(0, ready(1, 1, 1, 1), {1: MAX_ATTEMPT})) is None
    last = opening(POLICY, View(0, ready(1, 1, 1, 1), {1: MAX_ATTEMPT - 1}))
    assert last is not None
    assert last.attempt == MAX_ATTEMPT


@given(
    closed=st.integers(0, 5),
    batches=st.lists(st.none() | st.integers(0, 9), min_size=4, max_size=4),
    entered=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=4, max_size=4),
)
def test_every_invited_party_can_accept(
    closed: int, batches: list[int | None], entered: list[tuple[int, int]]
) -> None:
    standby = {
        u: Standby(batch, was)
        for u, (batch, was) in enumerate(zip(batches, entered, strict=True), 1)
    }
    plan = opening(POLICY, View(closed, standby, {}))
    if plan is None:
        assert sum(each is not None for each in batches) < POLICY.min_survivors
        return
    assert plan.round > closed
    assert len(plan.invited) >= POLICY.min_survivors
    for u in plan.invited:
        batch = standby[u].ready
        assert batch is not None
        assert batch <= plan.round
        assert (plan.round, plan.attempt) > standby[u].entered


# --- when -----------------------------------------------------------------------------------------


def test_with_everybody_ready_it_opens_at_once() -> None:
    assert isinstance(Gathering(POLICY, TIMING).decide(5, View(0, ready(1, 1, 1, 1), {})), Open)


def test_the_window_runs_from_when_enough_were_ready() -> None:
    gathering, three = Gathering(POLICY, TIMING), View(0, ready(1, 1, 1), {})
    assert gathering.decide(0, View(0, ready(1, 1), {})) == Wait(inf)
    assert gathering.decide(10, three) == Wait(40)
    assert gathering.decide(39, three) == Wait(40)
    assert isinstance(gathering.decide(40, three), Open)


def test_the_window_starts_anew_after_too_few() -> None:
    gathering, three = Gathering(POLICY, TIMING), View(0, ready(1, 1, 1), {})
    gathering.decide(0, three)
    gathering.decide(20, View(0, ready(1, 1), {}))
    assert gathering.decide(25, three) == Wait(55)


def test_a_repeated_attempt_waits_for_its_pause_alone() -> None:
    gathering = Gathering(POLICY, TIMING)
    view = View(0, ready(1, 1, 1), {1: 1}, failed=1, not_before=8)
    assert gathering.decide(7, view) == Wait(8)
    assert gathering.decide(8, view) == Open(1, 2, frozenset({1, 2, 3}))


def test_after_max_attempts_nothing_opens() -> None:
    view = View(0, ready(1, 1, 1, 1), {1: 3}, failed=3)
    assert Gathering(POLICY, TIMING).decide(0, view) == Wait(inf)


# --- abandonment ----------------------------------------------------------------------------------


def test_a_tried_round_that_too_few_can_enter_is_abandoned_after_the_patience() -> None:
    gathering, view = Gathering(POLICY, TIMING), View(0, ready(None, None, 1), {1: 1})
    assert gathering.decide(0, view) == Wait(300)
    assert gathering.decide(300, view) == Ask(1)
    asked = View(0, ready(None, None, 1), {1: 1}, asked=1)
    assert gathering.decide(301, asked) == Wait(inf)


def test_it_is_abandoned_at_once_if_answers_were_released() -> None:
    view = View(0, ready(None, None, 1), {1: 1}, released=True)
    assert Gathering(POLICY, TIMING).decide(0, view) == Ask(1)


def test_what_only_the_parties_remember_counts() -> None:
    standby = {u: Standby(None, (3, 2)) for u in (1, 2, 3)}
    assert Gathering(POLICY, TIMING).decide(0, View(0, standby, {}, released=True)) == Ask(3)


@pytest.mark.parametrize(
    "view",
    [
        View(0, ready(None, None, 1), {}, released=True),
        View(1, ready(None, None, 1), {1: 1}, released=True),
        View(0, ready(None, None), {1: 1}, released=True),
    ],
)
def test_nobody_is_asked_about_an_untried_round_or_below_the_quorum(view: View) -> None:
    assert Gathering(POLICY, TIMING).decide(0, view) == Wait(inf)


def test_patience_starts_anew_when_enough_could_enter() -> None:
    gathering, few = Gathering(POLICY, TIMING), View(0, ready(None, None, 1), {1: 1})
    gathering.decide(0, few)
    gathering.decide(100, View(0, ready(1, 1, 1), {1: 1}))
    assert gathering.decide(200, few) == Wait(500)


# --- leaving an attempt that lacks answers --------------------------------------------------------


def test_an_attempt_is_left_only_for_something_that_can_close_the_round() -> None:
    two_answered = View(0, ready(None, None, 1), {1: 1})
    assert can_leave(POLICY, two_answered, {1, 2})
    assert not can_leave(SILENT, two_answered, {1, 2})
    assert not can_leave(POLICY, View(0, ready(None, None), {1: 1}), {1, 2})
    assert can_leave(SILENT, View(0, ready(1, 1, 1, None), {1: 1}), {4})
