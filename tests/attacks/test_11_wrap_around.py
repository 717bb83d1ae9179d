"""Attack 11: floating point, vectors out of bounds, and sums that wrap around the ring.

Sensitivity and the noise itself: tests/secagg/privacy.
"""

from __future__ import annotations

import numpy as np
import pytest

import secagg
from secagg import context
from secagg.checks import Check
from secagg.crypto.hashing import Label
from secagg.errors import DecodeError, LocalMisuse
from secagg.policy import NoiseSpec, checked
from secagg.privacy.accounting import RHO_UNIT
from secagg.rounds.journal import Standing
from secagg.rounds.machine import Aborted
from secagg.rounds.r2_masked_input import Masking
from secagg.rounds.r4_unmasking import Unmasking
from secagg.rounds.r5_certification import Certifying, SumReceived, sign_sum
from secagg.vector.aggregate import vector_digest
from secagg.vector.packing import pack, unpack
from secagg.wire.messages import MaskedInputSignature, SumAnnouncement, VectorChunk, Wire
from tests.cohorts import (
    changed,
    delivered,
    message_for,
    opened,
    reach,
    refused,
    step,
    template,
    vectors,
    without,
)

NOISE = NoiseSpec(mode="at_least", sensitivity=100, rho_units=int(1 / RHO_UNIT))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("n", [3, 4, 7, 12])
def test_a_sum_of_extremes_is_exact(n: int, sign: int) -> None:
    bound = sign * (2**61 // n)
    result = secagg.simulate([[bound]] * n, seed=1)
    assert result.sum is not None
    assert result.sum.tolist() == [n * bound]


@pytest.mark.parametrize("noise", [NoiseSpec(), NOISE])
def test_the_ring_has_room_for_every_sum_and_every_noise(noise: NoiseSpec) -> None:
    policy = template(4, noise=noise)
    assert policy.n * policy.max_coordinate < policy.ring.modulus // 2
    assert policy.ring.bits == 8 or policy.n * policy.max_coordinate >= policy.ring.modulus // 4
    assert (policy.max_coordinate > policy.vector.max_value) == (noise is NOISE)


def test_a_policy_whose_sums_could_wrap_is_refused() -> None:
    policy = template(4, max_value=2**61 - 1)
    with pytest.raises(DecodeError, match="64 bits"):
        checked(changed(policy, vector=changed(policy.vector, max_value=2**61)))


@pytest.mark.parametrize(
    ("vector", "words"),
    [
        (np.array([10_001, 0, 0]), "exceeds the policy's max_value 10000"),
        (np.array([0, 0, -10_001]), "exceeds the policy's max_value 10000"),
        (np.array([-(2**63), 0, 0]), "exceeds the policy's max_value 10000"),
        (np.array([1.0, 2.0, 3.0]), "must be int64"),
        (np.array([1, 2, 3], np.int32), "must be int64"),
        (np.array([1, 2]), "must be int64 of shape"),
        (np.array([[1, 2, 3]]), "must be int64 of shape"),
    ],
)
def test_a_client_masks_nothing_that_is_out_of_bounds(vector: np.ndarray, words: str) -> None:
    cohort = opened()
    cohort.vectors = {**vectors(cohort.policy), 1: vector}
    with pytest.raises(LocalMisuse, match=words):
        delivered(cohort, 1, message_for(cohort, 1))
    assert 1 not in cohort.journals


def test_a_hospital_that_masks_more_than_it_may_cannot_have_the_sum_believed() -> None:
    """Nobody can see what is under a mask; the bound on the sum is what is left to check."""
    cohort = opened()
    ring, dimension = cohort.policy.ring, cohort.policy.vector.dimension
    reach(cohort, Masking)

    def too_much(u: int, message: Wire) -> Wire:
        if u != 1 or not isinstance(message, VectorChunk):
            return message
        words = unpack(message.data, ring.bits, dimension)
        words += words.dtype.type(ring.modulus // 2)
        return changed(message, data=pack(ring.reduce(words), ring.bits))

    def resigned(u: int, message: Wire) -> Wire:
        if u != 1 or not isinstance(message, MaskedInputSignature):
            return too_much(u, message)
        state = cohort.server.state
        assert isinstance(state, Masking)
        digest = cohort.receivers[1].finish()
        statement = context.masked_input(state.u2_hash, 1, digest)
        signature = cohort.hospitals[1].identity.sign(*statement)
        return changed(message, masked_digest=digest, signature=signature)

    step(cohort, up=resigned)
    reach(cohort, Unmasking)
    step(cohort)
    state = cohort.server.state
    assert isinstance(state, Aborted)
    assert "exceeds what its hospitals can add up to" in state.reason
    assert cohort.total is None


def test_a_client_signs_no_sum_beyond_the_bound() -> None:
    cohort = opened()
    published = reach(cohort, Certifying).published
    total = np.full(3, 4 * cohort.policy.max_coordinate + 1)
    unsigned = changed(published, sum_digest=vector_digest(Label.SUM, total, cohort.policy.ring))
    signature = cohort.identity.sign(*context.published_sum(unsigned))
    announcement = SumAnnouncement(
        cohort.server.state.attempt.session, changed(unsigned, server_signature=signature)
    )

    def sign() -> None:
        sign_sum(
            cohort.hospitals[1],
            SumReceived(announcement, total),
            standing=Standing(),
            base_model_hash=cohort.base_model_hash,
            next_model_hash=cohort.next_model_hash,
        )

    with refused(Check.SUM_BOUNDED):
        sign()
    with without(Check.SUM_BOUNDED):
        sign()
