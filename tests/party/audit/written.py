"""Audit logs for the tests: written line by line, without a database."""

from __future__ import annotations

from collections.abc import Sequence

from party.audit.events import (
    Event,
    PrivacyCharged,
    RefusalReason,
    RoundCertified,
    RoundEntered,
    Started,
    SubmissionAccepted,
    SubmissionRefused,
)
from party.audit.line import SALT_BYTES, Body, Head, Line, Place, encode, head_of, sealed
from secagg.crypto.randomness import SeededRandomness
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey

ANNA = IdentityKey(Secret(b"a" * 32))
BERTA = IdentityKey(Secret(b"b" * 32))


def started(identity: IdentityKey, hospital: str = "anna") -> Started:
    return Started(hospital, identity.public, bytes(32), "0.1.0")


STORY: tuple[Event, ...] = (
    started(ANNA),
    SubmissionRefused(RefusalReason.DATA_HASH, 4),
    SubmissionAccepted(1, 4, "records", b"k" * 32, 12, 9000, replaced=False),
    RoundEntered(4, 1, b"s" * 32, 1),
    PrivacyCharged(4, 1, b"s" * 32, 10**6, 4 * 10**6, 24),
    RoundCertified(4, 1, b"m" * 32, (1, 2, 4)),
    SubmissionRefused(RefusalReason.QUEUE_FULL),
)
"""A short log in which every kind of field occurs."""


def written(
    events: Sequence[Event] = STORY,
    identity: IdentityKey = ANNA,
    *,
    after: Sequence[Line] = (),
    seed: bytes = b"t" * 32,
) -> list[Line]:
    """``after`` with one line more for each event."""
    randomness = SeededRandomness(seed)
    lines = list(after)
    for event in events:
        place = Place(lines[-1].seq, lines[-1].hash) if lines else Place()
        body = Body(
            seq=place.seq + 1,
            time="2026-11-24T10:00:00Z",
            event=event.NAME,
            fields=event.fields(),
            salt=randomness.draw(SALT_BYTES).hex(),
            previous=place.hash,
        )
        lines.append(sealed(body, identity))
    return lines


def file_lines(lines: Sequence[Line]) -> list[bytes]:
    """As they stand in the file."""
    return [encode(line) + b"\n" for line in lines]


def head(lines: Sequence[Line], number: int | None = None, identity: IdentityKey = ANNA) -> Head:
    """The head after ``number`` lines, all of them by default."""
    return head_of(lines[(number or len(lines)) - 1], identity.public.hex())
