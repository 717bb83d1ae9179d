"""Attack 8: hospitals are handed different base models (Pasquini et al., CCS 2022).

A server that gives its victim a model of its own can tell the victim's update in the sum. Here the
model's hash is in the session, so hospitals with different models are in different sessions.
"""

from __future__ import annotations

import numpy as np
import pytest

from secagg.checks import Check
from secagg.context import Attempt
from secagg.crypto.hashing import Label, digest
from secagg.crypto.keys import KeyPair
from secagg.crypto.randomness import SeededRandomness
from secagg.rounds.journal import Standing
from secagg.rounds.r0_advertise_keys import Advertising, advertise_keys, channel_tree
from secagg.rounds.r1_share_keys import Sharing
from secagg.rounds.r2_masked_input import pairwise_seed
from secagg.rounds.r5_certification import Certifying
from secagg.rounds.session import ClientSession
from secagg.simulate import Cohort
from secagg.wire.messages import AdvertiseKeys, Announcement
from tests.cohorts import (
    changed,
    delivered,
    message_for,
    opened,
    plain_sum,
    reach,
    refused,
    replaced,
    step,
)

VICTIM = 4
TRAPPED = digest(Label.MODEL, b"a model made for the victim")


def announced_to_victim(cohort: Cohort) -> Announcement:
    """The attempt that is open, announced for another model; the server signs whatever it likes."""
    opened_attempt = cohort.server.state.attempt
    attempt = Attempt(
        cohort.policy.digest(),
        opened_attempt.round,
        opened_attempt.attempt,
        TRAPPED,
        opened_attempt.server_nonce,
    )
    return Announcement(
        policy_digest=attempt.policy_digest,
        round=attempt.round,
        attempt=attempt.attempt,
        base_model_hash=TRAPPED,
        server_nonce=attempt.server_nonce,
        signature=cohort.identity.sign(*attempt.statement()),
    )


def entered_by_victim(cohort: Cohort) -> AdvertiseKeys:
    """The victim holds the trapped model, and enters what was announced to it."""
    entered = advertise_keys(
        cohort.hospitals[VICTIM],
        announced_to_victim(cohort),
        standing=Standing(),
        base_model_hash=TRAPPED,
        batch_round=1,
        vector=cohort.vectors[VICTIM],
        randomness=cohort.randomness[VICTIM],
    )
    cohort.sessions[VICTIM] = ClientSession(entered.state)
    (message,) = entered.state.outbound
    assert isinstance(message, AdvertiseKeys)
    return message


def test_a_model_that_this_hospital_does_not_hold_is_refused() -> None:
    cohort = opened()
    with refused(Check.BASE_MODEL_HELD):
        delivered(cohort, VICTIM, announced_to_victim(cohort))


def test_a_victim_with_a_model_of_its_own_is_in_a_session_of_its_own() -> None:
    cohort = opened()
    session = reach(cohort, Advertising).attempt.session
    message = entered_by_victim(cohort)
    assert message.session != session
    with refused(Check.SESSION_MATCHES, "hospital-4"):
        cohort.collect(VICTIM, message)
    with refused(Check.ADVERTISEMENT_CURRENT, "hospital-4"):
        cohort.collect(VICTIM, changed(message, session=session))


def test_its_keys_are_refused_by_the_hospitals_with_the_common_model() -> None:
    cohort = opened()
    reach(cohort, Sharing)
    roster, message = message_for(cohort, 1), entered_by_victim(cohort)
    entry = changed(
        roster.advertised[VICTIM - 1],
        advertisement=message.advertisement,
        channel_key=message.channel_keys[0],
        path=tuple(channel_tree(message.channel_keys).path(0)),
    )
    with refused(Check.ADVERTISEMENTS_SIGNED):
        advertised = replaced(roster.advertised, VICTIM - 1, entry)
        delivered(cohort, 1, changed(roster, advertised=advertised))


def test_masks_made_in_two_contexts_do_not_cancel() -> None:
    """Below the signatures, too: both ends of a pair derive the seed from the hash of U2."""
    one, two = (KeyPair.generate(SeededRandomness(name)) for name in (b"1", b"2"))
    ours, theirs = digest(Label.U2, b"common model"), digest(Label.U2, TRAPPED)
    seed = pairwise_seed(one.private, two.public, ours, 1, 2)
    assert seed == pairwise_seed(two.private, one.public, ours, 2, 1)
    assert seed != pairwise_seed(two.private, one.public, theirs, 2, 1)


def test_if_the_session_left_the_model_out_the_trap_would_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Same session whatever the model: the sum comes out, the victim's doctored update in it."""

    def without_model(self: Attempt) -> bytes:
        return digest(Label.SESSION, self.policy_digest, self.server_nonce)

    monkeypatch.setattr(Attempt, "session", property(without_model))
    cohort = opened()
    step(cohort, [1, 2, 3])
    message = entered_by_victim(cohort)
    cohort.collect(VICTIM, changed(message, base_model_hash=cohort.base_model_hash))
    reach(cohort, Certifying)
    assert cohort.total is not None
    assert np.array_equal(cohort.total, plain_sum(cohort, cohort.policy.members))
