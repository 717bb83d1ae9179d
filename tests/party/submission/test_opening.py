from __future__ import annotations

import string
from typing import Any

import numpy as np
import pytest
from cryptography.fernet import Fernet

from benchmarks.heart_disease.policy import schema
from party.submission.body import PatientData, SubmissionBody
from party.submission.keyring import MAX_TOKEN_LENGTH, Keyring
from party.submission.opening import Fault, OpeningError, open_batch, open_submission
from party.submission.posted import posted_records
from party.training.features import read_batch
from party.training.records import Record
from secagg.crypto.secret import Secret
from tests.party.ehr import entry

SCHEMA = schema()
FIRST: dict[str, Any] = {"patient_id": "PATIENT_001", "age": 45, "diagnosis": "test"}
SECOND: dict[str, Any] = {"patient_id": "PATIENT_002", "age": 60, "diagnosis": "heart disease"}
CANARY = "CANARY"


def patients(*entries: dict[str, Any]) -> list[PatientData]:
    wanted = ("patient_id", "encrypted_data", "data_hash")
    return [PatientData(**{name: each[name] for name in wanted}) for each in entries]


def test_a_submission_and_what_is_kept_of_it_are_the_same_rows(
    fernet: Fernet, keyring: Keyring
) -> None:
    sent = patients(entry(fernet, FIRST), entry(fernet, SECOND))
    records = [
        Record(patient_id="PATIENT_001", age=45.0, diagnosis="test"),
        Record(patient_id="PATIENT_002", age=60.0, diagnosis="heart disease"),
    ]
    expected = read_batch(records, SCHEMA)
    opened = open_submission(sent, keyring, SCHEMA)
    again = open_batch([patient.encrypted_data for patient in sent], keyring, SCHEMA)
    assert opened.keys == again.keys == keyring.fingerprints
    for batch in (opened.batch, again.batch):
        np.testing.assert_array_equal(batch.features, expected.features)
        np.testing.assert_array_equal(batch.classes, expected.classes)


def test_the_hash_may_be_in_capitals_and_an_id_a_number(fernet: Fernet, keyring: Keyring) -> None:
    given = entry(fernet, {"id": 17, "diagnosis": "x"})
    given["data_hash"] = given["data_hash"].upper()
    assert len(open_submission(patients(given), keyring, SCHEMA).batch) == 1


def test_a_hash_that_passes_can_be_kept(fernet: Fernet, keyring: Keyring) -> None:
    for space in string.whitespace:
        given = entry(fernet, FIRST)
        given["data_hash"] = space + given["data_hash"] + space
        body = SubmissionBody(tuple(patients(given)), 1)
        open_submission(body.patient_data_list, keyring, SCHEMA)
        posted_records(body, Secret(b"k" * 32))
    for space in ("\u00a0", "\u2003", "\x1c", "\x85"):  # white space to str.strip, not to fromhex
        given = entry(fernet, FIRST)
        given["data_hash"] = space + given["data_hash"]
        assert refused(keyring, given).fault is Fault.DATA_HASH


def test_a_missing_number_written_as_nan(fernet: Fernet, keyring: Keyring) -> None:
    error = refused(keyring, entry(fernet, FIRST | {"age": float("nan")}))
    assert "NaN is no JSON" in error.problem


def refused(keyring: Keyring, *entries: dict[str, Any]) -> OpeningError:
    with pytest.raises(OpeningError) as error:
        open_submission(patients(*entries), keyring, SCHEMA)
    assert CANARY not in str(error.value)
    return error.value


def test_another_key(fernet: Fernet, keyring: Keyring) -> None:
    foreign = Fernet(Fernet.generate_key())
    error = refused(keyring, entry(fernet, FIRST), entry(foreign, SECOND))
    assert error.fault is Fault.DECRYPTION
    assert "decryption failed" in str(error)
    assert (error.position, error.patient_id) == (1, "PATIENT_002")


@pytest.mark.parametrize("data_hash", ["0" * 64, "", "CANARY", "\u00fc", "\u0661" * 64])
def test_another_hash(fernet: Fernet, keyring: Keyring, data_hash: str) -> None:
    error = refused(keyring, entry(fernet, FIRST), entry(fernet, SECOND, data_hash=data_hash))
    assert error.fault is Fault.DATA_HASH
    assert (error.position, error.field) == (1, "data_hash")
    assert error.patient_id == "PATIENT_002"


def test_another_patient_than_is_named_beside_it(fernet: Fernet, keyring: Keyring) -> None:
    error = refused(keyring, entry(fernet, FIRST | {"patient_id": CANARY}, patient_id="P-1"))
    assert (error.fault, error.field, error.patient_id) == (Fault.RECORD, "patient_id", "P-1")


def test_the_same_patient_twice(fernet: Fernet, keyring: Keyring) -> None:
    error = refused(keyring, entry(fernet, FIRST), entry(fernet, FIRST | {"age": 46}))
    assert error.fault is Fault.TWICE
    assert "twice" in error.problem
    assert (error.position, error.patient_id) == (1, "PATIENT_001")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"age": CANARY}, "age"),
        ({"age": 4711}, "age"),
        ({"symptoms": CANARY}, "symptoms"),
        ({"vitals": {"bp": CANARY}}, "vitals.bp"),
        ({"labs": {"chol": CANARY}}, "labs.chol"),
        ({"diagnosis": ""}, "diagnosis"),
        ({"id": CANARY}, "id"),
    ],
)
def test_a_field_that_does_not_fit(
    fernet: Fernet, keyring: Keyring, changes: dict[str, Any], field: str
) -> None:
    error = refused(keyring, entry(fernet, FIRST), entry(fernet, SECOND | changes))
    assert (error.fault, error.position, error.field) == (Fault.RECORD, 1, field)
    assert error.patient_id == "PATIENT_002"


def test_a_token_too_long_for_any_record(fernet: Fernet, keyring: Keyring) -> None:
    error = refused(keyring, entry(fernet, FIRST, encrypted_data="A" * (MAX_TOKEN_LENGTH + 1)))
    assert (error.fault, error.field) == (Fault.RECORD, "encrypted_data")


def test_a_kept_token_whose_key_is_gone(keyring: Keyring) -> None:
    token = Fernet(Fernet.generate_key()).encrypt(b"{}").decode()
    with pytest.raises(OpeningError, match="decryption failed") as error:
        open_batch([token], keyring, SCHEMA)
    assert error.value.patient_id is None
