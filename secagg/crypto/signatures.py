"""Ed25519 signatures (RFC 8032) over labelled statements, through PyNaCl."""

from __future__ import annotations

from typing import Final, final

import nacl.bindings
import nacl.exceptions

from secagg.crypto.hashing import Label, encode
from secagg.crypto.secret import Secret

SEED_BYTES: Final = 32
PUBLIC_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64


@final
class IdentityKey:
    """The long-term signing key of a hospital or of the server; the policy pins ``public``."""

    __slots__ = ("_expanded", "public")

    public: bytes
    """The verification key, 32 bytes."""

    def __init__(self, seed: Secret) -> None:
        """The key of ``seed``. Raises ValueError unless it has 32 bytes."""
        if len(seed) != SEED_BYTES:
            raise ValueError(f"an Ed25519 seed has {SEED_BYTES} bytes, not {len(seed)}")
        self.public, expanded = nacl.bindings.crypto_sign_seed_keypair(seed.reveal())
        self._expanded = Secret(expanded)

    def sign(self, label: Label, *parts: bytes) -> bytes:
        """The signature of ``encode(label, *parts)``, 64 bytes, deterministic."""
        return self._sign(encode(label, *parts))

    def _sign(self, message: bytes) -> bytes:
        return nacl.bindings.crypto_sign(message, self._expanded.reveal())[:SIGNATURE_BYTES]

    def __repr__(self) -> str:
        return f"IdentityKey(public={self.public.hex()})"


def verify(public: bytes, signature: bytes, label: Label, *parts: bytes) -> bool:
    """Whether ``signature`` is that of ``encode(label, *parts)`` under ``public``.

    False as well for a key or signature of the wrong length, a key of low order and a signature
    that is not canonical: never raises for what a peer sent.
    """
    return _verify(public, signature, encode(label, *parts))


def _verify(public: bytes, signature: bytes, message: bytes) -> bool:
    if len(public) != PUBLIC_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        nacl.bindings.crypto_sign_open(signature + message, public)
    except nacl.exceptions.BadSignatureError:
        return False
    return True
