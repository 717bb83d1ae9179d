"""What a hospital's journal must hold before a message leaves, and what it must then remember.

The core says *what* is durable; where (SQLite, in the party) is not its business. Entries hold no
secret in clear: the unmasking answer is sealed under the hospital's journal key.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from secagg.context import Attempt
from secagg.wire.messages import Certificate, PublishedSum


@dataclass(frozen=True, slots=True)
class Entered:
    """Before AdvertiseKeys: this attempt is entered. Erases the sealed answer of an earlier one."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Charged:
    """Before the first masked byte: the attempt's privacy cost is charged. May be refused."""

    attempt: Attempt
    u2_hash: bytes


@dataclass(frozen=True, slots=True)
class SurvivorSigned:
    """Before the survivor signature: what a restarted client needs to finish this attempt."""

    attempt: Attempt
    u2_hash: bytes
    u3: tuple[int, ...]
    signature: bytes
    sealed_answer: bytes


@dataclass(frozen=True, slots=True)
class AnswerReleased:
    """Before the unmasking answer: from here on, no other attempt of this training round."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class CertificateSigned:
    """Before the certificate signature: one per training round, kept until certified."""

    session: bytes
    published: PublishedSum
    model_hash: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Certified:
    """The round is certified; its sealed answer is erased."""

    certificate: Certificate


@dataclass(frozen=True, slots=True)
class AbandonmentSigned:
    """Before the abandonment signature: this hospital enters and answers nothing there any more."""

    round: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The round is abandoned; its sealed answer is erased."""

    round: int


Entry = (
    Entered
    | Charged
    | SurvivorSigned
    | AnswerReleased
    | CertificateSigned
    | Certified
    | AbandonmentSigned
    | Abandoned
)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a hospital's journal says about where it stands: the summary of all its entries.

    ``entered``: the highest (round, attempt). ``closed``: the highest round that is certified or
    abandoned. ``answered``, ``signed``: the open round, if any, in which an unmasking answer was
    released, a certificate signed. ``abandoning``: the highest open round whose abandonment is
    signed; every earlier one ends with it. ``charged``: attempts charged since the last
    certificate.
    """

    entered: tuple[int, int] = (0, 0)
    closed: int = 0
    answered: int | None = None
    signed: int | None = None
    abandoning: int | None = None
    charged: int = 0

    def after(self, entry: Entry) -> Standing:
        """The standing once ``entry`` is durable too."""
        match entry:
            case Entered(attempt):
                return replace(self, entered=max(self.entered, (attempt.round, attempt.attempt)))
            case Charged():
                return replace(self, charged=self.charged + 1)
            case SurvivorSigned():
                return self
            case AnswerReleased(attempt):
                return replace(self, answered=attempt.round)
            case CertificateSigned(published=published):
                return replace(self, signed=published.round)
            case AbandonmentSigned(round=number):
                return replace(self, abandoning=max(number, self.abandoning or 0))
            case Certified(certificate):
                # A certificate seen again is no reason to charge anew.
                newer = certificate.round > self.closed
                return replace(
                    self._closing(certificate.round), charged=0 if newer else self.charged
                )
            case Abandoned(round=number):
                return self._closing(number)

    def _closing(self, number: int) -> Standing:
        closed = max(self.closed, number)

        def still_open(other: int | None) -> int | None:
            return other if other is not None and other > closed else None

        return replace(
            self,
            closed=closed,
            answered=still_open(self.answered),
            signed=still_open(self.signed),
            abandoning=still_open(self.abandoning),
        )
