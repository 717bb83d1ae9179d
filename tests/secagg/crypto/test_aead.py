"""secagg.crypto.aead: XChaCha20-Poly1305; attack 3, a ciphertext moved to another context."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.crypto.aead import AuthenticationFailure, open_sealed, seal
from secagg.crypto.secret import Secret

KEY = Secret(b"\x42" * 32)


@given(st.binary(max_size=100), st.binary(max_size=50), st.binary(min_size=24, max_size=24))
def test_what_is_sealed_opens(plaintext: bytes, associated: bytes, nonce: bytes) -> None:
    sealed = seal(KEY, plaintext, associated, nonce)
    assert len(sealed) == len(plaintext) + 16
    assert open_sealed(KEY, sealed, associated, nonce) == plaintext


@given(st.binary(max_size=40), st.integers(min_value=0))
def test_one_flipped_bit_is_noticed(plaintext: bytes, bit: int) -> None:
    sealed = bytearray(seal(KEY, plaintext, b"context"))
    bit %= 8 * len(sealed)
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(AuthenticationFailure):
        open_sealed(KEY, bytes(sealed), b"context")


@pytest.mark.parametrize(
    ("key", "associated", "nonce"),
    [
        (Secret(b"\x43" * 32), b"context", bytes(24)),
        (KEY, b"another", bytes(24)),
        (KEY, b"", bytes(24)),
        (KEY, b"context", b"\x01" + bytes(23)),
    ],
    ids=["key", "associated", "no associated", "nonce"],
)
def test_nothing_opens_in_another_context(key: Secret, associated: bytes, nonce: bytes) -> None:
    with pytest.raises(AuthenticationFailure):
        open_sealed(key, seal(KEY, b"shares", b"context"), associated, nonce)


@given(st.binary(max_size=15))
def test_a_ciphertext_too_short_for_a_tag_is_refused(ciphertext: bytes) -> None:
    with pytest.raises(AuthenticationFailure, match="too short"):
        open_sealed(KEY, ciphertext, b"")


@pytest.mark.parametrize("cut", [1, 16, 20])
def test_a_truncated_or_extended_ciphertext_is_refused(cut: int) -> None:
    sealed = seal(KEY, b"shares", b"context")
    for altered in (sealed[:-cut], sealed + bytes(cut)):
        with pytest.raises(AuthenticationFailure):
            open_sealed(KEY, altered, b"context")


def test_the_default_nonce_is_zero() -> None:
    assert seal(KEY, b"shares", b"context") == seal(KEY, b"shares", b"context", bytes(24))


@pytest.mark.parametrize("length", [31, 33])
def test_a_key_of_the_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="key has 32 bytes"):
        seal(Secret(bytes(length)), b"", b"")
    with pytest.raises(ValueError, match="key has 32 bytes"):
        open_sealed(Secret(bytes(length)), bytes(16), b"")


@pytest.mark.parametrize("length", [0, 12, 23, 25])
def test_a_nonce_of_the_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="nonce has 24 bytes"):
        seal(KEY, b"", b"", bytes(length))
    with pytest.raises(ValueError, match="nonce has 24 bytes"):
        open_sealed(KEY, bytes(16), b"", bytes(length))


def test_vector_of_the_xchacha_draft() -> None:
    """draft-irtf-cfrg-xchacha-03, appendix A.3.1."""
    plaintext = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
        b"future, sunscreen would be it."
    )
    key, nonce = Secret(bytes(range(0x80, 0xA0))), bytes(range(0x40, 0x58))
    associated = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    sealed = seal(key, plaintext, associated, nonce)
    assert sealed.hex() == (
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
        "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
        "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
        "21f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49"
    )


def test_wycheproof_xchacha20_poly1305(wycheproof: Callable[[str], list[dict[str, Any]]]) -> None:
    for test in wycheproof("xchacha20_poly1305_test"):
        key = Secret(bytes.fromhex(test["key"]))
        nonce, associated, message, ciphertext, tag = (
            bytes.fromhex(test[name]) for name in ("iv", "aad", "msg", "ct", "tag")
        )
        if test["result"] == "valid":
            assert seal(key, message, associated, nonce) == ciphertext + tag, test
            assert open_sealed(key, ciphertext + tag, associated, nonce) == message, test
        else:
            refusal = ValueError if "InvalidNonceSize" in test["flags"] else AuthenticationFailure
            with pytest.raises(refusal):
                open_sealed(key, ciphertext + tag, associated, nonce)
