"""Large things that come from the server in pieces: the published sum, a certified model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from secagg.checks import Check
from secagg.crypto.hashing import Label
from secagg.errors import DecodeError, PeerViolation
from secagg.model import ModelSpec, canonical_size, decode, model_hash
from secagg.policy import Policy
from secagg.rounds.machine import SERVER, require
from secagg.rounds.r5_certification import SumReceived
from secagg.transcript.evidence import EvidenceIntake, TranscriptIntake
from secagg.vector.ring import Words
from secagg.vector.stream import StreamError, VectorReceiver
from secagg.wire.messages import (
    Announcement,
    Certificate,
    ModelChunk,
    ModelStart,
    SumAnnouncement,
    VectorChunk,
)


@final
class SumIntake:
    """The chunks behind one SumAnnouncement; never more than the policy's dimension in memory."""

    def __init__(self, policy: Policy, announcement: SumAnnouncement) -> None:
        self._policy = policy
        self._announcement = announcement
        self._receiver = VectorReceiver(Label.SUM, policy.ring, policy.vector.dimension)
        self._parts: list[Words] = []

    @property
    def session(self) -> bytes:
        """The session that the sum was announced for."""
        return self._announcement.session

    def receive(self, chunk: VectorChunk) -> SumReceived | None:
        """Take the next chunk; the sum when it is whole. Raises PeerViolation."""
        require(chunk.session == self.session, Check.SESSION_MATCHES, SERVER)
        try:
            self._parts.append(self._receiver.receive(chunk.start, chunk.data))
        except StreamError as error:
            raise PeerViolation(Check.STREAM_IN_ORDER, SERVER, str(error)) from None
        if not self._receiver.complete:
            return None
        total = self._policy.ring.decode(np.concatenate(self._parts))
        return SumReceived(self._announcement, total)


@final
class ModelIntake:
    """The bytes behind one ModelStart; its length is the one that the policy's model has."""

    def __init__(self, spec: ModelSpec, start: ModelStart) -> None:
        """Raises PeerViolation if the server announces another length."""
        self._spec = spec
        self._data = bytearray()
        self.certificate = start.certificate
        require(
            start.size == canonical_size(spec),
            Check.STREAM_IN_ORDER,
            SERVER,
            f"a model of {start.size} bytes",
        )

    def receive(self, chunk: ModelChunk) -> bytes | None:
        """Take the next chunk; the canonical bytes when they are whole, and have the certified
        hash. Raises PeerViolation.
        """
        end = len(self._data) + len(chunk.data)
        require(
            chunk.start == len(self._data) and end <= canonical_size(self._spec),
            Check.STREAM_IN_ORDER,
            SERVER,
            f"model bytes from {chunk.start} on",
        )
        self._data += chunk.data
        if end < canonical_size(self._spec):
            return None
        data = bytes(self._data)
        try:
            held = model_hash(decode(data, self._spec))
        except DecodeError as error:
            raise PeerViolation(Check.CERTIFICATE_HASH, SERVER, str(error)) from None
        require(held == self.certificate.model_hash, Check.CERTIFICATE_HASH, SERVER)
        return data


@dataclass(slots=True)
class Arriving:
    """What is under way on one connection; it goes with the connection.

    ``sum``, ``model``: the intakes. ``skipped_sum``, ``skipped_model``: whose chunks are let pass,
    the sum or model being held or refused already. ``wanted``: the certificate whose model was
    asked for; ``announcement``: an attempt that starts from that model, put off until it is here.
    ``evidence``: for the sum; ``evidence_due``: between a sum's announcement and its first chunk,
    when whatever comes of a transcript is that. ``transcript``: one that was asked for.
    """

    sum: SumIntake | None = None
    skipped_sum: bytes | None = None
    model: ModelIntake | None = None
    skipped_model: bool = False
    wanted: Certificate | None = None
    announcement: Announcement | None = None
    evidence: EvidenceIntake | None = None
    evidence_due: bool = False
    transcript: TranscriptIntake | None = None
