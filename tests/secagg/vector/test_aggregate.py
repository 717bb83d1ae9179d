"""The server's accumulator, and the sum as it is published."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from secagg.crypto.hashing import Label, digest
from secagg.crypto.secret import Secret
from secagg.vector.aggregate import Aggregate, packed_chunks, vector_digest
from secagg.vector.masking import Mask, apply_masks
from secagg.vector.ring import Ring
from secagg.vector.stream import CHUNK, VectorReceiver

RINGS = st.integers(8, 64).map(Ring)


@given(RINGS, st.integers(1, 6), st.integers(1, 20), st.data())
@settings(max_examples=50)
def test_vectors_add_up_modulo_r(
    ring: Ring, count: int, dimension: int, data: st.DataObject
) -> None:
    element = st.integers(0, ring.modulus - 1)
    vectors = [data.draw(nps.arrays(ring.dtype, dimension, elements=element)) for _ in range(count)]
    aggregate = Aggregate(ring, dimension)
    for vector in vectors:
        cut = data.draw(st.integers(0, dimension))
        aggregate.add(0, vector[:cut])
        aggregate.add(cut, vector[cut:])
    expected = [sum(int(v[i]) for v in vectors) % ring.modulus for i in range(dimension)]
    half = ring.modulus // 2
    assert aggregate.total().tolist() == [e - ring.modulus if e >= half else e for e in expected]


@pytest.mark.parametrize("bits", [8, 13, 16, 31, 32, 63, 64])
def test_masks_are_removed_slice_by_slice_in_any_order(bits: int) -> None:
    ring, dimension = Ring(bits), 1000
    values = np.arange(dimension) % 100 - 50
    masks = [Mask(Secret(bytes([i] * 32)), 1 if i % 2 else -1) for i in range(3)]
    words = ring.encode(values)
    apply_masks(words, masks, ring)
    aggregate = Aggregate(ring, dimension)
    aggregate.add(0, words)
    assert not np.array_equal(aggregate.total(), values)
    removal = [Mask(mask.seed, -mask.sign) for mask in masks]
    for where in (slice(800, None), slice(0, 300), slice(300, 800)):
        aggregate.unmask(removal, where)
    assert np.array_equal(aggregate.total(), values)


def test_no_vectors_add_up_to_nothing() -> None:
    assert Aggregate(Ring(16), 3).total().tolist() == [0, 0, 0]
    assert Aggregate(Ring(16), 3).total().dtype == np.int64


@given(RINGS, st.sampled_from([1, 8, CHUNK, CHUNK + 3]))
@settings(max_examples=20)
def test_a_published_sum_is_received_as_it_was(ring: Ring, dimension: int) -> None:
    values = (np.arange(dimension) % 251 - 125).astype(np.int64)
    receiver = VectorReceiver(Label.SUM, ring, dimension)
    sent = list(packed_chunks(values, ring))
    words = [receiver.receive(start, data) for start, data in sent]
    assert np.array_equal(ring.decode(np.concatenate(words)), values)
    assert receiver.finish() == vector_digest(Label.SUM, values, ring)
    packed = b"".join(data for _, data in sent)
    assert vector_digest(Label.SUM, values, ring) == digest(Label.SUM, packed)


def test_any_coordinate_changes_the_digest() -> None:
    ring, values = Ring(16), np.arange(20)
    digests = {vector_digest(Label.SUM, values, ring)}
    for i in range(20):
        other = values.copy()
        other[i] += 1
        digests.add(vector_digest(Label.SUM, other, ring))
    assert len(digests) == 21


def test_what_does_not_fit_the_ring_is_not_published() -> None:
    with pytest.raises(ValueError, match="does not fit a ring of 8 bits"):
        vector_digest(Label.SUM, np.array([128]), Ring(8))
