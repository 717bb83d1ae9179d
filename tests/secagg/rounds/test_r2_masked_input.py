"""Round 2: what is masked, with what, and how it is sent. Complaints: tests/attacks/test_13."""

from __future__ import annotations

import numpy as np
import pytest

from secagg import context
from secagg.checks import Check
from secagg.crypto.hashing import Label, digest
from secagg.crypto.keys import KeyPair
from secagg.crypto.prg import Keystream
from secagg.crypto.randomness import SeededRandomness
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import verify
from secagg.graph import mask_sign
from secagg.policy import NoiseSpec
from secagg.privacy.accounting import RHO_UNIT
from secagg.rounds.journal import Charged
from secagg.rounds.r1_share_keys import Shared
from secagg.rounds.r2_masked_input import (
    Masked,
    MaskedInput,
    Masking,
    pairwise_seed,
    self_mask_seed,
)
from secagg.rounds.r3_consistency_check import Checking
from secagg.simulate import Cohort
from secagg.vector.stream import CHUNK
from secagg.wire.messages import MaskedInputSignature, VectorChunk, Wire
from tests.cohorts import (
    Vector,
    delivered,
    masked_words,
    message_for,
    opened,
    reach,
    refused,
    state_of,
    step,
    template,
)

NOISE = NoiseSpec(mode="at_least", sensitivity=100, rho_units=int(1 / RHO_UNIT))


def keystream(seed: Secret, cohort: Cohort) -> Vector:
    """PRG(seed) as integers below R, as the paper has it, independent of vector.masking."""
    ring, size = cohort.policy.ring, cohort.policy.vector.dimension
    buffer = bytearray(size * ring.word_bytes)
    Keystream(seed, 0).read_into(memoryview(buffer))
    words = np.frombuffer(buffer, ring.dtype).astype(object)
    return words % ring.modulus


@pytest.mark.parametrize("noise", [NoiseSpec(), NOISE])
def test_a_masked_input_is_the_papers_sum(noise: NoiseSpec) -> None:
    """y_u = x_u + noise + PRG(b_u) + sum over v < u of PRG(s_uv) - sum over v > u, modulo R."""
    cohort = opened(template(5, noise=noise))
    state = reach(cohort, Masking)
    shared = state_of(cohort, 3, Shared)
    seed, private = Secret(shared.seed.reveal()), Secret(shared.mask.private.reveal())
    step(cohort, [3])
    expected = cohort.vectors[3].astype(object) + keystream(
        self_mask_seed(seed, state.u2_hash, 3), cohort
    )
    for v in (1, 2, 4, 5):
        public = state.keys[v].advertisement.mask_key
        pairwise = keystream(pairwise_seed(private, public, state.u2_hash, 3, v), cohort)
        expected = expected + (pairwise if v < 3 else -pairwise)
    mechanism, masked = cohort.policy.mechanism, state_of(cohort, 3, Masked)
    expected = expected + mechanism.noise(masked.noise_seed.reveal(), 3, 5)
    assert masked_words(cohort, 3).tolist() == (expected % cohort.policy.ring.modulus).tolist()


def test_the_two_ends_of_a_pair_have_the_same_seed_and_opposite_signs() -> None:
    one, two = (KeyPair.generate(SeededRandomness(name)) for name in (b"1", b"2"))
    u2 = bytes(32)
    assert pairwise_seed(one.private, two.public, u2, 1, 2) == pairwise_seed(
        two.private, one.public, u2, 2, 1
    )
    assert mask_sign(1, 2) == -mask_sign(2, 1)


def test_only_those_in_u2_are_masked_with() -> None:
    """Client 4 has advertised and not dealt: nobody could remove its pairwise mask."""
    cohort = opened(template(5))
    step(cohort)
    reach(cohort, Masking, (1, 2, 3, 5))
    step(cohort, [1])
    masked = state_of(cohort, 1, Masked)
    assert list(masked.held) == [1, 2, 3, 5]
    assert isinstance(masked.outbound, MaskedInput)
    assert len(masked.outbound.masks) == 4  # its own, and three pairwise ones


