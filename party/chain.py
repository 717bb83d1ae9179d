"""The chain of certified models, as far as this hospital has it: one model and its certificate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from party.journal import Journal
from party.models import ModelStore, StoredModel
from secagg.checks import Check
from secagg.crypto.randomness import Randomness
from secagg.errors import LocalMisuse, PeerViolation
from secagg.model import Model, ModelSpec, apply, canonical_bytes, decode, initial, model_hash
from secagg.rounds.journal import Certified, Entry
from secagg.rounds.machine import Hospital
from secagg.rounds.r5_certification import check_certificate, restore_signed
from secagg.rounds.session import ClientSession
from secagg.wire.messages import (
    Certificate,
    CertificateNotice,
    ModelChunk,
    ModelStart,
    Refusal,
    Wire,
)


@dataclass(frozen=True, slots=True)
class HeldModel:
    """One model and its hash; replaced as one, so that other threads read a pair that fits."""

    model_hash: bytes
    model: Model


@final
class Chain:
    """``held``: the newest certified one that this hospital knows, or the policy's first."""

    def __init__(
        self,
        hospital: Hospital,
        spec: ModelSpec,
        journal: Journal,
        models: ModelStore,
        randomness: Randomness,
    ) -> None:
        """Take up the journal's newest certificate; ``spec`` is the policy's model.

        Raises LocalMisuse if the database has lost the model's bytes.
        """
        self._hospital = hospital
        self._journal = journal
        self._models = models
        self._randomness = randomness
        self.spec = spec
        self.held = self._restored()
        #: Whether the newest certificate contradicts what this hospital computed and signed.
        self.disputed = False

    @property
    def updates(self) -> int:
        """How many certified rounds have gone into the model."""
        return int(self.held.model["updates"])

    def is_newer(self, certificate: Certificate) -> bool:
        """Whether ``certificate`` is of a later round than the newest one held."""
        held = self._journal.certificate
        return held is None or certificate.round > held.round

    def check(self, certificate: Certificate) -> Sequence[Entry]:
        """What accepting ``certificate`` makes durable. Raises PeerViolation.

        A certificate that contradicts the model which this hospital itself computed and signed is
        not accepted, whoever else has signed it; only a later round's is.
        """
        signed = self._journal.resumable.signed
        if signed is None or signed.published.round != certificate.round:
            check_certificate(self._hospital.policy, certificate)
            return (Certified(certificate),)
        session = ClientSession(restore_signed(self._hospital, signed))
        try:
            return session.handle(CertificateNotice(certificate), self._randomness)
        except PeerViolation as violation:
            self.disputed = violation.check is Check.CERTIFICATE_HASH
            raise

    def bytes_of(self, certificate: Certificate) -> bytes | None:
        """The certified model's bytes, if this hospital has computed or received them."""
        return self._models.get(certificate.model_hash)

    def adopt(self, certificate: Certificate, data: bytes) -> None:
        """Hold the certified model from now on; ``data`` has its hash. Raises PeerViolation."""
        entries = self.check(certificate)
        self._journal.record(entries, model=StoredModel(certificate.model_hash, data))
        self.held = HeldModel(certificate.model_hash, decode(data, self.spec))
        self.disputed = False

    def next(self, total: NDArray[np.int64]) -> StoredModel:
        """The model that a published sum makes of the held one. Raises LocalMisuse."""
        model = apply(self.held.model, total, self.spec)
        return StoredModel(model_hash(model), canonical_bytes(model))

    def serve(self, wanted: bytes) -> Iterator[Wire]:
        """The held model for the server, piece by piece, with the certificate that proves it."""
        certificate = self._journal.certificate
        if certificate is None or certificate.model_hash != wanted:
            yield Refusal(f"the model {wanted.hex()} is not the newest one certified here")
            return
        yield ModelStart(certificate, self._models.size(wanted) or 0)
        for start, data in self._models.pieces(wanted):
            yield ModelChunk(start, data)

    def _restored(self) -> HeldModel:
        certificate = self._journal.certificate
        if certificate is None:
            first = initial(self.spec)
            return HeldModel(model_hash(first), first)
        data = self.bytes_of(certificate)
        if data is None:
            raise LocalMisuse(
                f"the database lacks the certified model {certificate.model_hash.hex()}: "
                f"restore the state directory from your backup"
            )
        return HeldModel(certificate.model_hash, decode(data, self.spec))
