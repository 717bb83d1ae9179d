import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from party.training.records import MAX_RECORD_BYTES, Record, RecordError, decode_record

MINIMAL = {"patient_id": "P-17", "diagnosis": "pneumonia"}


def decode(**fields: Any) -> Record:
    return decode_record(json.dumps({**MINIMAL, **fields}).encode())


def test_a_whole_record_is_read() -> None:
    record = decode(
        age=45,
        sex="female",
        symptoms=["fever", "cough"],
        vitals={"bp": "120/80", "hr": 72},
        labs={"wbc": 12000},
    )
    assert record.patient_id == "P-17"
    assert record.diagnosis == "pneumonia"
    assert record.age == 45.0
    assert record.sex == "female"
    assert record.symptoms == ("fever", "cough")
    assert record.vitals == {"bp": {"systolic": 120, "diastolic": 80}, "hr": 72}
    assert record.labs == {"wbc": 12000}


def test_an_id_and_a_diagnosis_are_enough() -> None:
    record = decode()
    assert (record.age, record.sex, record.symptoms) == (None, None, ())
    assert record.vitals == record.labs == {}


def test_null_means_missing() -> None:
    assert decode(age=None, sex=None, symptoms=None, vitals=None, labs=None) == decode()


def test_members_that_are_not_part_of_a_record_are_not_read() -> None:
    assert decode(name="Jane Doe", ward={"bed": 4}) == decode()


@pytest.mark.parametrize(
    "fields", [{"id": "P-17"}, {"patient_id": "P-17", "id": "P-17"}, {"patient_id": " P-17 "}]
)
def test_id_is_an_alias_of_patient_id(fields: dict[str, str]) -> None:
    record = decode_record(json.dumps({"diagnosis": "x", **fields}).encode())
    assert record.patient_id == "P-17"


def test_a_numeric_id_is_its_digits() -> None:
    assert decode(patient_id=17).patient_id == "17"


@pytest.mark.parametrize(
    ("text", "systolic", "diastolic"), [("120/80", 120, 80), (" 95 / 60 ", 95, 60)]
)
def test_blood_pressure_is_taken_apart(text: str, systolic: int, diastolic: int) -> None:
    assert decode(vitals={"bp": text}).vitals["bp"] == {
        "systolic": systolic,
        "diastolic": diastolic,
    }


@pytest.mark.parametrize("text", ["120", "120/", "120/80/60", "1200/80", "120\\80", "\u0661/1", ""])
def test_another_spelling_of_blood_pressure_is_refused(text: str) -> None:
    with pytest.raises(RecordError, match=r"vitals\.bp: is not of the form") as refusal:
        decode(vitals={"bp": text})
    assert refusal.value.patient_id == "P-17"


@pytest.mark.parametrize(
    ("fields", "field", "problem"),
    [
        ({"age": "45"}, "age", "Expected `float | null`, got `str`"),
        ({"age": True}, "age", "Expected `float | null`, got `bool`"),
        ({"sex": 1.5}, "sex", "got `float`"),
        ({"symptoms": "fever"}, "symptoms", "Expected `array | null`, got `str`"),
        ({"symptoms": ["fever", 3]}, "symptoms[1]", "Expected `str`, got `int`"),
        ({"symptoms": ["x"] * 257}, "symptoms", "length <= 256"),
        ({"symptoms": ["x" * 257]}, "symptoms[0]", "length <= 256"),
        ({"vitals": []}, "vitals", "Expected `object | null`, got `array`"),
        ({"labs": 3}, "labs", "Expected `object | null`, got `int`"),
        ({"labs": {"x" * 257: 3}}, "labs", "length <= 256"),
        ({"diagnosis": None}, "diagnosis", "Expected `str`, got `null`"),
        ({"diagnosis": " "}, "diagnosis", "is empty"),
        ({"patient_id": None}, "patient_id", "is missing"),
        ({"patient_id": " "}, "patient_id", "is missing"),
        ({"patient_id": True}, "patient_id", "got `bool`"),
        ({"patient_id": 2**70}, "patient_id", "Expected `int`"),
        ({"id": "P-18"}, "id", "differs from patient_id"),
    ],
)
def test_a_refusal_names_the_field(fields: dict[str, Any], field: str, problem: str) -> None:
    with pytest.raises(RecordError) as refusal:
        decode(**fields)
    assert refusal.value.field == field
    assert problem in refusal.value.problem


def test_a_refusal_names_the_record() -> None:
    with pytest.raises(RecordError, match=r"^record 3, diagnosis: is missing$") as refusal:
        decode_record(b'{"patient_id": "P-17"}', position=3)
    assert refusal.value.position == 3


@pytest.mark.parametrize(
    ("plaintext", "problem"),
    [
        (b"", "is not valid JSON"),
        (b"{", "is not valid JSON"),
        (b'{"patient_id": "\xff", "diagnosis": "x"}', "is not valid JSON"),
        (b'{"patient_id": "a", "diagnosis": "x"} {}', "is not valid JSON"),
        (b'{"patient_id": "a", "diagnosis": "x", "age": NaN}', "is not valid JSON"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"patient_id": "a", "diagnosis": "x", "age": 1e999}', "out of range"),
        (b'{"patient_id": "a", "diagnosis": "x", "labs": {"a": ' + b"[" * 60000, "too deeply"),
        (b'{"patient_id": "a", "diagnosis": "x", "b": ' + b"[" * 60000, "too deeply"),
        (b" " * MAX_RECORD_BYTES + b"{}", f"longer than {MAX_RECORD_BYTES} bytes"),
    ],
)
def test_what_is_not_a_record_is_refused(plaintext: bytes, problem: str) -> None:
    with pytest.raises(RecordError, match=problem):
        decode_record(plaintext)


@given(st.binary(max_size=200))
def test_bytes_are_a_record_or_refused_and_nothing_else(plaintext: bytes) -> None:
    try:
        record = decode_record(plaintext)
    except RecordError:
        return
    assert record.patient_id


CANARY = "canary-7f3a"


@pytest.mark.parametrize(
    "document",
    [
        {"patient_id": CANARY, "diagnosis": "x", "age": CANARY},
        {"patient_id": CANARY, "id": CANARY + "2", "diagnosis": "x"},
        {"patient_id": CANARY, "diagnosis": " ", "symptoms": [CANARY]},
        {"patient_id": CANARY, "diagnosis": "x", "vitals": {"bp": CANARY}},
        {"patient_id": CANARY, "diagnosis": CANARY, "symptoms": [CANARY, 3]},
        {"patient_id": CANARY, "diagnosis": "x", "labs": {CANARY * 50: 3}},
    ],
)
def test_no_value_reaches_an_error_or_a_log(
    document: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(RecordError) as refusal:
        decode_record(json.dumps(document).encode())
    assert CANARY not in str(refusal.value) + repr(refusal.value) + refusal.value.field
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None
    assert CANARY not in caplog.text


def test_a_record_prints_nothing_of_itself() -> None:
    record = decode(patient_id=CANARY, symptoms=[CANARY], diagnosis=CANARY)
    assert CANARY not in repr(record) + str(record) + f"{record}"
