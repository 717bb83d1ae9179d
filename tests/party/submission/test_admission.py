from __future__ import annotations

import msgspec
import pytest
from cryptography.fernet import Fernet

from benchmarks.heart_disease.policy import schema
from party.submission.admission import Admission, WrongSize
from party.submission.keyring import Keyring
from party.submission.opening import Fault, OpeningError, open_batch
from party.submission.posted import digest_key, tokens_of
from party.training.records import RecordError
from secagg.crypto.secret import Secret
from tests.party.ehr import body

RECORDS = [{"patient_id": f"PATIENT_{i:03}", "age": 40 + i, "diagnosis": "test"} for i in range(4)]


@pytest.fixture
def admission(keyring: Keyring) -> Admission:
    return Admission(keyring, schema(), 3, digest_key(Secret(b"j" * 32)))


def test_a_good_submission_is_admitted(
    admission: Admission, fernet: Fernet, keyring: Keyring
) -> None:
    posted = admission.admit(msgspec.json.encode(body(fernet, RECORDS[:3], 7)))
    assert (posted.number, posted.patients, posted.keys) == (7, 3, keyring.fingerprints)


def test_one_bad_record_refuses_the_batch(admission: Admission, fernet: Fernet) -> None:
    records = [*RECORDS[:2], RECORDS[2] | {"age": "old"}]
    with pytest.raises(OpeningError, match="record 2, age") as error:
        admission.admit(msgspec.json.encode(body(fernet, records)))
    assert error.value.fault is Fault.RECORD


def test_more_patients_than_the_policy_allows(admission: Admission, fernet: Fernet) -> None:
    with pytest.raises(WrongSize, match="holds 4 patients; the policy allows 1 to 3"):
        admission.admit(msgspec.json.encode(body(fernet, RECORDS)))


def test_records_that_the_node_reads_itself_are_encrypted(
    admission: Admission, fernet: Fernet, keyring: Keyring
) -> None:
    plaintexts = [msgspec.json.encode(record) for record in RECORDS[:2]]
    posted = admission.admit_plain(3, plaintexts)
    assert [fernet.decrypt(token) for token in tokens_of(posted.payload)] == plaintexts
    assert posted.digest == admission.admit_plain(3, plaintexts[::-1]).digest
    assert len(open_batch(tokens_of(posted.payload), keyring, schema()).batch) == 2
    with pytest.raises(RecordError, match="record 1, diagnosis"):
        admission.admit_plain(3, [plaintexts[0], b'{"id": "x", "diagnosis": " "}'])
    with pytest.raises(WrongSize, match="holds 0 patients"):
        admission.admit_plain(3, [])
