"""From tokens to rows of numbers: once to judge a submission, once more to train on it.

Records are opened one by one, in order; the first thing that is wrong refuses them all.
"""

from __future__ import annotations

import hashlib
import hmac
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum, unique

from party.submission.body import PatientData
from party.submission.keyring import MAX_TOKEN_LENGTH, DecryptionFailed, Keyring, Opened
from party.training.features import Batch, read_batch
from party.training.records import MAX_RECORD_BYTES, Record, RecordError, decode_record
from secagg.schema import FeatureSchema


@unique
class Fault(StrEnum):
    """In what way a submission is refused."""

    DECRYPTION = "decryption failed"
    DATA_HASH = "data_hash"
    RECORD = "invalid record"
    TWICE = "duplicate patient"


class OpeningError(ValueError):
    """A submission is refused for one of its patients.

    The text names the place and how to mend it, never a value. ``patient_id``, as it was sent, is
    for the answer to the sender alone; None if it is unknown. ``field``: of the record or of its
    entry in the list, such as ``vitals.bp`` or ``data_hash``; "" for the record as a whole.
    """

    def __init__(
        self, fault: Fault, position: int, field: str, problem: str, patient_id: str | None = None
    ) -> None:
        self.fault = fault
        self.position = position
        self.field = field
        self.problem = problem
        self.patient_id = patient_id
        place = f"record {position}, {field}" if field else f"record {position}"
        super().__init__(f"{place}: {problem}")


@dataclass(frozen=True, slots=True)
class OpenedBatch:
    """The rows of a submission; ``keys``: fingerprints of the keys that opened it, sorted."""

    batch: Batch = field(repr=False)
    keys: tuple[str, ...]


def open_submission(
    patients: Sequence[PatientData], keyring: Keyring, schema: FeatureSchema
) -> OpenedBatch:
    """The rows of a submission in which everything is as it should be. Raises OpeningError.

    Each token must open, to the bytes of ``data_hash``, to a record of the very patient that is
    named beside it, which the schema can read; and no patient may stand in it twice.
    """
    records: list[Record] = []
    keys: set[str] = set()
    seen: set[str] = set()
    for position, patient in enumerate(patients):
        opened = _decrypted(keyring, patient.encrypted_data, position, patient.name)
        if not _has_hash(opened.plaintext, patient.data_hash):
            raise OpeningError(
                Fault.DATA_HASH,
                position,
                "data_hash",
                "is not the SHA-256 of what encrypted_data decrypts to: hash the very bytes that "
                "you encrypt, and send 64 hexadecimal digits",
                patient.name,
            )
        record = _record(opened.plaintext, position, patient.name)
        if record.patient_id != patient.name:
            raise OpeningError(
                Fault.RECORD,
                position,
                "patient_id",
                "differs from the one inside the encrypted record; send the same one in both",
                patient.name,
            )
        if record.patient_id in seen:
            raise OpeningError(
                Fault.TWICE,
                position,
                "patient_id",
                "the same patient stands in this batch twice; send one record per patient",
                patient.name,
            )
        seen.add(record.patient_id)
        keys.add(opened.key)
        records.append(record)
    return OpenedBatch(_rows(records, schema), tuple(sorted(keys)))


def open_batch(tokens: Sequence[str], keyring: Keyring, schema: FeatureSchema) -> OpenedBatch:
    """The rows of a submission that was accepted before. Raises OpeningError."""
    records: list[Record] = []
    keys: set[str] = set()
    for position, token in enumerate(tokens):
        opened = _decrypted(keyring, token, position, None)
        keys.add(opened.key)
        records.append(_record(opened.plaintext, position, None))
    return OpenedBatch(_rows(records, schema), tuple(sorted(keys)))


def _decrypted(keyring: Keyring, token: str, position: int, patient_id: str | None) -> Opened:
    if len(token) > MAX_TOKEN_LENGTH:
        raise OpeningError(
            Fault.RECORD,
            position,
            "encrypted_data",
            f"is longer than the token of a record of {MAX_RECORD_BYTES} bytes; send one patient's "
            f"record, without images or documents",
            patient_id,
        )
    try:
        return keyring.decrypt(token)
    except DecryptionFailed:
        raise OpeningError(
            Fault.DECRYPTION,
            position,
            "encrypted_data",
            "decryption failed: no key of this node opens the token. Encrypt with a key of its "
            "fernet_key_file (the newest is on top), and send the token unaltered",
            patient_id,
        ) from None


def _has_hash(plaintext: bytes, data_hash: str) -> bool:
    expected = hashlib.sha256(plaintext).hexdigest().encode()
    # White space that bytes.fromhex skips, too, and no other: a no-break space is no hash.
    return hmac.compare_digest(expected, data_hash.strip(string.whitespace).lower().encode())


def _record(plaintext: bytes, position: int, patient_id: str | None) -> Record:
    try:
        return decode_record(plaintext, position)
    except RecordError as error:
        raise _refused(error, patient_id) from None


def _rows(records: Sequence[Record], schema: FeatureSchema) -> Batch:
    try:
        return read_batch(records, schema)
    except RecordError as error:
        raise _refused(error, error.patient_id) from None


def _refused(error: RecordError, patient_id: str | None) -> OpeningError:
    return OpeningError(Fault.RECORD, error.position, error.field, error.problem, patient_id)
