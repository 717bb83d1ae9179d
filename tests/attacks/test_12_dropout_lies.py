"""Attack 12: the server lies about who dropped, so that less noise stays in the sum.

Mode exact: the surplus that is disclosed is set by the signed U3. docs/privacy.md has the proof
that what stays is enough; here is what the lies that are left can achieve.
"""

from __future__ import annotations

import numpy as np
import pytest

from secagg import context
from secagg.checks import Check
from secagg.policy import NoiseSpec
from secagg.privacy.accounting import RHO_UNIT
from secagg.rounds.r1_share_keys import Shared
from secagg.rounds.r2_masked_input import Masked, Masking
from secagg.rounds.r3_consistency_check import Checking
from secagg.rounds.r4_unmasking import Unmasked, Unmasking, collect_answer, reconstruct
from secagg.simulate import Cohort
from secagg.wire.messages import Signed, SurvivorSet, SurvivorSignatures, UnmaskingAnswer
from tests.cohorts import (
    Facts,
    Loot,
    changed,
    delivered,
    message_for,
    opened,
    opened_sum,
    reach,
    refused,
    state_of,
    step,
    template,
)

EXACT = NoiseSpec(mode="exact", sensitivity=1000, rho_units=int(1 / RHO_UNIT))
GONE, HERE, EVERYBODY = 5, (1, 2, 3, 4), (1, 2, 3, 4, 5)


@pytest.fixture
def one_gone() -> Cohort:
    """n = 5, c = 1, t = 4: hospital 5 vanishes after it has shared its keys."""
    cohort = opened(template(5, noise=EXACT))
    reach(cohort, Masking)
    return cohort


def test_the_honest_survivor_set_keeps_the_noise_that_a_dropout_makes_necessary(
    one_gone: Cohort,
) -> None:
    unmasking = reach(one_gone, Unmasking, HERE)
    answers = [delivered(one_gone, u, message_for(one_gone, u))[0] for u in HERE]
    assert [len(answer.surplus_seeds) for answer in answers] == [0, 0, 0, 0]
    mechanism = one_gone.policy.mechanism
    assert mechanism.residual_variance(5, 4) == mechanism.hospital_variance(5)
    assert len(unmasking.dropped) == 1


def test_whoever_calls_the_dropped_a_survivor_cannot_unmask_the_rest(one_gone: Cohort) -> None:
    """The lie buys the surplus seeds and loses the sum: nobody opens the mask key of 5."""
    state = one_gone.server.state
    assert isinstance(state, Masking)
    facts, loot = Facts.of(state), Loot(one_gone.policy.threshold)
    session = facts.attempt.session
    step(one_gone, HERE)
    signatures = tuple(
        Signed(u, delivered(one_gone, u, SurvivorSet(session, EVERYBODY))[0].signature)
        for u in HERE
    )
    for u in HERE:
        (answer,) = delivered(one_gone, u, SurvivorSignatures(session, signatures))
        assert len(answer.surplus_seeds) == 1
        loot.take_answer(u, answer)
    assert loot.seeds().keys() == set(EVERYBODY)
    assert opened_sum(one_gone, facts, HERE, loot.seeds(), loot.privates()) is None
    # With the key that it never gets, it would have had the sum, and less noise in it.
    key = state_of(one_gone, GONE, Shared).mask.private
    assert opened_sum(one_gone, facts, HERE, loot.seeds(), {GONE: key}) is not None


def test_the_surplus_of_one_survivor_set_is_not_had_for_another(one_gone: Cohort) -> None:
    session = reach(one_gone, Checking, HERE).attempt.session
    delivered(one_gone, 1, SurvivorSet(session, HERE))
    with refused(Check.EXPECTED_MESSAGE):
        delivered(one_gone, 1, SurvivorSet(session, EVERYBODY))


def test_each_client_counts_the_dropouts_itself() -> None:
    """From the U2 that it masked under and the U3 that it signed; nothing else is on the wire."""
    cohort = opened(template(5, noise=EXACT))
    reach(cohort, Checking)
    masked = state_of(cohort, 1, Masked)
    seeds = cohort.policy.mechanism.surplus_seeds(masked.noise_seed.reveal(), 5, 5)
    reach(cohort, Unmasking)
    (answer,) = delivered(cohort, 1, message_for(cohort, 1))
    assert answer.surplus_seeds == seeds
    assert len(seeds) == 1


def answered(cohort: Cohort, u: int, seeds: tuple[bytes, ...]) -> UnmaskingAnswer:
    """A hospital's answer with other surplus seeds in it, properly signed."""
    state = reach(cohort, Unmasking)
    (answer,) = delivered(cohort, u, message_for(cohort, u))
    assert isinstance(answer, UnmaskingAnswer)
    false = changed(answer, surplus_seeds=seeds)
    statement = context.answer(state.u2_hash, state.u3, u, false)
    return changed(false, signature=cohort.hospitals[u].identity.sign(*statement))


@pytest.mark.parametrize("seeds", [(), (bytes(32), bytes(32))])
def test_a_hospital_discloses_exactly_its_surplus(seeds: tuple[bytes, ...]) -> None:
    cohort = opened(template(5, noise=EXACT))
    with refused(Check.ANSWER_EXACT, "hospital-1"):
        cohort.collect(1, answered(cohort, 1, seeds))


def test_a_false_surplus_seed_spoils_the_sum_by_no_more_than_the_noise() -> None:
    """A corrupt hospital may spoil a sum: here by what its noise could have done anyway."""
    cohort = opened(template(5, noise=EXACT))
    false = answered(cohort, 1, (bytes(32),))
    cohort.collect(1, false)
    step(cohort, (2, 3, 4, 5))
    assert cohort.total is not None
    error = np.abs(cohort.total - sum(cohort.vectors.values()))
    assert error.max() <= 5 * cohort.policy.mechanism.tail() + cohort.policy.mechanism.tail()


def test_whoever_does_not_answer_leaves_its_surplus_in() -> None:
    """More noise, never less: the server subtracts only what was disclosed."""
    cohort = opened(template(5, noise=EXACT))
    state = reach(cohort, Unmasking)
    for u in HERE:
        (answer,) = delivered(cohort, u, message_for(cohort, u))
        state = collect_answer(state, u, answer)
    unmasked = reconstruct(state).state
    assert isinstance(unmasked, Unmasked)
    assert unmasked.answered.answers.keys() == set(HERE)
