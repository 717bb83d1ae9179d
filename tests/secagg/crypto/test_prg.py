"""secagg.crypto.prg: the AES-256-CTR keystream, from any byte on."""

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from secagg.crypto.prg import READ_BYTES, Keystream
from secagg.crypto.secret import Secret

SEED = bytes(range(32))


def documented_stream(seed: bytes, offset: int, size: int) -> bytes:
    """The AES-256 encryptions of the counters 0, 1, 2, ..., block by block."""
    first, last = offset // 16, (offset + size) // 16
    counters = b"".join(block.to_bytes(16, "big") for block in range(first, last + 1))
    blocks = Cipher(algorithms.AES256(seed), modes.ECB()).encryptor().update(counters)
    return blocks[offset - 16 * first :][:size]


def read(stream: Keystream, size: int) -> bytes:
    buffer = bytearray(b"\xee" * size)
    stream.read_into(buffer)
    return bytes(buffer)


@given(
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**100),
    st.lists(st.integers(0, 100), max_size=5),
)
def test_reads_follow_the_documented_stream_from_any_byte(
    seed: bytes, offset: int, sizes: list[int]
) -> None:
    stream = Keystream(Secret(seed), offset)
    together = b"".join(read(stream, size) for size in sizes)
    assert together == documented_stream(seed, offset, sum(sizes))


def test_a_full_buffer_is_read_at_once() -> None:
    assert read(Keystream(Secret(SEED), 5), READ_BYTES) == documented_stream(SEED, 5, READ_BYTES)


def test_only_the_buffer_is_written() -> None:
    whole = bytearray(b"\xee" * 30)
    Keystream(Secret(SEED)).read_into(memoryview(whole)[10:20])
    assert whole == b"\xee" * 10 + documented_stream(SEED, 0, 10) + b"\xee" * 10


def test_a_longer_buffer_is_refused_and_nothing_lost() -> None:
    stream = Keystream(Secret(SEED))
    with pytest.raises(ValueError, match="read at once"):
        stream.read_into(bytearray(READ_BYTES + 1))
    assert read(stream, 16) == documented_stream(SEED, 0, 16)


@pytest.mark.parametrize("length", [16, 31, 33])
def test_a_seed_of_the_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="seed has 32 bytes"):
        Keystream(Secret(bytes(length)))


def test_a_negative_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="not at -1"):
        Keystream(Secret(SEED), -1)


def test_aes_256_ctr_vectors_of_rfc_3686(published: Callable[[str], list[dict[str, str]]]) -> None:
    """Their counter blocks are far offsets in the streams of their keys."""
    for vector in published("ciphers/AES/CTR/aes-256-ctr.txt"):
        key, block, plaintext, ciphertext = (
            bytes.fromhex(vector[name]) for name in ("KEY", "IV", "PLAINTEXT", "CIPHERTEXT")
        )
        keystream = read(Keystream(Secret(key), 16 * int.from_bytes(block, "big")), len(plaintext))
        assert bytes(a ^ b for a, b in zip(plaintext, keystream, strict=True)) == ciphertext
