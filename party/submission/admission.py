"""The way in: a submission is judged as a whole, before any of it is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import final

from party.submission.body import BodyError, PatientData, SubmissionBody, decode_body
from party.submission.keyring import Keyring
from party.submission.opening import open_submission
from party.submission.posted import Posted, posted_records
from party.training.records import decode_record
from secagg.crypto.secret import Secret
from secagg.schema import FeatureSchema


class WrongSize(BodyError):
    """A batch of more patients than one hospital may bring to a round, or of none."""


@final
class Admission:
    """Judges by the hospital's keys and the policy. Blocking; safe on several threads at a time.

    ``digest_key``: as ``posted.digest_key`` gives it. ``max_patients``: the policy's, in one batch.
    """

    def __init__(
        self, keyring: Keyring, schema: FeatureSchema, max_patients: int, digest_key: Secret
    ) -> None:
        self._keyring = keyring
        self._schema = schema
        self._max_patients = max_patients
        self._digest_key = digest_key

    def admit(self, data: bytes) -> Posted:
        """The submission whose JSON is ``data``. Raises BodyError, OpeningError."""
        return self._judged(decode_body(data))

    def admit_plain(self, number: int, plaintexts: Sequence[bytes]) -> Posted:
        """Records that this node itself has read, as JSON; they are encrypted here.

        Raises BodyError, OpeningError, RecordError.
        """
        patients = tuple(
            PatientData(
                patient_id=decode_record(plaintext, position).patient_id,
                encrypted_data=self._keyring.encrypt(plaintext),
                data_hash=hashlib.sha256(plaintext).hexdigest(),
            )
            for position, plaintext in enumerate(plaintexts)
        )
        return self._judged(SubmissionBody(patients, number))

    def _judged(self, body: SubmissionBody) -> Posted:
        patients = len(body.patient_data_list)
        if not 1 <= patients <= self._max_patients:
            raise WrongSize(
                "patient_data_list",
                f"holds {patients} patients; the policy allows 1 to {self._max_patients} of one "
                f"hospital in a round: split it over several rounds",
            )
        # The rows are dropped at once: what is kept is ciphertext.
        keys = open_submission(body.patient_data_list, self._keyring, self._schema).keys
        return posted_records(body, self._digest_key, keys)
