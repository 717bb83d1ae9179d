"""secagg.vector.masking: masks added in place, whole or in slices, always the same."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from secagg.crypto.randomness import SeededRandomness
from secagg.crypto.secret import Secret
from secagg.vector.masking import CHUNK_BYTES, Mask, apply_masks
from secagg.vector.ring import Ring, Words

RANDOMNESS = SeededRandomness(b"masking")

rings = st.sampled_from([Ring(bits) for bits in (8, 15, 16, 17, 20, 31, 32, 33, 47, 63, 64)])


def mask(name: int, sign: int = 1) -> Mask:
    seed = Secret(RANDOMNESS.fork(bytes([name])).draw(32))
    return Mask(seed, 1 if sign > 0 else -1)


def random_words(ring: Ring, count: int) -> Words:
    octets = RANDOMNESS.fork(b"input").draw(count * ring.word_bytes)
    return ring.reduce(np.frombuffer(octets, ring.dtype).copy())


def documented_masks(words: Words, masks: list[Mask], ring: Ring) -> list[int]:
    """The same sum word by word, in Python's integers, from AES on single blocks."""
    size, width = words.nbytes, ring.word_bytes
    counters = b"".join(block.to_bytes(16, "big") for block in range(size // 16 + 1))
    result = [int(word) for word in words]
    for each in masks:
        cipher = Cipher(algorithms.AES256(each.seed.reveal()), modes.ECB()).encryptor()
        stream = cipher.update(counters)
        for i in range(len(result)):
            word = int.from_bytes(stream[i * width : (i + 1) * width], "little")
            result[i] = (result[i] + each.sign * word) % ring.modulus
    return result


def masked(words: Words, masks: list[Mask], ring: Ring) -> Words:
    copy = words.copy()
    apply_masks(copy, masks, ring)
    return copy


@given(rings, st.integers(0, 50), st.lists(st.sampled_from([1, -1]), max_size=5))
def test_masks_follow_the_documented_sum(ring: Ring, count: int, signs: list[int]) -> None:
    masks = [mask(name, sign) for name, sign in enumerate(signs)]
    words = random_words(ring, count)
    assert masked(words, masks, ring).tolist() == documented_masks(words, masks, ring)


@pytest.mark.parametrize("bits", [13, 20, 40])
def test_a_vector_of_several_chunks_follows_it_too(bits: int) -> None:
    ring = Ring(bits)
    count = CHUNK_BYTES // ring.word_bytes + 1001
    words = random_words(ring, count)
    masks = [mask(1), mask(2, -1)]
    assert masked(words, masks, ring).tolist() == documented_masks(words, masks, ring)


@given(rings, st.integers(0, 400), st.integers(0, 400))
def test_a_slice_equals_that_part_of_the_whole(ring: Ring, start: int, length: int) -> None:
    """Also where it starts inside a block of AES."""
    words = random_words(ring, 800)
    masks = [mask(1), mask(2, -1), mask(3)]
    part = words[start : start + length].copy()
    apply_masks(part, masks, ring, start)
    assert np.array_equal(part, masked(words, masks, ring)[start : start + length])


@pytest.mark.parametrize("start", [1, 3, 65535, 65536, 65537, 100_001])
def test_a_slice_across_chunks_equals_that_part_of_the_whole(start: int) -> None:
    ring = Ring(31)
    words = random_words(ring, 200_000)
    masks = [mask(1), mask(2, -1)]
    part = words[start:].copy()
    apply_masks(part, masks, ring, start)
    assert np.array_equal(part, masked(words, masks, ring)[start:])


def test_slices_in_threads_equal_the_whole() -> None:
    ring = Ring(20)
    words = random_words(ring, 300_001)
    masks = [mask(name, (-1) ** name) for name in range(6)]
    whole = masked(words, masks, ring)
    starts = range(0, words.size, 77_777)
    with ThreadPoolExecutor(4) as pool:
        for job in [
            pool.submit(apply_masks, words[start : start + 77_777], masks, ring, start)
            for start in starts
        ]:
            job.result()
    assert np.array_equal(words, whole)


@given(rings, st.permutations(range(5)))
def test_the_order_of_masks_does_not_matter(ring: Ring, order: list[int]) -> None:
    words = random_words(ring, 100)
    masks = [mask(name, (-1) ** name) for name in range(5)]
    reordered = [masks[i] for i in order]
    assert np.array_equal(masked(words, masks, ring), masked(words, reordered, ring))


@given(rings)
def test_pairwise_masks_cancel_in_the_sum(ring: Ring) -> None:
    left, right = random_words(ring, 64), ring.reduce(random_words(ring, 64) + ring.dtype.type(3))
    total = masked(left, [mask(7)], ring) + masked(right, [mask(7, -1)], ring)
    assert np.array_equal(ring.reduce(total), ring.reduce(left + right))


@given(rings)
def test_a_masked_vector_stays_within_the_ring_and_hides_its_input(ring: Ring) -> None:
    zeros = np.zeros(2000, ring.dtype)
    words = masked(zeros, [mask(1)], ring)
    assert int(words.max()) < ring.modulus
    for bit in range(ring.bits):
        ones = int(((words >> ring.dtype.type(bit)) & ring.dtype.type(1)).sum())
        assert 800 < ones < 1200, bit


def test_no_masks_reduce_only() -> None:
    words = np.array([2**20 + 1, 7], "<u4")
    apply_masks(words, [], Ring(20))
    assert words.tolist() == [1, 7]


def test_memory_does_not_grow_with_the_vector_nor_much_with_the_masks() -> None:
    ring = Ring(32)
    words = np.zeros(1_000_000, ring.dtype)
    masks = [mask(name % 250) for name in range(30)]
    tracemalloc.start()
    try:
        apply_masks(words, masks, ring)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < CHUNK_BYTES + 100_000 < words.nbytes


@pytest.mark.parametrize(
    "words",
    [
        np.zeros(8, "<u8"),
        np.zeros(8, "<i4"),
        np.zeros(8, ">u4"),
        np.zeros((2, 4), "<u4"),
        np.zeros(16, "<u4")[::2],
    ],
    ids=["wide", "signed", "big-endian", "matrix", "strided"],
)
def test_other_arrays_are_refused(words: Words) -> None:
    with pytest.raises(ValueError, match="contiguous vector of uint32"):
        apply_masks(words, [mask(1)], Ring(20))
    assert not words.any()


def test_a_negative_start_is_refused() -> None:
    with pytest.raises(ValueError, match="not at -1"):
        apply_masks(np.zeros(8, "<u4"), [mask(1)], Ring(20), -1)


@pytest.mark.parametrize("sign", [0, 2, -2])
def test_a_mask_has_a_sign(sign: int) -> None:
    with pytest.raises(ValueError, match="1 or -1"):
        Mask(mask(1).seed, sign)  # type: ignore[arg-type]


def test_a_seed_of_the_wrong_length_is_refused_before_a_word_is_touched() -> None:
    words = np.zeros(8, "<u4")
    with pytest.raises(ValueError, match="seed has 32 bytes"):
        apply_masks(words, [mask(1), Mask(Secret(bytes(31)), 1)], Ring(20))
    assert not words.any()
