"""Masked inputs on disk: in order, once, and gone when they should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from secagg.checks import Check
from secagg.crypto.hashing import Digest, Label
from secagg.errors import PeerViolation
from secagg.policy import Policy, VectorSpec
from secagg.vector.packing import pack, packed_size
from secagg.vector.stream import CHUNK, slices
from secagg.wire.messages import VectorChunk
from server.spool import Spool
from tests.cohorts import template

DIMENSION = CHUNK + 11
SESSION = bytes(32)


@pytest.fixture
def policy() -> Policy:
    made: Policy = template(dimension=DIMENSION)
    assert made.vector == VectorSpec(DIMENSION, 10_000)
    return made


@pytest.fixture
def spool(tmp_path: Path, policy: Policy) -> Spool:
    return Spool(tmp_path / "spool", policy)


def words_of(policy: Policy, u: int) -> NDArray[np.unsignedinteger]:
    values = (np.arange(DIMENSION, dtype=np.int64) * u) % policy.ring.modulus
    return values.astype(policy.ring.dtype)


def chunks_of(policy: Policy, u: int) -> list[VectorChunk]:
    words = words_of(policy, u)
    return [
        VectorChunk(SESSION, where.start, pack(words[where], policy.ring.bits))
        for where in slices(DIMENSION)
    ]


def test_what_was_received_is_read_back(spool: Spool, policy: Policy) -> None:
    for first, second in zip(chunks_of(policy, 3), chunks_of(policy, 4), strict=True):
        spool.receive(3, first)
        spool.receive(4, second)
    for u in (3, 4):
        read = np.concatenate([words for _, words in spool.chunks(u)])
        assert (read == words_of(policy, u)).all()
        assert [start for start, _ in spool.chunks(u)] == [0, CHUNK]


def test_the_digest_is_that_of_all_bytes(spool: Spool, policy: Policy) -> None:
    expected = Digest(Label.MASKED_INPUT, packed_size(DIMENSION, policy.ring.bits))
    for chunk in chunks_of(policy, 1):
        spool.receive(1, chunk)
        expected.update(chunk.data)
    assert spool.finish(1) == expected.finish()


def test_an_unfinished_input_starts_over_and_a_finished_one_stays(
    spool: Spool, policy: Policy
) -> None:
    first, second = chunks_of(policy, 1)
    other = chunks_of(policy, 2)
    spool.receive(1, other[0])
    for chunk in (first, second, *other):
        spool.receive(1, chunk)
    read = np.concatenate([words for _, words in spool.chunks(1)])
    assert (read == words_of(policy, 1)).all()


def test_chunks_out_of_order_are_laid_to_their_sender(spool: Spool, policy: Policy) -> None:
    first, second = chunks_of(policy, 1)
    for chunk in (second, VectorChunk(SESSION, 0, first.data[:-1])):
        with pytest.raises(PeerViolation) as caught:
            spool.receive(1, chunk)
        assert (caught.value.check, caught.value.peer) == (Check.STREAM_IN_ORDER, "hospital-1")
    spool.receive(1, first)
    with pytest.raises(PeerViolation):
        spool.finish(1)
    with pytest.raises(PeerViolation):
        spool.finish(2)
    spool.receive(1, second)
    assert spool.finish(1)


def test_who_is_not_in_u3_leaves_nothing_behind(
    spool: Spool, policy: Policy, tmp_path: Path
) -> None:
    for chunk in chunks_of(policy, 1):
        spool.receive(1, chunk)
    for chunk in chunks_of(policy, 2):
        spool.receive(2, chunk)
    spool.receive(3, chunks_of(policy, 3)[0])
    spool.keep_only((1,))
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["1"]
    spool.close()
    assert not (tmp_path / "spool").exists()


def test_the_directory_is_private(spool: Spool, tmp_path: Path) -> None:
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
