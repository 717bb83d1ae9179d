from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from party.training.features import feature_vector, read_batch
from party.training.records import Record, RecordError
from secagg.schema import (
    ChoiceFeature,
    Diagnosis,
    DiagnosisClass,
    Feature,
    FeatureSchema,
    NumericFeature,
    TermSetFeature,
)

DIAGNOSIS = Diagnosis(
    classes=(DiagnosisClass(name="other"), DiagnosisClass(name="cardiac", terms=("angina",))),
    other="other",
)
AGE = NumericFeature(
    name="age",
    path="age",
    minimum="0",
    maximum="130",
    centre="50",
    half_range="20",
    default="60",
    missing_indicator="2.5",
)
SYSTOLIC = NumericFeature(
    name="systolic",
    path="vitals.bp.systolic",
    minimum="0.1",
    maximum="300.7",
    centre="120",
    half_range="40",
    default="120",
    limit="2",
)
SEX = ChoiceFeature(
    name="sex", path="sex", classes=("female",), baseline=("male",), other=True, off="-1"
)
SYMPTOMS = TermSetFeature(
    name="symptoms", path="symptoms", classes=("chest_pain", "cough"), baseline=("well",), on="0.5"
)


def row(feature: Feature, **fields: Any) -> list[float]:
    schema = FeatureSchema(features=(feature,), diagnosis=DIAGNOSIS)
    vector = feature_vector(Record(patient_id="p", diagnosis="x", **fields), schema)
    assert vector.shape == (schema.feature_count,)
    columns: list[float] = vector.tolist()
    return columns


@pytest.mark.parametrize(
    ("age", "columns"),
    [
        (50.0, [0.0, 0.0]),
        (55.0, [0.25, 0.0]),
        (20.0, [-1.0, 0.0]),
        (130.0, [1.0, 0.0]),
        (0.0, [-1.0, 0.0]),
        (None, [0.5, 2.5]),
    ],
)
def test_a_number_is_centred_scaled_and_clamped(age: float | None, columns: list[float]) -> None:
    assert row(AGE, age=age) == columns


@pytest.mark.parametrize(
    ("vitals", "column"),
    [
        ({"bp": {"systolic": 160, "diastolic": 100}}, 1.0),
        ({"bp": {"systolic": 0.1}}, -2.0),
        ({"bp": {"systolic": 300.7}}, 2.0),
        ({"bp": {"systolic": None}}, 0.0),
        ({"bp": {}}, 0.0),
        ({"bp": None}, 0.0),
        ({"bp": {"systolic": ""}}, 0.0),
        ({}, 0.0),
    ],
)
def test_a_nested_number_is_found_and_its_range_includes_both_ends(
    vitals: dict[str, Any], column: float
) -> None:
    assert row(SYSTOLIC, vitals=vitals) == [column]


@pytest.mark.parametrize(
    ("vitals", "field", "problem"),
    [
        ({"bp": 120}, "vitals.bp", "is not an object"),
        ({"bp": [120]}, "vitals.bp", "is not an object"),
        ({"bp": {"systolic": "120"}}, "vitals.bp.systolic", "is not a number"),
        ({"bp": {"systolic": True}}, "vitals.bp.systolic", "is not a number"),
        ({"bp": {"systolic": [120]}}, "vitals.bp.systolic", "is not a number"),
        ({"bp": {"systolic": 301}}, "vitals.bp.systolic", "is outside 0.1 to 300.7"),
        ({"bp": {"systolic": 0}}, "vitals.bp.systolic", "is outside 0.1 to 300.7"),
        ({"bp": {"systolic": 10**400}}, "vitals.bp.systolic", "is outside 0.1 to 300.7"),
        ({"bp": {"systolic": float("nan")}}, "vitals.bp.systolic", "is outside 0.1 to 300.7"),
    ],
)
def test_a_number_that_does_not_fit_is_refused(
    vitals: dict[str, Any], field: str, problem: str
) -> None:
    with pytest.raises(RecordError, match=problem) as refusal:
        row(SYSTOLIC, vitals=vitals)
    assert refusal.value.field == field


@pytest.mark.parametrize(
    ("sex", "columns"),
    [
        ("female", [1.0, 0.0]),
        (" Female", [1.0, 0.0]),
        ("male", [-1.0, 0.0]),
        ("unknown", [-1.0, 1.0]),
        (3, [-1.0, 1.0]),
        (None, [-1.0, 0.0]),
        ("", [-1.0, 0.0]),
    ],
)
def test_a_choice_has_an_indicator_per_class(sex: Any, columns: list[float]) -> None:
    assert row(SEX, sex=sex) == columns


