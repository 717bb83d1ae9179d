"""Authenticated encryption: XChaCha20-Poly1305-IETF (draft-irtf-cfrg-xchacha), through PyNaCl."""

from __future__ import annotations

from typing import Final

import nacl.bindings
import nacl.exceptions

from secagg.crypto.secret import Secret

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 24
TAG_BYTES: Final = 16
"""How much longer a ciphertext is than its plaintext."""

_ZERO_NONCE: Final = bytes(NONCE_BYTES)


class AuthenticationFailure(ValueError):
    """The ciphertext, the associated data or the nonce is not what was sealed under this key."""


def seal(key: Secret, plaintext: bytes, associated: bytes, nonce: bytes = _ZERO_NONCE) -> bytes:
    """Encrypt ``plaintext`` and bind it to ``associated``; 16 bytes longer than the plaintext.

    The default nonce of zeros is safe only for a key that seals exactly one message, which is
    how the protocol derives its keys; a key that seals more needs a fresh nonce each time.
    Raises ValueError when the key or the nonce has the wrong length.
    """
    _check_lengths(key, nonce)
    return nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
        plaintext, associated, nonce, key.reveal()
    )


def open_sealed(
    key: Secret, ciphertext: bytes, associated: bytes, nonce: bytes = _ZERO_NONCE
) -> bytes:
    """The plaintext that :func:`seal` was given.

    Raises AuthenticationFailure when anything differs from what was sealed or the ciphertext is
    too short to hold a tag, ValueError when the key or the nonce has the wrong length.
    """
    _check_lengths(key, nonce)
    if len(ciphertext) < TAG_BYTES:
        raise AuthenticationFailure("the ciphertext is too short to be authentic")
    try:
        return nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
            ciphertext, associated, nonce, key.reveal()
        )
    except nacl.exceptions.CryptoError:
        pass
    # Raised out here so that no frame of the chained traceback has the key among its locals.
    raise AuthenticationFailure("the ciphertext does not authenticate under this key and context")


def _check_lengths(key: Secret, nonce: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise ValueError(f"an XChaCha20-Poly1305 key has {KEY_BYTES} bytes, not {len(key)}")
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"an XChaCha20-Poly1305 nonce has {NONCE_BYTES} bytes, not {len(nonce)}")
