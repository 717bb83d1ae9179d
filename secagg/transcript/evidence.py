"""A transcript, and what backs it, as messages: from the server to a hospital."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from secagg import context
from secagg.checks import Check
from secagg.errors import DecodeError, PeerViolation
from secagg.policy import Policy
from secagg.rounds.machine import SERVER, require
from secagg.transcript.recomputation import Recomputation
from secagg.transcript.record import MAX_TRANSCRIPT_BYTES, Transcript, decode, encode
from secagg.transcript.verification import verify_transcript
from secagg.wire.messages import (
    MaskedInputChunk,
    PublishedSum,
    TranscriptChunk,
    TranscriptStart,
)

PIECE: Final = 64 * 1024

TranscriptMessage = TranscriptStart | TranscriptChunk
EvidenceMessage = TranscriptMessage | MaskedInputChunk


@final
@dataclass(frozen=True, slots=True)
class Evidence:
    """Sent before a published sum; iterating again yields the same messages.

    ``masked_input``: client -> (start, packed bytes) of each chunk of its masked input.
    """

    transcript: Transcript
    masked_input: Callable[[int], Iterable[tuple[int, bytes]]] = field(repr=False)

    def __iter__(self) -> Iterator[EvidenceMessage]:
        yield from in_pieces(self.transcript.attempt.round, encode(self.transcript))
        session = self.transcript.attempt.session
        for u in self.transcript.u3:
            for start, data in self.masked_input(u):
                yield MaskedInputChunk(session, u, start, data)


def in_pieces(round_number: int, data: bytes) -> Iterator[TranscriptMessage]:
    """A transcript's bytes, piece by piece; nothing but a start without any."""
    yield TranscriptStart(round_number, len(data))
    for start in range(0, len(data), PIECE):
        yield TranscriptChunk(round_number, start, data[start : start + PIECE])


@final
class TranscriptIntake:
    """The bytes behind one TranscriptStart; never more than it may have under this policy."""

    def __init__(self, policy: Policy, start: TranscriptStart) -> None:
        """Raises PeerViolation if the server announces more than any transcript has."""
        self.round = start.round
        self._size = start.size
        self._data = bytearray()
        limit = min(MAX_TRANSCRIPT_BYTES, longest(policy))
        require(start.size <= limit, Check.STREAM_IN_ORDER, SERVER, f"a transcript of {start.size}")

    def receive(self, chunk: TranscriptChunk) -> Transcript | None:
        """Take the next chunk; the transcript when it is whole. Raises PeerViolation."""
        end = len(self._data) + len(chunk.data)
        require(
            (chunk.round, chunk.start) == (self.round, len(self._data)) and end <= self._size,
            Check.STREAM_IN_ORDER,
            SERVER,
            f"bytes of a transcript from {chunk.start} on",
        )
        self._data += chunk.data
        if end < self._size:
            return None
        try:
            return decode(bytes(self._data))
        except DecodeError as error:
            raise PeerViolation(Check.STREAM_IN_ORDER, SERVER, str(error)) from None


@final
class EvidenceIntake:
    """What a hospital is sent in support of one published sum, verified as it comes."""

    def __init__(self, policy: Policy, published: PublishedSum) -> None:
        self._policy = policy
        self._published = published
        self._intake: TranscriptIntake | None = None
        self._recomputation: Recomputation | None = None
        #: The verified transcript, once it is whole.
        self.transcript: Transcript | None = None

    def receive(self, message: EvidenceMessage) -> None:
        """Take the next message. Raises PeerViolation for what does not support this very sum."""
        match message:
            case TranscriptStart() if self._intake is None:
                self._intake = TranscriptIntake(self._policy, message)
            case TranscriptChunk() if self._intake is not None and self.transcript is None:
                transcript = self._intake.receive(message)
                if transcript is not None:
                    self._verified(transcript)
            case MaskedInputChunk(session=session) if self._recomputation is not None:
                ours = context.attempt_of(self._published).session
                require(session == ours, Check.SESSION_MATCHES, SERVER)
                self._recomputation.receive(message.u, message.start, message.data)
            case _:
                require(False, Check.STREAM_IN_ORDER, SERVER, type(message).__name__)

    def recomputed(self) -> NDArray[np.int64]:
        """The sum as the masked inputs give it: int64, shape (d,). Raises PeerViolation."""
        recomputation = self._recomputation
        if recomputation is None:
            raise PeerViolation(Check.SUM_RECOMPUTED, SERVER, "no evidence came with the sum")
        return recomputation.total()

    def _verified(self, transcript: Transcript) -> None:
        verify_transcript(transcript, self._policy)
        same = transcript.published == self._published
        require(same, Check.SUM_RECOMPUTED, SERVER, "the transcript is of another sum")
        self.transcript = transcript
        self._recomputation = Recomputation(transcript, self._policy)


def longest(policy: Policy) -> int:
    """Bytes that no transcript under ``policy`` exceeds."""
    each_client = 1024 + 34 * policy.n  # signatures and digests; a seed per possible dropout
    return 2**16 + policy.n * each_client + 8 * policy.vector.dimension