def test_a_missing_choice_takes_the_public_default() -> None:
    flag = ChoiceFeature(name="f", path="labs.f", classes=("true", "false"), default="false")
    assert row(flag, labs={"f": True}) == [1.0, 0.0]
    assert row(flag, labs={"f": False}) == [0.0, 1.0]
    assert row(flag, labs={}) == [0.0, 1.0]


@pytest.mark.parametrize("value", [1.5, ["female"], {"a": 1}])
def test_a_choice_that_is_no_term_is_refused(value: object) -> None:
    flag = ChoiceFeature(name="f", path="labs.f", classes=("true",))
    with pytest.raises(RecordError, match=r"labs\.f: is not a term"):
        row(flag, labs={"f": value})


@pytest.mark.parametrize(
    ("symptoms", "columns"),
    [
        ((), [0.0, 0.0, 0.0]),
        (("Chest Pain", "COUGH"), [0.5, 0.5, 0.0]),
        (("well",), [0.0, 0.0, 0.0]),
        (("itch", "rash", "cough"), [0.0, 0.5, 0.5]),
        (("other",), [0.0, 0.0, 0.5]),
        (("-",), [0.0, 0.0, 0.0]),
    ],
)
def test_a_list_of_terms_has_an_indicator_per_class_and_one_for_the_unknown(
    symptoms: tuple[str, ...], columns: list[float]
) -> None:
    assert row(SYMPTOMS, symptoms=symptoms) == columns


@pytest.mark.parametrize("value", ["cough", ["cough", 3], {"cough": True}, 3])
def test_what_is_no_list_of_terms_is_refused(value: object) -> None:
    history = TermSetFeature(name="history", path="labs.history", classes=("cough",))
    assert row(history, labs={"history": ["cough"]}) == [1.0, 0.0]
    with pytest.raises(RecordError, match=r"labs\.history: is not a list of strings"):
        row(history, labs={"history": value})


SCHEMA = FeatureSchema(features=(AGE, SEX, SYMPTOMS, SYSTOLIC), diagnosis=DIAGNOSIS)


def test_a_batch_keeps_the_order_of_its_records() -> None:
    records = [
        Record(patient_id="a", diagnosis="Angina", age=55.0, sex="female"),
        Record(patient_id="b", diagnosis="test", symptoms=("test",)),
    ]
    batch = read_batch(records, SCHEMA)
    assert batch.features.tolist() == [
        [0.25, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [0.5, 2.5, -1.0, 0.0, 0.0, 0.0, 0.5, 0.0],
    ]
    assert batch.classes.tolist() == [1, 0]
    assert len(batch) == 2


def test_an_empty_batch_has_no_rows() -> None:
    batch = read_batch([], SCHEMA)
    assert batch.features.shape == (0, 8)
    assert len(batch) == 0


def test_the_same_patient_twice_is_refused() -> None:
    records = [Record(patient_id=each, diagnosis="x") for each in ("a", "b", "a")]
    with pytest.raises(RecordError, match="record 2, patient_id: the same patient") as refusal:
        read_batch(records, SCHEMA)
    assert (refusal.value.position, refusal.value.patient_id) == (2, "a")


def test_one_bad_record_refuses_the_batch_and_is_named() -> None:
    records = [
        Record(patient_id="a", diagnosis="x", age=40.0),
        Record(patient_id="b", diagnosis="x", age=131.0),
    ]
    with pytest.raises(RecordError, match="record 1, age: is outside 0 to 130") as refusal:
        read_batch(records, SCHEMA)
    assert (refusal.value.position, refusal.value.patient_id) == (1, "b")


def test_a_batch_prints_no_values() -> None:
    batch = read_batch([Record(patient_id="canary", diagnosis="x", age=41.5)], SCHEMA)
    assert "canary" not in repr(batch)
    assert "array" not in repr(batch)


@given(
    st.builds(
        Record,
        patient_id=st.just("p"),
        diagnosis=st.text(),
        age=st.none() | st.floats(0, 130),
        sex=st.none() | st.text() | st.booleans() | st.integers(),
        symptoms=st.lists(st.text()).map(tuple),
        vitals=st.just({}) | st.fixed_dictionaries({"bp": st.just({"systolic": 130})}),
    )
)
def test_every_column_of_every_record_is_bounded(record: Record) -> None:
    features = read_batch([record], SCHEMA).features
    assert np.isfinite(features).all()
    assert np.abs(features).max() <= 2.5
