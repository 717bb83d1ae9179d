"""Round 4: what is opened, and what is left when it is removed. Wrong answers:
tests/attacks/test_13.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from secagg.crypto.keys import KeyPair
from secagg.rounds.journal import AnswerReleased
from secagg.rounds.r1_share_keys import Shared
from secagg.rounds.r2_masked_input import Masking
from secagg.rounds.r4_unmasking import Answered, Unmasked, Unmasking, collect_answer, reconstruct
from secagg.rounds.r5_certification import Certifying
from secagg.simulate import Cohort
from secagg.vector.aggregate import Aggregate
from secagg.wire.messages import UnmaskingAnswer
from tests.cohorts import (
    changed,
    delivered,
    message_for,
    opened,
    plain_sum,
    reach,
    state_of,
    step,
    template,
)

HERE, GONE = (1, 3, 4, 6, 7), (2, 5)


@pytest.fixture
def seven() -> tuple[Cohort, Unmasking, dict[int, bytes]]:
    """n = 7, t = 5: hospitals 2 and 5 have dropped; and everybody's b_u."""
    cohort = opened(template(7))
    reach(cohort, Masking)
    seeds = {u: state_of(cohort, u, Shared).seed.reveal() for u in cohort.policy.members}
    return cohort, reach(cohort, Unmasking, HERE), seeds


def answers_of(cohort: Cohort, clients: tuple[int, ...]) -> dict[int, UnmaskingAnswer]:
    return {u: delivered(cohort, u, message_for(cohort, u))[0] for u in clients}


def unmasked(state: Unmasking, answers: dict[int, UnmaskingAnswer]) -> Unmasked:
    for u, answer in answers.items():
        state = collect_answer(state, u, answer)
    result = reconstruct(state).state
    assert isinstance(result, Unmasked)
    return result


def test_t_answers_open_the_survivors_seeds_and_the_droppeds_keys(
    seven: tuple[Cohort, Unmasking, dict[int, bytes]],
) -> None:
    cohort, state, seeds = seven
    result = unmasked(state, answers_of(cohort, HERE))
    assert {u: seed.reveal() for u, seed in result.self_mask_seeds.items()} == {
        u: seeds[u] for u in HERE
    }
    publics = {u: KeyPair.from_private(key).public for u, key in result.mask_keys.items()}
    assert publics == {u: state.keys[u].mask_key for u in GONE}


def test_removing_the_masks_leaves_the_sum_in_any_slices(
    seven: tuple[Cohort, Unmasking, dict[int, bytes]],
) -> None:
    cohort, state, _ = seven
    result = unmasked(state, answers_of(cohort, HERE))
    assert len(result.masks) == len(HERE) + len(HERE) * len(GONE)
    aggregate = Aggregate(cohort.policy.ring, cohort.policy.vector.dimension)
    for u in HERE:
        for start, words in cohort.spool[u]:
            aggregate.add(start, words)
    for where in (slice(2, 3), slice(0, 2)):
        aggregate.unmask(result.masks, where)
    assert np.array_equal(aggregate.total(), plain_sum(cohort, HERE))


def test_more_answers_than_t_change_nothing() -> None:
    cohort = opened(template(5))
    state = reach(cohort, Unmasking)
    answers = answers_of(cohort, (1, 2, 3, 4, 5))
    few = unmasked(state, {u: answers[u] for u in (2, 3, 4, 5)})
    many = unmasked(state, answers)
    assert few.self_mask_seeds == many.self_mask_seeds


def test_an_answer_is_durable_before_it_leaves_and_the_same_when_it_leaves_again() -> None:
    cohort = opened()
    state = reach(cohort, Unmasking)
    sent = list(cohort.deliver(1, message_for(cohort, 1)))
    assert cohort.journals[1][-1] == AnswerReleased(state.attempt)
    assert cohort.standings[1].answered == 1
    assert list(state_of(cohort, 1, Answered).outbound) == sent


def test_exactly_t_signatures_are_enough() -> None:
    cohort = opened(template(5))
    reach(cohort, Unmasking)
    shown = message_for(cohort, 1)
    few = changed(shown, signatures=tuple(s for s in shown.signatures if s.u != 1))
    assert len(few.signatures) == cohort.policy.threshold
    (answer,) = delivered(cohort, 1, few)
    assert isinstance(answer, UnmaskingAnswer)


def test_only_whoever_signed_is_asked_until_it_has_answered() -> None:
    cohort = opened(template(5))
    reach(cohort, Masking)
    reach(cohort, Unmasking, (1, 2, 3, 4))
    cohort.collect(1, answers_of(cohort, (1,))[1])
    state = reach(cohort, Unmasking)
    assert state.awaited() == {2, 3, 4}
    assert state.outbound(1) == ()
    assert state.outbound(5) == ()
    assert state.dropped == (5,)


def test_too_few_answers_go_on_waiting_and_the_last_one_completes_the_sum() -> None:
    cohort = opened()
    state = reach(cohort, Unmasking)
    step(cohort, [1, 2])
    waiting = cohort.server.state
    assert isinstance(waiting, Unmasking)
    assert waiting.u3 == state.u3
    for _ in range(2):
        assert cohort.server.close() == frozenset()
        assert cohort.server.state is waiting
    step(cohort, [3])
    assert isinstance(cohort.server.state, Certifying)
    assert cohort.total is not None
    assert np.array_equal(cohort.total, plain_sum(cohort, (1, 2, 3, 4)))


def test_no_secret_of_a_state_is_in_its_repr() -> None:
    cohort = opened()
    state = reach(cohort, Unmasking)
    result = unmasked(state, answers_of(cohort, (1, 2, 3)))
    for seed in result.self_mask_seeds.values():
        assert repr(seed.reveal())[2:-1] not in repr(result)
        assert seed.reveal().hex() not in repr(result)
    assert replace(result, masks=()) != result


def test_an_answer_sent_again_changes_nothing() -> None:
    cohort = opened(template(5))
    state = reach(cohort, Unmasking)
    (answer,) = answers_of(cohort, (1,)).values()
    once = collect_answer(state, 1, answer)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(answer), type=UnmaskingAnswer)
    assert again is not answer
    assert collect_answer(once, 1, again) is once
