"""secagg.crypto.signatures: Ed25519 as in RFC 8032, over labelled statements only."""

from collections.abc import Callable
from typing import Any

import cryptography_vectors
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.crypto.hashing import Label, encode
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey, _verify, verify

GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
KEY = IdentityKey(Secret(b"\x42" * 32))

labels = st.sampled_from(list(Label))
parts = st.lists(st.binary(max_size=20), max_size=3)


@given(labels, parts)
def test_a_signature_verifies(label: Label, parts: list[bytes]) -> None:
    signature = KEY.sign(label, *parts)
    assert len(signature) == 64
    assert verify(KEY.public, signature, label, *parts)
    assert signature == KEY.sign(label, *parts)


@given(labels, parts, labels, parts)
def test_a_signature_is_good_for_its_own_statement_only(
    label: Label, parts: list[bytes], other_label: Label, other_parts: list[bytes]
) -> None:
    same = (label, parts) == (other_label, other_parts)
    assert verify(KEY.public, KEY.sign(label, *parts), other_label, *other_parts) == same


@given(st.integers(0, 64 * 8 - 1))
def test_a_signature_with_one_bit_flipped_is_refused(bit: int) -> None:
    signature = bytearray(KEY.sign(Label.U3, b"set"))
    signature[bit // 8] ^= 1 << bit % 8
    assert not verify(KEY.public, bytes(signature), Label.U3, b"set")


def test_a_signature_under_another_key_is_refused() -> None:
    other = IdentityKey(Secret(b"\x43" * 32))
    assert not verify(other.public, KEY.sign(Label.U3), Label.U3)


@pytest.mark.parametrize(
    ("public_bytes", "signature_bytes"), [(31, 64), (33, 64), (32, 63), (32, 65)]
)
def test_wrong_lengths_are_refused_without_an_error(
    public_bytes: int, signature_bytes: int
) -> None:
    signature = KEY.sign(Label.U3)
    assert not verify(
        (KEY.public + b"\0")[:public_bytes], (signature + b"\0")[:signature_bytes], Label.U3
    )


def test_bytes_of_the_message_are_not_taken_for_a_part_of_the_signature() -> None:
    message = encode(Label.U3)
    signature = KEY.sign(Label.U3)
    assert not _verify(KEY.public, signature[:63], signature[63:] + message)
    assert not _verify(KEY.public, signature + message[:1], message[1:])


def test_malleated_signature_is_refused() -> None:
    """s + L verifies under the equation alone; RFC 8032 has s below L."""
    signature = KEY.sign(Label.U3)
    s = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    assert not verify(KEY.public, signature[:32] + s.to_bytes(32, "little"), Label.U3)


def test_low_order_public_key_under_which_anything_verifies_is_refused() -> None:
    """With the neutral element as key, R = identity and s = 0 fit every message."""
    neutral = b"\x01" + bytes(31)
    assert not verify(neutral, neutral + bytes(32), Label.U3)


@pytest.mark.parametrize("length", [1, 31, 33, 64])
def test_a_seed_of_the_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="seed has 32 bytes"):
        IdentityKey(Secret(bytes(length)))


def test_ed25519_vectors_of_its_authors() -> None:
    """RFC 8032 took its section 7.1 from this file: seed and key, key, message, signature."""
    with cryptography_vectors.open_vector_file("asymmetric/Ed25519/sign.input", "r") as file:
        lines = file.read().splitlines()
    assert len(lines) == 1024
    for line in lines:
        seed_and_public, public, message, signed = map(bytes.fromhex, line.split(":")[:4])
        key = IdentityKey(Secret(seed_and_public[:32]))
        assert key.public == public
        assert key._sign(message) == signed[:64]
        assert _verify(public, signed[:64], message)


def test_what_is_signed_is_the_encoding() -> None:
    assert KEY.sign(Label.SUM, b"a", b"b") == KEY._sign(encode(Label.SUM, b"a", b"b"))


def test_wycheproof_ed25519(wycheproof: Callable[[str], list[dict[str, Any]]]) -> None:
    for test in wycheproof("ed25519_test"):
        public, message, signature = (
            bytes.fromhex(field) for field in (test["publicKey"]["pk"], test["msg"], test["sig"])
        )
        assert _verify(public, signature, message) == (test["result"] == "valid"), test
