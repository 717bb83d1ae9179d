"""secagg.crypto.hashing: one encoding, injective; one table of labels, all distinct."""

import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.crypto.hashing import DIGEST_BYTES, Digest, Label, digest, encode, u64

labels = st.sampled_from(list(Label))
parts = st.lists(st.binary(max_size=40), max_size=5)


def read_back(encoded: bytes) -> list[bytes]:
    """The inverse of encode, written from its description."""
    items = []
    while encoded:
        (length,) = struct.unpack(">Q", encoded[:8])
        assert len(encoded) >= 8 + length
        items.append(encoded[8 : 8 + length])
        encoded = encoded[8 + length :]
    return items


def test_every_label_has_a_value_of_its_own_that_names_the_suite() -> None:
    values = [label.value for label in Label]
    assert len(set(values)) == len(Label.__members__)
    assert all(value.startswith("secagg/1/") and value.isascii() for value in values)


@given(labels, parts)
def test_encoding_can_be_read_back(label: Label, parts: list[bytes]) -> None:
    assert read_back(encode(label, *parts)) == [label.value.encode(), *parts]


@given(labels, parts, labels, parts)
def test_different_statements_have_different_encodings(
    label: Label, parts: list[bytes], other_label: Label, other_parts: list[bytes]
) -> None:
    same = (label, parts) == (other_label, other_parts)
    assert (encode(label, *parts) == encode(other_label, *other_parts)) == same


@given(labels, st.lists(st.binary(max_size=20), min_size=2, max_size=2), st.integers(0, 20))
def test_bytes_moved_over_a_border_between_parts_change_the_digest(
    label: Label, pair: list[bytes], cut: int
) -> None:
    whole = b"".join(pair)
    moved = [whole[:cut], whole[cut:]]
    assert (digest(label, *pair) == digest(label, *moved)) == (pair == moved)
    assert digest(label, whole) != digest(label, *pair)


def test_digest_is_the_sha256_of_the_documented_bytes() -> None:
    documented = b"".join(
        (
            *(bytes.fromhex("000000000000000b"), b"secagg/1/U2"),
            *(bytes.fromhex("0000000000000003"), b"abc"),
            bytes(8),
        )
    )
    assert encode(Label.U2, b"abc", b"") == documented
    assert digest(Label.U2, b"abc", b"") == hashlib.sha256(documented).digest()
    assert len(digest(Label.U2)) == DIGEST_BYTES


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, "0000000000000000"), (258, "0000000000000102"), (2**64 - 1, "ffffffffffffffff")],
)
def test_u64_is_eight_bytes_big_endian(value: int, encoded: str) -> None:
    assert u64(value).hex() == encoded


@pytest.mark.parametrize("value", [-1, 2**64])
def test_u64_refuses_what_does_not_fit(value: int) -> None:
    with pytest.raises(ValueError, match="64 unsigned bits"):
        u64(value)


@given(st.lists(st.binary(max_size=50), max_size=6))
def test_streamed_digest_is_that_of_the_whole(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    streamed = Digest(Label.MASKED_INPUT, len(whole))
    for piece in pieces:
        streamed.update(piece)
    assert streamed.finish() == digest(Label.MASKED_INPUT, whole)


def test_streamed_digest_counts_bytes_whatever_the_buffer() -> None:
    words = np.arange(5, dtype="<u4")
    streamed = Digest(Label.MASKED_INPUT, 20)
    streamed.update(words.data)
    assert streamed.finish() == digest(Label.MASKED_INPUT, words.tobytes())


def test_streamed_digest_refuses_a_piece_too_much_and_stays_as_it_was() -> None:
    streamed = Digest(Label.MASKED_INPUT, 3)
    streamed.update(b"ab")
    with pytest.raises(ValueError, match="longer than announced"):
        streamed.update(b"cd")
    streamed.update(b"c")
    assert streamed.finish() == digest(Label.MASKED_INPUT, b"abc")


def test_streamed_digest_refuses_to_finish_early() -> None:
    streamed = Digest(Label.MASKED_INPUT, 3)
    streamed.update(b"ab")
    with pytest.raises(ValueError, match="1 bytes are missing"):
        streamed.finish()
