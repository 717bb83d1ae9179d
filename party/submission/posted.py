"""What is kept of an accepted submission: the hospital's own ciphertext, and what tells it apart.

Fernet tokens differ each time the same record is encrypted, so two submissions are the same if
their patients' plaintext hashes are. A plain hash of a short record could be guessed from, so what
is stored is a digest of them all together, under a key that only this node has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from party.submission.body import SubmissionBody
from secagg.crypto.hashing import Label, encode, u64
from secagg.crypto.kdf import derive
from secagg.crypto.secret import Secret

Kind: TypeAlias = Literal["records", "update"]


@dataclass(frozen=True, slots=True)
class Posted:
    """An accepted submission, ready for the queue.

    number: the training round that it was posted for. digest: 32 bytes, equal for the same content
    under the same number. payload: ciphertext, as ``trainer`` reads it. patients: how many it
    holds, 0 if that is unknown. encrypted_bytes: length of all that was encrypted. keys:
    fingerprints of the keys that opened it.
    """

    number: int
    kind: Kind
    digest: bytes = field(repr=False)
    payload: bytes = field(repr=False)
    patients: int
    encrypted_bytes: int
    keys: tuple[str, ...] = ()


def digest_key(journal_key: Secret) -> Secret:
    """The key of every ``Posted.digest`` of one node."""
    return derive(journal_key, Label.SUBMISSION_KEY)


def content_digest(key: Secret, kind: Kind, number: int, hashes: Sequence[bytes]) -> bytes:
    """HMAC-SHA256 over the kind, the number and ``hashes``, whose order does not matter."""
    mac = HMAC(key.reveal(), SHA256())
    mac.update(encode(Label.SUBMISSION, kind.encode(), u64(number), *sorted(hashes)))
    return mac.finalize()


def posted_records(body: SubmissionBody, key: Secret, keys: tuple[str, ...] = ()) -> Posted:
    """``body``, which ``open_submission`` has found good, with the ``keys`` that opened it.

    ``key``: as ``digest_key`` gives it.
    """
    patients = body.patient_data_list
    hashes = [bytes.fromhex(patient.data_hash) for patient in patients]
    tokens = [patient.encrypted_data for patient in patients]
    return Posted(
        number=body.round_number,
        kind="records",
        digest=content_digest(key, "records", body.round_number, hashes),
        payload=msgspec.msgpack.encode(tokens),
        patients=len(patients),
        encrypted_bytes=sum(map(len, tokens)),
        keys=keys,
    )


def tokens_of(payload: bytes) -> tuple[str, ...]:
    """The Fernet tokens of a ``records`` payload. Raises msgspec.DecodeError if it is none."""
    return msgspec.msgpack.decode(payload, type=tuple[str, ...])
