"""Attack 1: both shares of one hospital are asked for, those of b and those of its mask key.

Whoever has t of each reads that hospital's vector.
"""

from __future__ import annotations

import numpy as np

from secagg.checks import Check
from secagg.rounds.r2_masked_input import Masked, Masking
from secagg.rounds.r3_consistency_check import Checking, Confirmed
from secagg.rounds.session import ClientSession
from secagg.wire.messages import Signed, SurvivorSet, SurvivorSignatures, UnmaskingAnswer
from tests.cohorts import (
    Facts,
    Loot,
    delivered,
    message_for,
    opened,
    opened_sum,
    reach,
    refused,
    state_of,
)

VICTIM = 4
EVERYBODY, THE_OTHERS = (1, 2, 3, 4), (1, 2, 3)


def test_a_client_signs_one_survivor_set() -> None:
    cohort = opened()
    session = reach(cohort, Checking).attempt.session
    delivered(cohort, 1, SurvivorSet(session, EVERYBODY))
    with refused(Check.EXPECTED_MESSAGE):
        delivered(cohort, 1, SurvivorSet(session, THE_OTHERS))


def test_not_even_the_same_survivor_set_twice() -> None:
    cohort = opened()
    session = reach(cohort, Checking).attempt.session
    first = delivered(cohort, 1, SurvivorSet(session, EVERYBODY))
    assert list(state_of(cohort, 1, Confirmed).outbound) == first  # what a reconnect repeats
    with refused(Check.EXPECTED_MESSAGE):
        delivered(cohort, 1, SurvivorSet(session, EVERYBODY))


def test_an_answer_opens_one_kind_of_share_for_each_client() -> None:
    cohort = opened()
    reach(cohort, Masking)
    reach(cohort, Checking, THE_OTHERS)
    for u in THE_OTHERS:
        cohort.collect(u, delivered(cohort, u, message_for(cohort, u))[0])
    (answer,) = delivered(cohort, 1, message_for(cohort, 1))
    assert isinstance(answer, UnmaskingAnswer)
    assert [opened.v for opened in answer.self_mask_shares] == [1, 2, 3]
    assert [opened.v for opened in answer.mask_key_shares] == [VICTIM]


def test_clients_that_could_go_back_would_give_their_victim_away() -> None:
    """The same cohort, but the server may take three clients back to the state Masked."""
    cohort = opened()
    facts = Facts.of(reach(cohort, Masking))
    reach(cohort, Checking)
    masked = {u: state_of(cohort, u, Masked) for u in THE_OTHERS}
    session, loot = facts.attempt.session, Loot(cohort.policy.threshold)

    def answers(u3: tuple[int, ...]) -> None:
        signatures = []
        for u in THE_OTHERS:
            cohort.sessions[u] = ClientSession(masked[u])
            (signed,) = delivered(cohort, u, SurvivorSet(session, u3))
            signatures.append((u, signed.signature))
        shown = SurvivorSignatures(session, tuple(Signed(u, s) for u, s in signatures))
        for u in THE_OTHERS:
            (answer,) = delivered(cohort, u, shown)
            loot.take_answer(u, answer)

    answers(EVERYBODY)
    assert opened_sum(cohort, facts, [VICTIM], loot.seeds(), loot.privates()) is None
    answers(THE_OTHERS)
    read = opened_sum(cohort, facts, [VICTIM], loot.seeds(), loot.privates())
    assert read is not None
    assert np.array_equal(read, cohort.vectors[VICTIM])
