from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from cryptography.fernet import Fernet

from benchmarks.heart_disease.policy import model_spec, schema
from party.audit.log import AuditLog
from party.batches import BatchError
from party.ledger import Cost
from party.submission.keyring import Keyring
from party.submission.trainer import Trainer
from party.training.features import read_batch
from party.training.gradient import contribution
from party.training.records import decode_record
from secagg.model import initial
from tests.party.consortium import Consortium
from tests.party.ehr import entry

SPEC = model_spec()
FIRST = {"patient_id": "PATIENT_001", "age": 45, "diagnosis": "heart disease"}


@pytest.fixture
def trainer(keyring: Keyring) -> Trainer:
    return Trainer(keyring, schema(), SPEC)


def payload(fernet: Fernet, *records: dict[str, object]) -> bytes:
    return msgspec.msgpack.encode([entry(fernet, each)["encrypted_data"] for each in records])


def test_a_payload_is_the_contribution_of_its_records(trainer: Trainer, fernet: Fernet) -> None:
    model = initial(SPEC)
    batch = read_batch([decode_record(msgspec.json.encode(FIRST))], schema())
    vector = trainer.contribution("records", payload(fernet, FIRST), model)
    np.testing.assert_array_equal(vector, contribution(batch, model, SPEC))
    assert vector.any()


@pytest.mark.parametrize(
    ("kind", "records", "key", "problem"),
    [
        ("unheard-of", 1, b"A" * 43 + b"=", "of the kind 'unheard-of'"),
        ("records", 1, b"B" * 42 + b"A=", "decryption failed"),
        ("records", SPEC.contribution.max_patients + 1, b"A" * 43 + b"=", "the policy allows"),
    ],
)
def test_what_cannot_be_used_is_explained(
    trainer: Trainer, kind: str, records: int, key: bytes, problem: str
) -> None:
    kept = payload(Fernet(key), *(FIRST | {"patient_id": f"CANARY-{i}"} for i in range(records)))
    with pytest.raises(BatchError, match=problem) as error:
        trainer.contribution(kind, kept, initial(SPEC))
    assert "CANARY" not in str(error.value)


def test_the_audit_log_tells_which_key_it_was(
    keyring: Keyring, fernet: Fernet, consortium: Consortium
) -> None:
    party = consortium.parties[1]
    log = party.path.parent / "audit.jsonl"
    audit = AuditLog(
        party.engine, log.parent, party.hospital, Cost.of(consortium.policy), party.randomness
    )
    trainer = Trainer(keyring, schema(), SPEC, audit)
    trainer.contribution("records", payload(fernet, FIRST), initial(SPEC))
    used = json.loads(log.read_text().splitlines()[-1])
    assert used["event"] == "key used"
    assert used["fields"]["purpose"] == "train"
    assert used["fields"]["keys"] == keyring.fingerprints[0]
    assert "PATIENT_001" not in log.read_text()
