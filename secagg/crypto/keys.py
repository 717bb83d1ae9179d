"""X25519 key pairs and key agreement (RFC 7748), through PyNaCl.

The channel keys ``c_u`` and the mask keys ``s_u`` of the paper are made here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import nacl.bindings

from secagg.crypto.randomness import Randomness
from secagg.crypto.secret import Secret

KEY_BYTES: Final = 32
"""Length of a private key, a public key and an agreed secret."""

_P: Final = (1 << 255) - 19
_HIGH_BIT: Final = 1 << 255

# u-coordinates of the points whose order divides 8, on the curve and on its twist; multiplying
# any of them by a clamped scalar gives zero.
_ORDER_8_A: Final = 325606250916557431795983626356110631294008115727848805560023387167927233504
_ORDER_8_B: Final = 39382357235489614581723060781553021112529911719440698176882885853963445705823
_LOW_ORDER_U: Final = frozenset({0, 1, _P - 1, _ORDER_8_A, _ORDER_8_B})


class LowOrderPoint(ValueError):
    """A public key of low order: the agreed secret would not depend on the private key."""


@final
@dataclass(frozen=True, slots=True)
class KeyPair:
    """An X25519 key pair: ``private`` as drawn (32 bytes, clamped on use), ``public`` 32 bytes."""

    private: Secret
    public: bytes

    @classmethod
    def generate(cls, randomness: Randomness) -> KeyPair:
        """A fresh pair; draws exactly 32 bytes."""
        return cls.from_private(Secret(randomness.draw(KEY_BYTES)))

    @classmethod
    def from_private(cls, private: Secret) -> KeyPair:
        """The pair of a private key. Raises ValueError unless it has 32 bytes."""
        _check_length("private key", len(private))
        return cls(private, nacl.bindings.crypto_scalarmult_base(private.reveal()))


def agree(private: Secret, public: bytes) -> Secret:
    """X25519(private, public), 32 bytes: not uniform, so derive keys from it (``kdf``).

    Raises LowOrderPoint when ``public`` is of low order (RFC 7748, section 6.1), ValueError when
    a length is wrong. As the RFC asks, non-canonical encodings are accepted; see
    :func:`is_canonical`.
    """
    _check_length("private key", len(private))
    if is_low_order(public):
        raise LowOrderPoint("the public key is of low order; refuse the peer that sent it")
    return Secret(nacl.bindings.crypto_scalarmult(private.reveal(), public))


def is_low_order(public: bytes) -> bool:
    """Whether ``public`` encodes, canonically or not, a point whose order divides 8.

    Raises ValueError unless it has 32 bytes.
    """
    _check_length("public key", len(public))
    return (int.from_bytes(public, "little") % _HIGH_BIT) % _P in _LOW_ORDER_U


def is_canonical(public: bytes) -> bool:
    """Whether ``public`` is the one shortest encoding of its point (value below 2^255 - 19).

    X25519 takes several encodings of one point for the same key; comparing keys as byte strings
    is sound only among canonical ones. Raises ValueError unless it has 32 bytes.
    """
    _check_length("public key", len(public))
    return int.from_bytes(public, "little") < _P


def _check_length(what: str, length: int) -> None:
    if length != KEY_BYTES:
        raise ValueError(f"an X25519 {what} has {KEY_BYTES} bytes, not {length}")
