"""secagg.crypto.keys: X25519 as in RFC 7748; attack 6, low-order public keys."""

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from secagg.crypto.keys import KeyPair, LowOrderPoint, agree, is_canonical, is_low_order
from secagg.crypto.randomness import SeededRandomness
from secagg.crypto.secret import Secret

P = 2**255 - 19
HIGH_BIT = 2**255

# The points of order 1, 2, 4 and 8 on the curve and on its twist, in all their encodings:
# https://cr.yp.to/ecdh.html#validate, with the unused top bit clear and set.
LOW_ORDER = [
    encoding[:31] + bytes([encoding[31] | top])
    for top in (0x00, 0x80)
    for encoding in (
        bytes(32),
        b"\x01" + bytes(31),
        bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
        (P - 1).to_bytes(32, "little"),
        P.to_bytes(32, "little"),
        (P + 1).to_bytes(32, "little"),
    )
]

private_keys = st.binary(min_size=32, max_size=32)


def independent_agree(private: bytes, public: bytes) -> bytes:
    """X25519 by another library; ValueError when the result is all zero."""
    return X25519PrivateKey.from_private_bytes(private).exchange(
        X25519PublicKey.from_public_bytes(public)
    )


@pytest.mark.parametrize("public", LOW_ORDER, ids=bytes.hex)
def test_low_order_public_key_is_refused(public: bytes) -> None:
    assert is_low_order(public)
    with pytest.raises(LowOrderPoint):
        agree(Secret(b"\x5a" * 32), public)
    with pytest.raises(ValueError, match=r"(?i)shared key"):
        independent_agree(b"\x5a" * 32, public)


@pytest.mark.parametrize("top", [0, HIGH_BIT])
@pytest.mark.parametrize("u", [2, 3, 9, P - 2, P + 2, P + 18, P // 2])
def test_neighbours_of_low_order_points_are_taken(u: int, top: int) -> None:
    public = (u + top).to_bytes(32, "little")
    assert not is_low_order(public)
    assert agree(Secret(b"\x5a" * 32), public).reveal() == independent_agree(b"\x5a" * 32, public)


@pytest.mark.parametrize(
    ("u", "canonical"),
    [(0, True), (9, True), (P - 1, True), (P, False), (P + 9, False), (9 + HIGH_BIT, False)],
)
def test_only_the_shortest_encoding_is_canonical(u: int, canonical: bool) -> None:
    assert is_canonical(u.to_bytes(32, "little")) == canonical


@given(private_keys, private_keys)
def test_both_ends_agree_and_another_library_with_them(left: bytes, right: bytes) -> None:
    one, two = KeyPair.from_private(Secret(left)), KeyPair.from_private(Secret(right))
    shared = agree(one.private, two.public)
    assert shared == agree(two.private, one.public)
    assert shared.reveal() == independent_agree(left, two.public)


def test_a_generated_pair_is_that_of_the_drawn_bytes() -> None:
    randomness, again = SeededRandomness(b"keys"), SeededRandomness(b"keys")
    pairs = [KeyPair.generate(randomness) for _ in range(3)]
    assert pairs == [KeyPair.from_private(Secret(again.draw(32))) for _ in range(3)]
    assert len({pair.public for pair in pairs}) == 3
    assert all(is_canonical(pair.public) for pair in pairs)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_keys_of_the_wrong_length_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match="public key has 32 bytes"):
        agree(Secret(bytes(32)), bytes(length))
    with pytest.raises(ValueError, match="public key has 32 bytes"):
        is_canonical(bytes(length))
    with pytest.raises(ValueError, match="private key has 32 bytes"):
        agree(Secret(bytes(length or 1)), b"\x09" + bytes(31))
    with pytest.raises(ValueError, match="private key has 32 bytes"):
        KeyPair.from_private(Secret(bytes(length or 1)))


def test_rfc_7748_vectors(published: Callable[[str], list[dict[str, str]]]) -> None:
    for vector in published("asymmetric/X25519/rfc7748.txt"):
        scalar, u = (bytes.fromhex(vector[name]) for name in ("INPUT_SCALAR", "INPUT_U"))
        assert agree(Secret(scalar), u).reveal().hex() == vector["OUTPUT_U"]


def test_rfc_7748_iterated() -> None:
    """Section 5.2: a thousand agreements, each with the result of the last."""
    scalar = u = b"\x09" + bytes(31)
    for _ in range(1000):
        scalar, u = agree(Secret(scalar), u).reveal(), scalar
    assert scalar.hex() == "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"


def test_wycheproof_x25519(wycheproof: Callable[[str], list[dict[str, Any]]]) -> None:
    for test in wycheproof("x25519_test"):
        private, public = Secret(bytes.fromhex(test["private"])), bytes.fromhex(test["public"])
        if "ZeroSharedSecret" in test["flags"]:
            assert is_low_order(public), test
            with pytest.raises(LowOrderPoint):
                agree(private, public)
        else:
            assert agree(private, public).reveal().hex() == test["shared"], test
        if "NonCanonicalPublic" in test["flags"]:
            assert not is_canonical(public), test
