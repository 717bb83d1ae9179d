"""Attack 9: a cohort of one, or below the floor. The difference of two is in test_02."""

from __future__ import annotations

import numpy as np
import pytest

from secagg import context
from secagg.checks import Check
from secagg.errors import DecodeError
from secagg.privacy.mechanism import Mechanism
from secagg.rounds.journal import Charged, SurvivorSigned
from secagg.rounds.machine import Aborted
from secagg.rounds.r1_share_keys import Sharing
from secagg.rounds.r2_masked_input import Masking
from secagg.rounds.r3_consistency_check import Checking
from secagg.rounds.r5_certification import Certifying, check_published
from secagg.wire.messages import Signed, SurvivorSet, SurvivorSignatures
from tests.cohorts import (
    Facts,
    Loot,
    changed,
    delivered,
    message_for,
    opened,
    opened_sum,
    plain_sum,
    reach,
    refused,
    replaced,
    step,
    template,
    without,
)

# --- what a client is shown ----------------------------------------------------------------------


def test_u1_below_the_floor_is_refused() -> None:
    cohort = opened()
    reach(cohort, Sharing)
    roster = message_for(cohort, 1)
    for few in (roster.advertised[:2], roster.advertised[:1]):
        with refused(Check.U1_LARGE_ENOUGH):
            delivered(cohort, 1, changed(roster, advertised=few))


def test_u2_below_the_floor_is_refused_before_anything_is_masked() -> None:
    cohort = opened()
    reach(cohort, Masking)
    delivery = message_for(cohort, 1)
    for few in (delivery.delivered[:2], delivery.delivered[:1]):
        with refused(Check.U2_LARGE_ENOUGH):
            delivered(cohort, 1, changed(delivery, delivered=few))
    assert not any(isinstance(entry, Charged) for entry in cohort.journals[1])


@pytest.mark.parametrize("u3", [(1,), (1, 2), ()])
def test_u3_below_the_floor_is_refused(u3: tuple[int, ...]) -> None:
    cohort = opened()
    session = reach(cohort, Checking).attempt.session
    with refused(Check.U3_LARGE_ENOUGH):
        delivered(cohort, 1, SurvivorSet(session, u3))
    assert not any(isinstance(entry, SurvivorSigned) for entry in cohort.journals[1])


def test_a_client_must_be_in_every_set_that_it_is_shown() -> None:
    cohort = opened()
    reach(cohort, Masking)
    delivery = message_for(cohort, 1)
    with refused(Check.SELF_IN_U2):
        delivered(cohort, 1, changed(delivery, delivered=delivery.delivered[1:]))
    session = reach(cohort, Checking).attempt.session
    with refused(Check.SELF_IN_U3):
        delivered(cohort, 1, SurvivorSet(session, (2, 3, 4)))


def test_my_dealing_must_be_in_u2_as_i_signed_it() -> None:
    cohort = opened()
    reach(cohort, Masking)
    delivery = message_for(cohort, 1)
    mine = delivery.delivered[0]
    other = changed(mine, dealing=changed(mine.dealing, seed_commitment=bytes(32)))
    with refused(Check.SELF_IN_U2):
        delivered(cohort, 1, changed(delivery, delivered=(other, *delivery.delivered[1:])))


def test_a_dealing_that_its_dealer_did_not_sign_is_refused() -> None:
    cohort = opened()
    reach(cohort, Masking)
    delivery = message_for(cohort, 1)
    two = delivery.delivered[1]
    forged = changed(two, dealing=changed(two.dealing, seed_commitment=bytes(32)))
    with refused(Check.DEALERS_SIGNED):
        delivered(cohort, 1, changed(delivery, delivered=replaced(delivery.delivered, 1, forged)))


@pytest.fixture
def no_floor_in_the_mechanism(monkeypatch: pytest.MonkeyPatch) -> None:
    """The noise mechanism knows the floor as well, and would refuse; here it does not."""
    monkeypatch.setattr(Mechanism, "surplus", lambda *_: range(0))


@pytest.mark.usefixtures("no_floor_in_the_mechanism")
def test_without_the_floor_the_server_reads_a_sum_that_the_policy_forbids() -> None:
    """A floor of six and a quorum of four: without the first, four hospitals' sum comes out."""
    cohort = opened(template(6, corrupt=1, dropouts=0, min_survivors=6))
    facts = Facts.of(reach(cohort, Masking))
    reach(cohort, Checking)
    session, few = facts.attempt.session, (1, 2, 3, 4)
    loot = Loot(cohort.policy.threshold)
    with without(Check.U3_LARGE_ENOUGH):
        signatures = tuple(
            Signed(u, delivered(cohort, u, SurvivorSet(session, few))[0].signature) for u in few
        )
    for u in few:
        (answer,) = delivered(cohort, u, SurvivorSignatures(session, signatures))
        loot.take_answer(u, answer)
    read = opened_sum(cohort, facts, few, loot.seeds(), loot.privates())
    assert read is not None
    assert np.array_equal(read, plain_sum(cohort, few))


@pytest.mark.usefixtures("no_floor_in_the_mechanism")
def test_without_floor_and_quorum_the_server_reads_one_hospital() -> None:
    """n = 5, c = 1: everybody is shown itself and the victim as the only survivors."""
    victim, others = 5, (1, 2, 3, 4)
    cohort = opened(template(5))
    facts = Facts.of(reach(cohort, Masking))
    reach(cohort, Checking)
    session, loot = facts.attempt.session, Loot(cohort.policy.threshold)
    cohort_of_two = {u: tuple(sorted({u, victim})) for u in (*others, victim)}
    with without(Check.U3_LARGE_ENOUGH, Check.SURVIVORS_QUORUM):
        for u, u3 in cohort_of_two.items():
            (signed,) = delivered(cohort, u, SurvivorSet(session, u3))
            alone = SurvivorSignatures(session, (Signed(u, signed.signature),))
            (answer,) = delivered(cohort, u, alone)
            loot.take_answer(u, answer)
    read = opened_sum(cohort, facts, [victim], loot.seeds(), loot.privates())
    assert read is not None
    assert np.array_equal(read, cohort.vectors[victim])


# --- what the honest server does -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (Sharing, "2 of at least 3 hospitals advertised keys"),
        (Masking, "2 of at least 3 hospitals shared keys"),
        (Checking, "2 of at least 3 hospitals sent masked inputs"),
    ],
)
def test_the_server_gives_up_below_the_floor_and_says_why(stage: type, words: str) -> None:
    cohort = opened()
    if stage is not Sharing:
        reach(cohort, {Masking: Sharing, Checking: Masking}[stage])
    step(cohort, [1, 2])
    recipients = cohort.server.close()
    state = cohort.server.state
    assert isinstance(state, Aborted)
    assert state.reason == words
    assert {1, 2} <= recipients
    assert cohort.server.over


def test_a_published_sum_of_too_few_is_refused() -> None:
    cohort = opened(template(4, dropouts=0, min_survivors=4))
    published = changed(reach(cohort, Certifying).published, u3=(1, 2, 3))
    signature = cohort.identity.sign(*context.published_sum(published))
    with refused(Check.SUM_COHORT):
        check_published(cohort.policy, changed(published, server_signature=signature))


@pytest.mark.parametrize("floor", [2, 3])
def test_no_policy_has_a_floor_that_lets_two_survivors_read_each_other(floor: int) -> None:
    with pytest.raises(DecodeError, match="min_survivors"):
        template(5, min_survivors=floor)
