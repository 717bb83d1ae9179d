"""When a stage of an attempt ends: by the clock, or since nobody is left to wait for."""

from __future__ import annotations

from collections.abc import Set

import pytest

from secagg.rounds.machine import ServerState, abort
from secagg.rounds.r0_advertise_keys import Advertising
from secagg.rounds.r2_masked_input import Masking
from secagg.rounds.r4_unmasking import Unmasking
from secagg.rounds.r5_certification import Certifying
from server.attempt import may_close
from tests.cohorts import opened, reach, step, template

EVERYBODY = frozenset({1, 2, 3, 4})
NOBODY: Set[int] = frozenset()


@pytest.mark.parametrize("stage", [Advertising, Masking])
def test_an_early_stage_waits_for_everybody_until_its_deadline(
    stage: type[Advertising] | type[Masking],
) -> None:
    state: ServerState = reach(opened(), stage)
    assert not may_close(state, EVERYBODY, NOBODY, overdue=False)
    assert not may_close(state, NOBODY, NOBODY, overdue=False)
    assert may_close(state, EVERYBODY, NOBODY, overdue=True)


def test_who_has_refused_is_not_waited_for() -> None:
    cohort = opened()
    reach(cohort, Masking)
    step(cohort, (1, 2, 3))
    state = cohort.server.state
    assert not may_close(state, EVERYBODY, {3}, overdue=False)
    assert may_close(state, EVERYBODY, {4}, overdue=False)


def test_unmasking_needs_t_answers_whatever_the_clock_says() -> None:
    cohort = opened(template(5))
    reach(cohort, Unmasking)
    for answering in (1, 2, 3):
        step(cohort, (answering,))
        state = cohort.server.state
        assert isinstance(state, Unmasking)
        assert not may_close(state, EVERYBODY, {4, 5}, overdue=True)


def test_certification_waits_for_the_connected_alone() -> None:
    cohort = opened()
    reach(cohort, Certifying)
    step(cohort, (1, 2))
    assert not may_close(cohort.server.state, {1, 2}, NOBODY, overdue=True)
    step(cohort, (3,))
    state = cohort.server.state
    assert isinstance(state, Certifying)
    assert not may_close(state, EVERYBODY, NOBODY, overdue=False)
    assert may_close(state, {1, 2, 3}, NOBODY, overdue=False)
    assert may_close(state, EVERYBODY, {4}, overdue=False)
    assert may_close(state, EVERYBODY, NOBODY, overdue=True)


def test_what_is_over_does_not_end_again() -> None:
    state = abort(opened().server.state, "tests")
    assert not may_close(state, EVERYBODY, NOBODY, overdue=True)
