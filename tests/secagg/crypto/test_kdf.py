"""secagg.crypto.kdf: HKDF-SHA256 as in RFC 5869, one label for each use."""

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.crypto.hashing import Label, encode
from secagg.crypto.kdf import MAX_BYTES, _hkdf, derive
from secagg.crypto.secret import Secret

SECRET = Secret(b"\x42" * 32)

labels = st.sampled_from(list(Label))
parts = st.lists(st.binary(max_size=20), max_size=3)


def documented_derive(secret: bytes, info: bytes, length: int) -> bytes:
    """HKDF from its two formulas (RFC 5869, section 2), the salt being a hash's length of zeros."""
    extracted = hmac.digest(bytes(32), secret, hashlib.sha256)
    block, okm = b"", b""
    for counter in range(1, 256):
        block = hmac.digest(extracted, block + info + bytes([counter]), hashlib.sha256)
        okm += block
    return okm[:length]


@given(st.binary(min_size=1, max_size=64), labels, parts, st.integers(1, 100))
def test_derivation_is_hkdf_of_the_encoded_use(
    secret: bytes, label: Label, parts: list[bytes], length: int
) -> None:
    derived = derive(Secret(secret), label, *parts, length=length)
    assert derived.reveal() == documented_derive(secret, encode(label, *parts), length)


@given(labels, parts, labels, parts)
def test_different_uses_have_different_keys(
    label: Label, parts: list[bytes], other_label: Label, other_parts: list[bytes]
) -> None:
    same = (label, parts) == (other_label, other_parts)
    assert (derive(SECRET, label, *parts) == derive(SECRET, other_label, *other_parts)) == same


@pytest.mark.parametrize("length", [1, MAX_BYTES])
def test_the_least_and_the_most_that_there_is(length: int) -> None:
    assert len(derive(SECRET, Label.CHANNEL, length=length)) == length


@pytest.mark.parametrize("length", [-1, 0, MAX_BYTES + 1])
def test_an_impossible_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="1 to 8160 bytes"):
        derive(SECRET, Label.CHANNEL, length=length)


def test_rfc_5869_vectors(published: Callable[[str], list[dict[str, str]]]) -> None:
    for vector in published("KDF/rfc-5869-HKDF-SHA256.txt"):
        secret, salt, info = (bytes.fromhex(vector[name]) for name in ("IKM", "salt", "info"))
        okm = _hkdf(Secret(secret), salt, info, int(vector["L"]))
        assert okm.reveal().hex() == vector["OKM"]


def test_wycheproof_hkdf_sha256(wycheproof: Callable[[str], list[dict[str, Any]]]) -> None:
    for test in wycheproof("hkdf_sha256_test"):
        secret, salt, info = (bytes.fromhex(test[name]) for name in ("ikm", "salt", "info"))
        if test["result"] == "valid":
            okm = _hkdf(Secret(secret), salt, info, test["size"])
            assert okm.reveal().hex() == test["okm"], test
        else:
            with pytest.raises(ValueError, match="8160 bytes"):
                _hkdf(Secret(secret), salt, info, test["size"])
