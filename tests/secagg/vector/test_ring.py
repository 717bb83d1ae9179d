"""secagg.vector.ring: integers modulo 2^b, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.vector.ring import MAX_BITS, MIN_BITS, Ring, word_dtype

rings = st.builds(Ring, st.integers(MIN_BITS, MAX_BITS))


@given(rings, st.data())
def test_what_fits_is_read_back(ring: Ring, data: st.DataObject) -> None:
    half = ring.modulus // 2
    drawn = data.draw(st.lists(st.integers(-half, half - 1), max_size=20))
    values = np.array([*drawn, -half, -1, 0, half - 1], np.int64)
    words = ring.encode(values)
    assert words.dtype == ring.dtype
    assert words.tolist() == [value % ring.modulus for value in values.tolist()]
    assert ring.decode(words).tolist() == values.tolist()
    assert ring.decode(words).dtype == np.int64


@given(st.integers(MIN_BITS, MAX_BITS - 1), st.sampled_from([0, 1]))
def test_what_would_wrap_is_refused(bits: int, sign: int) -> None:
    half = 1 << (bits - 1)
    with pytest.raises(ValueError, match=f"ring of {bits} bits"):
        Ring(bits).encode(np.array([0, half if sign else -half - 1], np.int64))


@given(rings, st.data())
def test_sums_of_words_decode_to_sums(ring: Ring, data: st.DataObject) -> None:
    quarter = ring.modulus // 4
    pairs = data.draw(
        st.lists(
            st.tuples(st.integers(-quarter, quarter - 1), st.integers(-quarter, quarter - 1)),
            min_size=1,
        )
    )
    left, right = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    words = ring.reduce(ring.encode(left) + ring.encode(right))
    assert ring.decode(words).tolist() == [a + b for a, b in pairs]


@given(rings)
def test_words_are_the_smallest_little_endian_that_hold_the_bits(ring: Ring) -> None:
    assert ring.word_bytes == min(size for size in (2, 4, 8) if 8 * size >= ring.bits)
    assert ring.dtype == np.dtype(f"<u{ring.word_bytes}")
    assert ring.modulus == 2**ring.bits


@given(st.integers(0, 2**63 - 1))
def test_ring_for_a_bound_is_the_smallest(bound: int) -> None:
    ring = Ring.for_bound(bound)
    assert bound < ring.modulus // 2
    assert ring.bits == MIN_BITS or bound >= ring.modulus // 4
    for value in (-bound, bound):
        assert ring.decode(ring.encode(np.array([value], np.int64))).tolist() == [value]


@pytest.mark.parametrize(
    ("bound", "bits"),
    [(0, 8), (127, 8), (128, 9), (2**31 - 1, 32), (2**31, 33), (2**63 - 1, 64)],
)
def test_known_rings(bound: int, bits: int) -> None:
    assert Ring.for_bound(bound) == Ring(bits)


@pytest.mark.parametrize(("bound", "message"), [(-1, "not negative"), (2**63, "more than 64 bits")])
def test_bounds_without_a_ring_are_refused(bound: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ring.for_bound(bound)


@pytest.mark.parametrize("bits", [-1, 0, 7, 65])
def test_other_widths_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match="8 to 64 bits"):
        Ring(bits)


def test_no_word_holds_more_than_64_bits() -> None:
    with pytest.raises(ValueError, match="at most 64 bits"):
        word_dtype(65)


def test_words_of_another_dtype_are_refused() -> None:
    with pytest.raises(ValueError, match="uint32"):
        Ring(20).decode(np.zeros(3, np.uint64))


def test_reducing_is_done_in_place() -> None:
    words = np.array([2**20, 2**20 + 5, 2**32 - 1, 3], np.uint32)
    assert Ring(20).reduce(words) is words
    assert words.tolist() == [0, 5, 2**20 - 1, 3]


def test_nothing_is_encoded_as_nothing() -> None:
    assert Ring(20).decode(Ring(20).encode(np.empty(0, np.int64))).tolist() == []
