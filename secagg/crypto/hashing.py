"""The one way in which this protocol hashes: labelled, with every part length-prefixed.

All domain labels stand in :class:`Label`, so no two uses of SHA-256, HKDF or Ed25519 can ever be
confused with one another.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum, unique
from typing import Final, final

DIGEST_BYTES: Final = 32
"""Length of every digest (SHA-256)."""


@unique
class Label(StrEnum):
    """What a hash, a derived key or a signature is for. The ``1`` in each value is the suite."""

    SESSION = "secagg/1/session"
    POLICY = "secagg/1/policy"
    ADVERTISEMENT = "secagg/1/advertisement"
    ROSTER = "secagg/1/roster"
    SHARE_LEAF = "secagg/1/share leaf"
    SHARES = "secagg/1/shares"
    SHARE_COMMITMENT = "secagg/1/share commitment"
    SELF_MASK_COMMITMENT = "secagg/1/self-mask commitment"
    SHARE_KEYS = "secagg/1/share keys"
    U2 = "secagg/1/U2"
    U3 = "secagg/1/U3"
    CHANNEL_KEY = "secagg/1/channel key"
    CHANNEL_KEY_LEAF = "secagg/1/channel key leaf"
    CHANNEL = "secagg/1/channel"
    PAIRWISE_SEED = "secagg/1/pairwise seed"
    SELF_MASK = "secagg/1/self mask"
    MASK_KEY = "secagg/1/mask key"
    MASKED_INPUT = "secagg/1/masked input"
    SURVIVOR = "secagg/1/survivor"
    ANSWER = "secagg/1/answer"
    OPENED_SHARES = "secagg/1/opened shares"
    SUM = "secagg/1/sum"
    CERTIFICATE = "secagg/1/certificate"
    ABANDONMENT = "secagg/1/abandonment"
    MODEL = "secagg/1/model"
    HELLO = "secagg/1/hello"
    ANNOUNCEMENT = "secagg/1/announcement"
    COMPLAINT = "secagg/1/complaint"
    NOISE = "secagg/1/noise"
    JOURNAL_KEY = "secagg/1/journal key"
    AUDIT_ENTRY = "secagg/1/audit entry"
    AUDIT_HEAD = "secagg/1/audit head"
    SUBMISSION_KEY = "secagg/1/submission key"
    SUBMISSION = "secagg/1/submission"
    EHR_KEY = "secagg/1/EHR key"
    UPDATE_KEY = "secagg/1/update key"
    UPDATE = "secagg/1/update"
    ENROLLMENT = "secagg/1/enrollment"
    TRANSCRIPT = "secagg/1/transcript"
    SEEDED_RANDOMNESS = "secagg/1/seeded randomness"
    SEEDED_RANDOMNESS_FORK = "secagg/1/seeded randomness fork"


def u64(value: int) -> bytes:
    """``value`` as 8 bytes, big-endian. Raises ValueError outside 0 .. 2^64 - 1."""
    if not 0 <= value < 1 << 64:
        raise ValueError(f"{value} does not fit 64 unsigned bits")
    return value.to_bytes(8, "big")


def encode(label: Label, *parts: bytes) -> bytes:
    """``u64(len) || bytes`` of the label and then of each part.

    Injective: the label, the number of parts and each part can be read back from the result.
    """
    pieces: list[bytes] = []
    for part in (label.encode("ascii"), *parts):
        pieces += (u64(len(part)), part)
    return b"".join(pieces)


def digest(label: Label, *parts: bytes) -> bytes:
    """SHA-256 of :func:`encode`, 32 bytes."""
    return hashlib.sha256(encode(label, *parts)).digest()


@final
class Digest:
    """``digest(label, part)`` of one long part that arrives in pieces.

    The part's length in bytes is hashed before its content, so it must be known from the start.
    """

    __slots__ = ("_hash", "_missing")

    def __init__(self, label: Label, total_length: int) -> None:
        self._hash = hashlib.sha256(encode(label) + u64(total_length))
        self._missing = total_length

    def update(self, piece: bytes | bytearray | memoryview) -> None:
        """Hash the next piece. Raises ValueError, hashing nothing, beyond the announced length."""
        view = memoryview(piece)
        if view.nbytes > self._missing:
            raise ValueError(
                f"the part is longer than announced: {view.nbytes} bytes where at most "
                f"{self._missing} are missing"
            )
        self._hash.update(view)
        self._missing -= view.nbytes

    def finish(self) -> bytes:
        """The digest, 32 bytes. Raises ValueError while bytes of the part are missing."""
        if self._missing:
            raise ValueError(
                f"the part is shorter than announced: {self._missing} bytes are missing"
            )
        return self._hash.digest()
