"""Attack 2: two survivor sets, in one attempt or in two, whose sums differ by a victim's vector."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from secagg.checks import Check
from secagg.crypto.secret import Secret
from secagg.errors import PeerViolation
from secagg.policy import NoiseSpec
from secagg.privacy.accounting import RHO_UNIT
from secagg.rounds.journal import Abandoned, AnswerReleased
from secagg.rounds.r1_share_keys import Shared
from secagg.rounds.r2_masked_input import Masking
from secagg.rounds.r3_consistency_check import Checking
from secagg.rounds.r4_unmasking import Unmasking
from secagg.rounds.r5_certification import Certifying, sign_abandonment
from secagg.simulate import Cohort
from secagg.wire.messages import (
    AbandonmentRequest,
    Signed,
    SurvivorSet,
    SurvivorSignatures,
)
from tests.cohorts import (
    Facts,
    Loot,
    colluding,
    delivered,
    message_for,
    opened,
    opened_sum,
    plain_sum,
    reach,
    refused,
    state_of,
    step,
    template,
    vectors,
    without,
)

# --- in one attempt ------------------------------------------------------------------------------

COLLUDER = 1
VIEWS: Mapping[int, tuple[int, ...]] = {
    2: (1, 2, 3, 6),
    3: (1, 2, 3, 4),
    4: (1, 2, 3, 4),
    5: (1, 2, 3, 5),
    6: (1, 2, 3, 6),
}
"""Each honest hospital is shown a U3 of four with itself in it, so that each of 4, 5 and 6 seems
dropped to three honest ones: with the colluder's, t shares of their mask keys. What is left is the
sum of 2 and 3, where the policy promises three honest vectors in every sum."""


def split(cohort: Cohort) -> tuple[Facts, Secret, list[Signed]]:
    """Show every honest hospital its own U3; what they signed, and the colluder's mask key."""
    reach(cohort, Masking)
    own_key = Secret(state_of(cohort, COLLUDER, Shared).mask.private.reveal())
    state = cohort.server.state
    assert isinstance(state, Masking)
    facts = Facts.of(state)
    reach(cohort, Checking)
    session = facts.attempt.session
    signatures = [
        Signed(u, delivered(cohort, u, SurvivorSet(session, u3))[0].signature)
        for u, u3 in VIEWS.items()
    ]
    return facts, own_key, signatures


@pytest.fixture
def six() -> Cohort:
    """n = 6, c = 1, so t = 4, and d = 2."""
    return opened(template(6, corrupt=1))


def test_signatures_on_another_survivor_set_are_no_quorum(six: Cohort) -> None:
    facts, _, signatures = split(six)
    for u, u3 in VIEWS.items():
        shown = tuple(s for s in signatures if s.u in u3)
        with refused(Check.SURVIVORS_VALID):
            delivered(six, u, SurvivorSignatures(facts.attempt.session, shown))
        assert AnswerReleased(facts.attempt) not in six.journals[u]


def test_the_signatures_on_the_same_survivor_set_are_too_few(six: Cohort) -> None:
    facts, _, signatures = split(six)
    shown = tuple(s for s in signatures if VIEWS[s.u] == VIEWS[3])
    assert len(shown) < six.policy.threshold
    with refused(Check.SURVIVORS_QUORUM):
        delivered(six, 3, SurvivorSignatures(facts.attempt.session, shown))


def test_without_the_quorum_the_server_reads_a_sum_of_two(six: Cohort) -> None:
    facts, own_key, signatures = split(six)
    loot = Loot(six.policy.threshold)
    colluding(six, COLLUDER, loot)
    assert opened_sum(six, facts, [2, 3], loot.seeds(), {COLLUDER: own_key}) is None
    with without(Check.SURVIVORS_QUORUM):
        for u in VIEWS:
            own = tuple(s for s in signatures if s.u == u)
            (answer,) = delivered(six, u, SurvivorSignatures(facts.attempt.session, own))
            loot.take_answer(u, answer)
    read = opened_sum(six, facts, [2, 3], loot.seeds(), loot.privates() | {COLLUDER: own_key})
    assert read is not None
    assert np.array_equal(read, plain_sum(six, [2, 3]))
    assert len([2, 3]) < six.policy.min_survivors - six.policy.corrupt


# --- in two attempts of one round ----------------------------------------------------------------

VICTIM = 4
FIRST, SECOND = (1, 2, 3, 4), (1, 2, 3)


