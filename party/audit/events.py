"""What the audit log records: one event for each decision of the node.

An event holds numbers, counts, names from the policy, hashes of what the whole consortium sees,
and *keyed* digests of anything else. Never content, and never an unkeyed digest of something that
could be guessed: whoever reads the log could then test guesses about a patient (ADR 0068).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import ClassVar

FieldValue = bool | int | str | list[int] | None


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events; ``NAME`` is what the log calls it."""

    NAME: ClassVar[str]

    def fields(self) -> dict[str, FieldValue]:
        """The line's fields: as declared, bytes in hex."""
        return {each.name: _plain(getattr(self, each.name)) for each in fields(self)}


def _plain(value: bool | int | str | bytes | tuple[int, ...] | None) -> FieldValue:
    match value:
        case bytes():
            return value.hex()
        case StrEnum():
            return value.value
        case tuple():
            return list(value)
        case _:
            return value


# --- the node ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started(Event):
    """The node runs, as this hospital, under this policy. Lines from here on are signed by
    ``identity_key``; the first line of every log is one of these.
    """

    NAME: ClassVar = "started"

    hospital: str
    identity_key: bytes
    policy_digest: bytes
    version: str


@dataclass(frozen=True, slots=True)
class Stopped(Event):
    """The node was told to stop, and did."""

    NAME: ClassVar = "stopped"


# --- submissions ---------------------------------------------------------------------------------


class RefusalReason(StrEnum):
    """Why a submission was refused. The caller was told more; this is all that is kept."""

    DECRYPTION_FAILED = "decryption failed"
    DATA_HASH = "data_hash"
    INVALID_RECORD = "invalid record"
    DUPLICATE_PATIENT = "duplicate patient"
    TOO_MANY_PATIENTS = "too many patients"
    INVALID_UPDATE = "invalid update"
    MALFORMED = "malformed request"
    TOO_LARGE = "too large"
    QUEUE_FULL = "queue full"
    ROUND_TOO_FAR = "round number too far ahead"
    IN_FLIGHT = "in flight"
    BUDGET_EXHAUSTED = "budget exhausted"
    NOT_TAKING_PART = "not taking part"
    STANDING_BATCH = "the node trains on a standing batch"
    OTHER_UNIT = "the policy protects another unit"
    STALE_UPDATE = "stale update"


@dataclass(frozen=True, slots=True)
class SubmissionAccepted(Event):
    """A batch was queued. ``batch``: its keyed digest. ``replaced``: another one of the same number
    had to make room.
    """

    NAME: ClassVar = "submission accepted"

    submission: int
    round: int
    kind: str
    batch: bytes
    patients: int
    encrypted_bytes: int
    replaced: bool


@dataclass(frozen=True, slots=True)
class SubmissionRefused(Event):
    """A submission was refused, whole. ``round``: as posted, if that could be read."""

    NAME: ClassVar = "submission refused"

    reason: RefusalReason
    round: int | None = None


class KeyPurpose(StrEnum):
    """What a key of the hospital was used for."""

    VALIDATE_SUBMISSION = "validate a submission"
    TRAIN = "train"
    SCHEDULED_ENCRYPTION = "encrypt a scheduled batch"


@dataclass(frozen=True, slots=True)
class KeyUsed(Event):
    """The hospital's record keys opened (or sealed) one batch.

    ``keys``: fingerprints of the keys that fitted, newest first, separated by spaces.
    """

    NAME: ClassVar = "key used"

    purpose: KeyPurpose
    keys: str
    round: int | None = None
    submission: int | None = None


# --- rounds: one event for each kind of journal entry --------------------------------------------


@dataclass(frozen=True, slots=True)
class RoundEntered(Event):
    """This hospital enters an attempt. ``submission``: whose batch it is, if one was posted."""

    NAME: ClassVar = "round entered"

    round: int
    attempt: int
    session: bytes
    submission: int | None


@dataclass(frozen=True, slots=True)
class PrivacyCharged(Event):
    """The attempt's privacy cost was charged, and its masked vector may leave from here on.

    ``rho_*`` in units of 10^-9 zCDP, toward the server and toward everybody else together; null
    under a policy without noise. ``samples``: noise samples, whose variation is paid from delta.
    """

    NAME: ClassVar = "privacy charged"

    round: int
    attempt: int
    session: bytes
    rho_sum: int | None
    rho_own: int | None
    samples: int | None


@dataclass(frozen=True, slots=True)
class ChargeRefused(Event):
    """The budget did not allow an attempt: nothing of it was recorded, and nothing left."""

    NAME: ClassVar = "charge refused"

    round: int
    attempt: int


@dataclass(frozen=True, slots=True)
class SurvivorsSigned(Event):
    """This hospital signed who is in the sum. ``survivors``: their numbers in the policy."""

    NAME: ClassVar = "survivors signed"

    round: int
    attempt: int
    session: bytes
    survivors: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AnswerReleased(Event):
    """The unmasking answer may leave: the sum of this attempt can become known."""

    NAME: ClassVar = "answer released"

    round: int
    attempt: int
    session: bytes


@dataclass(frozen=True, slots=True)
class ModelSigned(Event):
    """This hospital signed the hash of the model that it computed from the published sum."""

    NAME: ClassVar = "model signed"

    round: int
    attempt: int
    model_hash: bytes


@dataclass(frozen=True, slots=True)
class RoundCertified(Event):
    """A round is certified. ``survivors``: whose batches are in it, by number in the policy."""

    NAME: ClassVar = "round certified"

    round: int
    attempt: int
    model_hash: bytes
    survivors: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AbandonmentSigned(Event):
    """This hospital signed that a round ends without a model."""

    NAME: ClassVar = "abandonment signed"

    round: int


@dataclass(frozen=True, slots=True)
class RoundAbandoned(Event):
    """A round has ended without a model."""

    NAME: ClassVar = "round abandoned"

    round: int


# --- taking part ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OptedOut(Event):
    """The hospital left. ``withdrawn``: queued batches that were removed."""

    NAME: ClassVar = "opted out"

    withdrawn: int


@dataclass(frozen=True, slots=True)
class Returned(Event):
    """The hospital takes part again."""

    NAME: ClassVar = "returned"
