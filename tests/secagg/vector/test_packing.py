"""secagg.vector.packing: b bits a word and no gap, against Python's integers."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.crypto.randomness import SeededRandomness
from secagg.vector.packing import PackingError, pack, packed_size, unpack
from secagg.vector.ring import Words, word_dtype

CHUNK = 1 << 16

widths = st.integers(1, 64)


def random_words(count: int, bits: int) -> Words:
    """Words of all their bits, with the extremes among them."""
    dtype = word_dtype(bits)
    octets = SeededRandomness(b"words").draw(count * dtype.itemsize)
    words: Words = np.frombuffer(octets, dtype) & dtype.type((1 << bits) - 1)
    words[::7], words[1::7] = (1 << bits) - 1, 0
    return words


def documented_pack(words: Words, bits: int) -> bytes:
    """One integer of count * bits bits, little-endian."""
    value = sum(int(word) << (i * bits) for i, word in enumerate(words))
    return value.to_bytes((words.size * bits + 7) // 8, "little")


@pytest.mark.parametrize("bits", range(1, 65))
def test_packed_form_is_the_documented_one(bits: int) -> None:
    for count in (0, 1, 2, 7, 8, 9, 63, 64, 65, 200):
        words = random_words(count, bits)
        packed = pack(words, bits)
        assert packed == documented_pack(words, bits)
        assert len(packed) == packed_size(count, bits)
        unpacked = unpack(packed, bits, count)
        assert unpacked.dtype == words.dtype
        assert np.array_equal(unpacked, words)


@given(widths, st.data())
def test_any_words_come_back(bits: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(0, (1 << bits) - 1), max_size=70))
    words = np.array(values, word_dtype(bits))
    packed = pack(words, bits)
    assert packed == documented_pack(words, bits)
    assert unpack(packed, bits, len(values)).tolist() == values


def test_bits_stand_where_the_format_says() -> None:
    assert pack(np.array([1, 0, 1, 1], np.uint16), 1) == b"\x0d"
    assert pack(np.array([0x1FF, 0], np.uint16), 9) == b"\xff\x01\x00"
    assert pack(np.array([0x12345, 0xABCDE], np.uint32), 20).hex() == "4523e1cdab"


@pytest.mark.parametrize("bits", [1, 7, 9, 16, 17, 31, 33, 61, 64])
@pytest.mark.parametrize("count", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 13])
def test_long_vectors_equal_their_pieces(bits: int, count: int) -> None:
    """Any multiple of 8 coordinates starts on a byte; internal chunks do not show."""
    words = random_words(count, bits)
    packed = pack(words, bits)
    cut = CHUNK - 8
    assert pack(words[:cut], bits) + pack(words[cut:], bits) == packed
    assert np.array_equal(unpack(packed, bits, count), words)
    first = unpack(packed[: packed_size(cut, bits)], bits, cut)
    rest = unpack(memoryview(packed)[packed_size(cut, bits) :], bits, count - cut)
    assert np.array_equal(np.concatenate([first, rest]), words)


def test_strided_words_are_packed_like_any() -> None:
    words = random_words(100, 20)
    assert pack(words[::3], 20) == pack(words[::3].copy(), 20)


@pytest.mark.parametrize("bits", [1, 5, 9, 17, 32, 47])
@pytest.mark.parametrize("change", [-1, 1, 8])
def test_bytes_of_another_length_are_refused(bits: int, change: int) -> None:
    size = packed_size(100, bits) + change
    with pytest.raises(PackingError, match=f"not {size}"):
        unpack(bytes(size), bits, 100)


@given(widths, st.integers(1, 20), st.integers(0, 7))
def test_padding_that_is_not_zero_is_refused(bits: int, count: int, bit: int) -> None:
    packed = bytearray(packed_size(count, bits))
    packed[-1] |= 1 << bit
    if 8 * (len(packed) - 1) + bit >= count * bits:
        with pytest.raises(PackingError, match="padding"):
            unpack(packed, bits, count)
    else:
        assert pack(unpack(packed, bits, count), bits) == packed


@pytest.mark.parametrize("bits", [1, 9, 20, 31, 40, 63])
def test_a_word_with_more_bits_is_refused(bits: int) -> None:
    words = random_words(20, bits)
    words[13] = 1 << bits
    with pytest.raises(ValueError, match="reduce the words first"):
        pack(words, bits)


def test_words_of_another_dtype_or_shape_are_refused() -> None:
    for other in (np.uint64, np.uint16, np.uint8, np.int32):
        with pytest.raises(ValueError, match="uint32"):
            pack(np.zeros(8, other), 20)
    for shape in ((), (2, 4)):
        with pytest.raises(ValueError, match="are a vector"):
            pack(np.zeros(shape, np.uint32), 20)


@pytest.mark.parametrize("bits", [-1, 0, 65])
def test_impossible_widths_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match="1 to 64 bits"):
        packed_size(8, bits)
    with pytest.raises(ValueError, match="1 to 64 bits"):
        unpack(b"", bits, 0)


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="negative number"):
        unpack(b"", 8, -1)


@pytest.mark.parametrize("bits", [13, 20, 47])
def test_temporaries_do_not_grow_with_the_vector(bits: int) -> None:
    words = random_words(1 << 20, bits)
    packed = pack(words, bits)
    tracemalloc.start()
    try:
        unpack(packed, bits, words.size)
        unpack_peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        pack(words, bits)
        pack_peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    allowance = 5 << 20
    assert unpack_peak < words.nbytes + allowance
    assert pack_peak < 2 * len(packed) + allowance
