"""Key derivation: HKDF-SHA256 (RFC 5869), through cryptography."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from secagg.crypto.hashing import Label, encode
from secagg.crypto.secret import Secret

MAX_BYTES: Final = 255 * 32
"""The longest output that HKDF-SHA256 can give."""


def derive(secret: Secret, label: Label, *parts: bytes, length: int = 32) -> Secret:
    """``length`` bytes from ``secret`` for the use that ``label`` and ``parts`` name.

    HKDF-SHA256 without salt, info = ``encode(label, *parts)``. Raises ValueError unless
    ``1 <= length <= 8160``.
    """
    return _hkdf(secret, None, encode(label, *parts), length)


def _hkdf(secret: Secret, salt: bytes | None, info: bytes, length: int) -> Secret:
    if not 1 <= length <= MAX_BYTES:
        raise ValueError(f"HKDF-SHA256 gives 1 to {MAX_BYTES} bytes, not {length}")
    return Secret(HKDF(SHA256(), length, salt, info).derive(secret.reveal()))
