"""Attack 5: replay of a round, a restart in its middle, a second masked input under one key."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from secagg import context
from secagg.checks import Check
from secagg.crypto.hashing import Label
from secagg.crypto.keys import KeyPair
from secagg.crypto.secret import Secret
from secagg.rounds.journal import Standing, SurvivorSigned
from secagg.rounds.r0_advertise_keys import Advertising
from secagg.rounds.r1_share_keys import Shared, Sharing
from secagg.rounds.r2_masked_input import Masked, MaskedInputReceived, Masking, mask_input
from secagg.rounds.r3_consistency_check import Checking
from secagg.rounds.r4_unmasking import Unmasking
from secagg.rounds.r5_certification import Certifying, SumReceived, check_published, sign_sum
from secagg.simulate import Cohort
from secagg.vector.aggregate import vector_digest
from secagg.vector.packing import unpack
from secagg.wire.messages import (
    AdvertiseKeys,
    MaskedInputSignature,
    PublishedSum,
    SumAnnouncement,
    VectorChunk,
)
from tests.cohorts import (
    Vector,
    changed,
    delivered,
    message_for,
    opened,
    reach,
    refused,
    state_of,
    step,
    vectors,
    without,
)

# --- the whole round, or a message of it ---------------------------------------------------------


def test_an_announcement_is_entered_once() -> None:
    cohort = opened()
    announcement = message_for(cohort, 1)
    delivered(cohort, 1, announcement)
    with refused(Check.ATTEMPT_INCREASES):
        delivered(cohort, 1, announcement)


def test_an_earlier_attempt_is_not_entered_after_a_later_one() -> None:
    cohort = opened()
    earlier = message_for(cohort, 1)
    cohort.open(vectors(cohort.policy), 1, 2)
    delivered(cohort, 1, message_for(cohort, 1))
    with refused(Check.ATTEMPT_INCREASES):
        delivered(cohort, 1, earlier)


def test_without_that_check_one_session_has_two_sets_of_keys() -> None:
    cohort = opened()
    announcement = message_for(cohort, 1)
    (first,) = delivered(cohort, 1, announcement)
    with without(Check.ATTEMPT_INCREASES):
        (second,) = delivered(cohort, 1, announcement)
    assert isinstance(first, AdvertiseKeys)
    assert isinstance(second, AdvertiseKeys)
    assert first.session == second.session
    assert first.advertisement.mask_key != second.advertisement.mask_key


@pytest.mark.parametrize("stage", [Sharing, Masking, Checking, Unmasking])
def test_a_message_of_the_last_attempt_is_refused_in_this_one(stage: type) -> None:
    cohort = opened()
    reach(cohort, stage)
    old = message_for(cohort, 1)
    cohort.open(vectors(cohort.policy), 1, 2)
    reach(cohort, stage)
    with refused(Check.SESSION_MATCHES):
        delivered(cohort, 1, old)


def test_survivor_signatures_of_the_last_attempt_are_no_quorum_in_this_one() -> None:
    cohort = opened()
    reach(cohort, Unmasking)
    old = message_for(cohort, 1)
    cohort.open(vectors(cohort.policy), 1, 2)
    session = reach(cohort, Unmasking).attempt.session
    with refused(Check.SURVIVORS_VALID):
        delivered(cohort, 1, changed(old, session=session))


def test_a_hospitals_messages_of_the_last_attempt_are_refused_by_the_server() -> None:
    cohort = opened()
    (old,) = delivered(cohort, 1, message_for(cohort, 1))
    cohort.open(vectors(cohort.policy), 1, 2)
    session = reach(cohort, Advertising).attempt.session
    with refused(Check.ADVERTISEMENT_CURRENT, "hospital-1"):
        cohort.collect(1, changed(old, session=session))
    with refused(Check.ADVERTISEMENT_VALID, "hospital-1"):
        cohort.collect(1, changed(old, session=session, attempt=2))


# --- restart -------------------------------------------------------------------------------------


def test_a_client_that_restarts_before_its_survivor_signature_is_out_of_the_attempt() -> None:
    """Its journal knows the attempt and has no state of it, so no second key can come into it."""
    cohort = opened()
    announcement = message_for(cohort, 1)
    reach(cohort, Masking)
    step(cohort, [1])
    del cohort.sessions[1]
    assert not any(isinstance(entry, SurvivorSigned) for entry in cohort.journals[1])
    with refused(Check.ATTEMPT_INCREASES):
        delivered(cohort, 1, announcement)


def test_a_state_once_left_cannot_mask_again() -> None:
    cohort = opened()
    reach(cohort, Masking)
    shared, delivery = state_of(cohort, 1, Shared), message_for(cohort, 1)
    delivered(cohort, 1, delivery)
    with pytest.raises(ValueError, match="wiped"):
        mask_input(shared, delivery, cohort.randomness[1])


def test_the_masked_input_is_the_same_bytes_however_often_it_is_sent() -> None:
    cohort = opened()
    reach(cohort, Masking)
    first = delivered(cohort, 1, message_for(cohort, 1))
    assert list(state_of(cohort, 1, Masked).outbound) == first
    assert isinstance(first[0], VectorChunk)
    with refused(Check.EXPECTED_MESSAGE):
        delivered(cohort, 1, message_for(cohort, 1))


def test_if_a_state_could_be_used_twice_two_masked_inputs_would_share_their_masks() -> None:
    """What the wiped secrets prevent: same keys, same U2, another vector, and the difference of
    the two masked inputs is the difference of the vectors.
    """
    cohort = opened()
    reach(cohort, Masking)
    shared, delivery = state_of(cohort, 1, Shared), message_for(cohort, 1)
    ring = cohort.policy.ring
    inputs = []
    for vector in (shared.vector, shared.vector + 7):
        chunk, _ = mask_input(again(shared, vector), delivery, cohort.randomness[1]).state.outbound
        assert isinstance(chunk, VectorChunk)
        inputs.append(unpack(chunk.data, ring.bits, vector.size))
    difference = inputs[1] - inputs[0]
    ring.reduce(difference)
    assert np.array_equal(ring.decode(difference), np.full(cohort.policy.vector.dimension, 7))


def again(shared: Shared, vector: Vector) -> Shared:
    """The state with its own copies of the secrets, which masking wipes."""
    return replace(
        shared,
        vector=vector,
        seed=Secret(shared.seed.reveal()),
        mask=KeyPair.from_private(Secret(shared.mask.private.reveal())),
        channel_seed=Secret(shared.channel_seed.reveal()),
    )


def test_one_masked_input_per_session_for_the_server_too() -> None:
    cohort = opened()
    state = reach(cohort, Masking)
    step(cohort, [1])
    session, other = state.attempt.session, bytes(32)
    statement = context.masked_input(state.u2_hash, 1, other)
    signature = cohort.hospitals[1].identity.sign(*statement)
    event = MaskedInputReceived(session, other, MaskedInputSignature(session, other, signature))
    with refused(Check.MASKED_INPUT_ONCE, "hospital-1"):
        cohort.server.handle(1, event)


def test_a_masked_input_of_another_session_does_not_count() -> None:
    cohort = opened()
    reach(cohort, Masking)
    old = delivered(cohort, 1, message_for(cohort, 1))
    cohort.open(vectors(cohort.policy), 1, 2)
    session = reach(cohort, Masking).attempt.session
    with refused(Check.MASKED_INPUT_SIGNED, "hospital-1"):
        for message in old:
            cohort.collect(1, changed(message, session=session))


# --- an old cohort for a new sum -----------------------------------------------------------------


def published_with_old_signatures(cohort: Cohort) -> PublishedSum:
    """Round 1's survivors, and their signatures, under a sum that is said to be round 2's."""
    old = reach(cohort, Certifying).published
    total = np.zeros(cohort.policy.vector.dimension, np.int64)
    digest = vector_digest(Label.SUM, total, cohort.policy.ring)
    unsigned = changed(old, round=2, sum_digest=digest, server_signature=bytes(64))
    signature = cohort.identity.sign(*context.published_sum(unsigned))
    return changed(unsigned, server_signature=signature)


def test_survivors_of_one_round_do_not_vouch_for_the_sum_of_another() -> None:
    cohort = opened()
    published = published_with_old_signatures(cohort)
    with refused(Check.SUM_QUORUM):
        check_published(cohort.policy, published)


def test_without_that_check_a_round_that_never_was_gets_a_model() -> None:
    cohort = opened()
    published = published_with_old_signatures(cohort)
    session = context.attempt_of(published).session
    total = np.zeros(cohort.policy.vector.dimension, np.int64)
    with without(Check.SURVIVORS_VALID):
        signed = sign_sum(
            cohort.hospitals[1],
            SumReceived(SumAnnouncement(session, published), total),
            standing=Standing(entered=(1, 1)),
            base_model_hash=cohort.base_model_hash,
            next_model_hash=cohort.next_model_hash,
        )
    assert signed.state.published.round == 2