def released(noise: NoiseSpec | None = None) -> Cohort:
    """Everybody has answered attempt 1 of round 1; the server keeps the sum to itself."""
    cohort = opened(template(4, noise=noise))
    reach(cohort, Certifying)
    assert all(cohort.standings[u].answered == 1 for u in FIRST)
    return cohort


def second_sum(cohort: Cohort, round_number: int, attempt: int) -> None:
    """Run a further attempt without the victim."""
    cohort.open(vectors(cohort.policy), round_number, attempt)
    reach(cohort, Certifying, SECOND)


@pytest.mark.parametrize(("round_number", "attempt"), [(1, 2), (2, 1)])
def test_whoever_answered_takes_part_in_nothing_until_the_round_has_ended(
    round_number: int, attempt: int
) -> None:
    cohort = released()
    cohort.open(vectors(cohort.policy), round_number, attempt)
    for u in cohort.policy.members:
        with refused(Check.ROUND_OPEN):
            delivered(cohort, u, message_for(cohort, u))


@pytest.mark.parametrize(("round_number", "attempt"), [(1, 2), (2, 1)])
def test_without_that_two_sums_differ_by_the_victim(round_number: int, attempt: int) -> None:
    cohort = released()
    first = cohort.total
    with without(Check.ROUND_OPEN):
        second_sum(cohort, round_number, attempt)
    assert first is not None
    assert cohort.total is not None
    assert np.array_equal(first - cohort.total, cohort.vectors[VICTIM])


def abandon(cohort: Cohort, u: int, number: int, newest_round: int = 2) -> None:
    """Ask hospital ``u`` to sign the abandonment of a round, as the node does."""
    entry = sign_abandonment(
        cohort.hospitals[u],
        AbandonmentRequest(number, cohort.base_model_hash, "stuck"),
        standing=cohort.standings[u],
        base_model_hash=cohort.base_model_hash,
        newest_round=newest_round,
    )
    cohort.standings[u] = cohort.standings[u].after(entry)


@pytest.mark.parametrize("number", [1, 2])
def test_a_bare_answer_is_not_abandoned_nor_is_a_later_round_over_it(number: int) -> None:
    cohort = released()
    for u in cohort.policy.members:
        with refused(Check.ABANDON_ALLOWED):
            abandon(cohort, u, number)


def test_without_that_the_later_abandonment_opens_the_way_to_the_difference() -> None:
    cohort = released()
    first = cohort.total
    with without(Check.ABANDON_ALLOWED):
        for u in SECOND:
            abandon(cohort, u, 2)
    for u in SECOND:
        cohort.standings[u] = cohort.standings[u].after(Abandoned(2))
    second_sum(cohort, 3, 1)
    assert first is not None
    assert cohort.total is not None
    assert np.array_equal(first - cohort.total, cohort.vectors[VICTIM])


def test_with_noise_an_answered_round_may_be_abandoned_but_not_through_a_later_one() -> None:
    cohort = released(NoiseSpec(mode="at_least", sensitivity=100, rho_units=int(1 / RHO_UNIT)))
    with refused(Check.ABANDON_ALLOWED):
        abandon(cohort, 1, 2)
    abandon(cohort, 1, 1)
    assert cohort.standings[1].abandoning == 1


def test_a_signed_abandonment_keeps_the_hospital_out_of_the_round() -> None:
    cohort = opened()
    reach(cohort, Unmasking)
    abandon(cohort, 1, 1)
    cohort.open(vectors(cohort.policy), 1, 2)
    with refused(Check.ROUND_OPEN):
        delivered(cohort, 1, message_for(cohort, 1))
    cohort.open(vectors(cohort.policy), 2, 1)
    delivered(cohort, 1, message_for(cohort, 1))


# --- an earlier attempt after a later one --------------------------------------------------------


def test_whoever_entered_a_later_attempt_answers_for_no_earlier_one() -> None:
    cohort = opened()
    unmasking = reach(cohort, Unmasking)
    question = message_for(cohort, 1)
    cohort.open(vectors(cohort.policy), 1, 2)
    step(cohort, [1])
    with pytest.raises(PeerViolation) as caught:
        delivered(cohort, 1, question)
    assert caught.value.check is Check.EXPECTED_MESSAGE
    assert AnswerReleased(unmasking.attempt) not in cohort.journals[1]
