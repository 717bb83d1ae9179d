"""A vector in chunks: whatever is not the next one is refused, and changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.crypto.hashing import Label, digest
from secagg.vector.packing import pack
from secagg.vector.ring import Ring
from secagg.vector.stream import CHUNK, StreamError, VectorReceiver, slices

DIMENSIONS = [1, 7, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5]


def chunks(ring: Ring, dimension: int) -> list[tuple[int, bytes]]:
    """A vector of counting words, as it is sent."""
    words = ring.reduce(np.arange(dimension).astype(ring.dtype))
    return [(where.start, pack(words[where], ring.bits)) for where in slices(dimension)]


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_slices_cover_a_vector_once_in_order(dimension: int) -> None:
    covered = [i for where in slices(dimension) for i in range(dimension)[where]]
    assert covered == list(range(dimension))
    assert all(where.start % 8 == 0 for where in slices(dimension))


def test_there_is_nothing_to_send_of_nothing() -> None:
    assert list(slices(0)) == []


@given(st.sampled_from(DIMENSIONS), st.integers(8, 64))
@settings(max_examples=25)
def test_what_is_sent_arrives(dimension: int, bits: int) -> None:
    ring = Ring(bits)
    sent = chunks(ring, dimension)
    receiver = VectorReceiver(Label.SUM, ring, dimension)
    words = np.concatenate([receiver.receive(start, data) for start, data in sent])
    assert np.array_equal(words, ring.reduce(np.arange(dimension).astype(ring.dtype)))
    assert receiver.complete
    assert receiver.finish() == digest(Label.SUM, b"".join(data for _, data in sent))


def test_the_label_is_in_the_digest() -> None:
    finished = set()
    for label in (Label.SUM, Label.MASKED_INPUT):
        receiver = VectorReceiver(label, Ring(8), 3)
        receiver.receive(0, bytes(3))
        finished.add(receiver.finish())
    assert len(finished) == 2


@pytest.mark.parametrize(
    ("start", "data", "words"),
    [
        (1, bytes(8), "expected coordinate 0, got 1"),
        (CHUNK, bytes(8), "expected coordinate 0, got 65536"),
        (-1, bytes(8), "expected coordinate 0, got -1"),
        (0, bytes(7), "take 8 bytes, not 7"),
        (0, bytes(9), "take 8 bytes, not 9"),
        (0, b"", "take 8 bytes, not 0"),
        (0, bytes(7) + b"\x80", "padding"),
    ],
)
def test_a_wrong_chunk_is_refused_and_the_right_one_still_taken(
    start: int, data: bytes, words: str
) -> None:
    receiver = VectorReceiver(Label.SUM, Ring(9), 7)  # 63 bits: one of padding
    with pytest.raises(StreamError, match=words):
        receiver.receive(start, data)
    assert not receiver.complete
    with pytest.raises(StreamError, match="0 of 7 coordinates have come"):
        receiver.finish()
    assert receiver.receive(0, b"\1" + bytes(7)).tolist() == [1, 0, 0, 0, 0, 0, 0]


def test_nothing_comes_after_the_end() -> None:
    receiver = VectorReceiver(Label.SUM, Ring(8), 2)
    receiver.receive(0, bytes(2))
    for start in (0, 2):
        with pytest.raises(StreamError):
            receiver.receive(start, bytes(2))
    assert receiver.complete


def test_chunks_are_not_taken_out_of_order_or_twice() -> None:
    ring, dimension = Ring(16), 2 * CHUNK + 1
    first, second, third = chunks(ring, dimension)
    receiver = VectorReceiver(Label.SUM, ring, dimension)
    receiver.receive(*first)
    for wrong in (first, third):
        with pytest.raises(StreamError, match=f"expected coordinate {CHUNK}"):
            receiver.receive(*wrong)
    receiver.receive(*second)
    receiver.receive(*third)
    assert receiver.complete
