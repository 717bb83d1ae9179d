"""A published sum in several chunks."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from party.intake import SumIntake
from secagg.errors import PeerViolation
from secagg.policy import Policy, VectorSpec
from secagg.rounds.r5_certification import SumReceived
from secagg.simulate import default_policy
from secagg.vector.aggregate import packed_chunks
from secagg.vector.stream import CHUNK
from secagg.wire.messages import PublishedSum, SumAnnouncement, VectorChunk

SESSION = b"s" * 32
PUBLISHED = PublishedSum(
    policy_digest=bytes(32),
    round=1,
    attempt=1,
    base_model_hash=bytes(32),
    server_nonce=bytes(32),
    u2_hash=bytes(32),
    u3=(1, 2, 3),
    sum_digest=bytes(32),
    survivor_signatures=(),
    server_signature=bytes(64),
)


def policy(dimension: int) -> Policy:
    small = default_policy([np.array([100])] * 3, integral=True)
    return msgspec.structs.replace(small, vector=VectorSpec(dimension=dimension, max_value=100))


@settings(max_examples=5)
@given(st.sampled_from([1, CHUNK, CHUNK + 1, 2 * CHUNK + 77]), st.integers(0, 2**32))
def test_a_sum_is_whole_after_its_last_chunk(dimension: int, seed: int) -> None:
    pinned = policy(dimension)
    total = np.arange(seed, seed + dimension, dtype=np.int64) % 601 - 300
    intake = SumIntake(pinned, SumAnnouncement(SESSION, PUBLISHED))
    chunks = [VectorChunk(SESSION, *chunk) for chunk in packed_chunks(total, pinned.ring)]
    for chunk in chunks[:-1]:
        assert intake.receive(chunk) is None
    received = intake.receive(chunks[-1])
    assert isinstance(received, SumReceived)
    assert (received.total == total).all()
    with pytest.raises(PeerViolation, match="CHK-603"):
        intake.receive(chunks[-1])


def test_a_chunk_left_out_or_of_another_session_is_refused() -> None:
    pinned = policy(2 * CHUNK)
    total = np.zeros(2 * CHUNK, np.int64)
    intake = SumIntake(pinned, SumAnnouncement(SESSION, PUBLISHED))
    _, second = packed_chunks(total, pinned.ring)
    with pytest.raises(PeerViolation, match="CHK-603"):
        intake.receive(VectorChunk(SESSION, *second))
    with pytest.raises(PeerViolation, match="CHK-602"):
        intake.receive(VectorChunk(bytes(32), *second))