def test_it_is_charged_before_its_first_byte() -> None:
    cohort = opened()
    state = reach(cohort, Masking)
    sent = cohort.deliver(1, message_for(cohort, 1))
    assert isinstance(next(iter(sent)), VectorChunk)
    assert cohort.journals[1][-1] == Charged(state.attempt, state.u2_hash)
    assert cohort.standings[1].charged == 1


@pytest.mark.parametrize("dimension", [1, 3, CHUNK, CHUNK + 1, 2 * CHUNK + 9])
def test_it_is_sent_in_chunks_and_signed_over_all_of_them(dimension: int) -> None:
    cohort = opened(template(4, dimension=dimension, max_value=2**20))
    state = reach(cohort, Masking)
    *chunks, signature = delivered(cohort, 1, message_for(cohort, 1))
    assert [chunk.start for chunk in chunks] == list(range(0, dimension, CHUNK))
    assert isinstance(signature, MaskedInputSignature)
    packed = b"".join(chunk.data for chunk in chunks)
    assert signature.masked_digest == digest(Label.MASKED_INPUT, packed)
    statement = context.masked_input(state.u2_hash, 1, signature.masked_digest)
    assert verify(cohort.policy.identity_key(1), signature.signature, *statement)


def test_what_has_done_its_work_is_wiped() -> None:
    cohort = opened()
    reach(cohort, Masking)
    shared = state_of(cohort, 1, Shared)
    step(cohort, [1])
    for secret in (shared.seed, shared.mask.private, shared.channel_seed):
        assert len(secret) == 0


def test_no_secret_of_a_state_is_in_its_repr() -> None:
    cohort = opened()
    reach(cohort, Masking)
    shared = state_of(cohort, 1, Shared)
    secrets = [shared.seed, shared.mask.private, shared.channel_seed]
    secrets += [Secret(shared.own.self_mask.share), Secret(shared.own.mask_key.share)]
    values = [secret.reveal() for secret in secrets]
    step(cohort, [1])
    masked = state_of(cohort, 1, Masked)
    values += [masked.noise_seed.reveal(), masked.held[2].self_mask.share]
    for text in (repr(shared), repr(masked), str(cohort.sessions[1])):
        assert all(repr(value)[2:-1] not in text and value.hex() not in text for value in values)
        assert repr(cohort.vectors[1]) not in text


def test_nobody_outside_u2_sends_a_masked_input() -> None:
    cohort = opened()
    step(cohort)
    reach(cohort, Masking, (1, 2, 3))
    for message in delivered(cohort, 1, message_for(cohort, 1))[:-1]:
        cohort.collect(4, message)
    signature = list(state_of(cohort, 1, Masked).outbound)[-1]
    with refused(Check.EXPECTED_MESSAGE, "hospital-4"):
        cohort.collect(4, signature)


def test_the_same_masked_input_again_changes_nothing() -> None:
    """A party that reconnects repeats itself; what was received stands."""
    cohort = opened()
    reach(cohort, Masking)
    step(cohort, [1])
    state = reach(cohort, Masking)
    (signature,) = [m for m in state_of(cohort, 1, Masked).outbound if not is_chunk(m)]
    cohort.collect(1, signature)
    assert cohort.server.state is state
    assert state.outbound(1) == ()


def is_chunk(message: Wire) -> bool:
    return isinstance(message, VectorChunk)


def test_the_round_ends_when_everybody_has_sent_or_its_time_is_over() -> None:
    cohort = opened()
    reach(cohort, Masking)
    step(cohort, [4, 1, 2])
    assert cohort.server.close() == {1, 2, 4}
    assert reach(cohort, Checking).u3 == (1, 2, 4)
