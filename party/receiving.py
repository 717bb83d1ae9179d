"""What a node takes from its own hospital, by the unit that the policy protects."""

from __future__ import annotations

from dataclasses import dataclass

from party.audit.log import AuditLog
from party.queue import Training
from party.submission.admission import Admission
from party.submission.keyring import Keyring
from party.submission.posted import digest_key
from party.submission.trainer import Trainer
from party.submission.waiting_update import Updates
from secagg.crypto.randomness import Randomness
from secagg.model import ModelSpec
from secagg.policy import Policy
from secagg.rounds.machine import Hospital
from secagg.schema import FeatureSchema


@dataclass(frozen=True, slots=True)
class Receiving:
    """What judges submissions, and what makes vectors of those that were queued.

    There is one of ``admission`` (of records) and ``updates``; ``training`` refuses what was queued
    as the other kind, under another policy.
    """

    training: Training
    admission: Admission | None = None
    updates: Updates | None = None

    @classmethod
    def under(
        cls,
        policy: Policy,
        spec: ModelSpec,
        schema: FeatureSchema | None,
        hospital: Hospital,
        keyring: Keyring,
        randomness: Randomness,
        audit: AuditLog,
    ) -> Receiving:
        """Records if ``schema`` says how they are read, for a patient is the unit then; else
        updates.
        """
        if schema is None:
            updates = Updates(hospital.journal_key, policy.digest(), spec, randomness)
            return cls(updates, updates=updates)
        most = spec.contribution.max_patients
        admission = Admission(keyring, schema, most, digest_key(hospital.journal_key))
        return cls(Trainer(keyring, schema, spec, audit), admission)
