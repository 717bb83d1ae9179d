from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.heart_disease.policy import schema
from party.schedule.fhir_records import Found, Resource, ResourceError, Vocabulary, read_records
from tests.party.schedule.fhir import blood_pressure, concept, condition, observation, patient

TODAY = date(2026, 3, 1)
VOCABULARY = Vocabulary({"cough", "fever"}, {"pneumonia", "heart_failure"})


def read(*resources: dict[str, Any], on: date = TODAY) -> Found:
    return read_records(
        [Resource(i, f"urn:uuid:{i}", each) for i, each in enumerate(resources)], VOCABULARY, on
    )


def only(*resources: dict[str, Any]) -> Mapping[str, Any]:
    (record,) = read(*resources).records
    return record


def test_a_patient_becomes_a_record() -> None:
    assert only(
        patient("p1"),
        condition("p1", "Pneumonia"),
        condition("p1", "Cough", "problem-list-item"),
        blood_pressure("p1", 121, 79),
        observation("p1", "8867-4", 88, "/min"),
        observation("p1", "6690-2", 12, "10*3/uL"),
    ) == {
        "patient_id": "p1",
        "age": 45,
        "sex": "female",
        "symptoms": ["Cough"],
        "vitals": {"bp": {"systolic": 121.0, "diastolic": 79.0}, "hr": 88.0},
        "labs": {"wbc": 12_000.0},
        "diagnosis": "Pneumonia",
    }


@pytest.mark.parametrize(
    ("birth", "age"),
    [
        ("1980-03-01", 46),
        ("1980-03-02", 45),
        ("1980-02-29", 46),
        ("1980-04", 45),
        ("1980-03", 46),
        ("1980", 46),
        ("2026-02-01", 0),
    ],
)
def test_age_is_in_whole_years(birth: str, age: int) -> None:
    assert only(patient("p", birthDate=birth), condition("p", "Pneumonia"))["age"] == age


def test_what_a_patient_does_not_say_is_left_out() -> None:
    bare = {"resourceType": "Patient", "id": "p"}
    assert only(bare, condition("p", "Pneumonia")) == {
        "patient_id": "p",
        "symptoms": [],
        "diagnosis": "Pneumonia",
    }


def test_resources_come_in_any_order_and_each_patient_gets_their_own() -> None:
    found = read(
        observation("b", "8867-4", 60, "/min"),
        condition("b", "Heart failure"),
        patient("a"),
        condition("a", "Pneumonia"),
        patient("b", gender="male"),
        observation("a", "8867-4", 90, "/min"),
    )
    assert [(each["patient_id"], each["diagnosis"]) for each in found.records] == [
        ("a", "Pneumonia"),
        ("b", "Heart failure"),
    ]
    assert [each["vitals"]["hr"] for each in found.records] == [90, 60]


def test_a_patient_without_a_diagnosis_is_left_out_and_counted() -> None:
    found = read(patient("a"), condition("a", "Cough"), patient("b"), condition("b", "Pneumonia"))
    assert [each["patient_id"] for each in found.records] == ["b"]
    assert found.left_out == 1


@pytest.mark.parametrize(
    "reference",
    [
        "Patient/p",
        "https://ehr.example/fhir/Patient/p",
        "Patient/p/_history/3",
        "https://ehr.example/fhir/Patient/p/_history/3",
        "urn:uuid:0",
    ],
)
def test_references_may_be_written_in_several_ways(reference: str) -> None:
    assert only(patient("p"), condition("p", "Pneumonia", subject={"reference": reference}))


@pytest.mark.parametrize("subject", [{"reference": "Patient/q"}, {"display": "somebody"}])
def test_what_belongs_to_nobody_here_is_left_out(subject: dict[str, str]) -> None:
    other = condition("p", "Heart failure", subject=subject)
    assert only(patient("p"), condition("p", "Pneumonia"), other)["diagnosis"] == "Pneumonia"
    unowned = observation("p", "8867-4", 60, "/min")
    del unowned["subject"]
    assert "vitals" not in only(patient("p"), condition("p", "Pneumonia"), unowned)


def test_the_newest_diagnosis_counts() -> None:
    older = condition("p", "Pneumonia", recordedDate="2025-12-01")
    newer = condition("p", "Heart failure", recordedDate="2026-01-02T10:00:00Z")
    undated = condition("p", "Gout", recordedDate=None)
    for order in ((older, newer, undated), (undated, newer, older), (newer, older, undated)):
        assert only(patient("p"), *order)["diagnosis"] == "Heart failure"


def test_of_one_moment_the_diagnosis_that_the_policy_knows_counts_then_the_first() -> None:
    gout, known = condition("p", "Gout"), condition("p", "Pneumonia")
    assert only(patient("p"), gout, known)["diagnosis"] == "Pneumonia"
    assert only(patient("p"), known, gout)["diagnosis"] == "Pneumonia"
    assert only(patient("p"), gout, condition("p", "Asthma"))["diagnosis"] == "Gout"
    without_day = condition("p", "Heart failure", recordedDate="2026-01")
    assert only(patient("p"), gout, without_day)["diagnosis"] == "Gout"


@pytest.mark.parametrize("category", ["problem-list-item", "health-concern"])
def test_history_is_neither_diagnosis_nor_symptom(category: str) -> None:
    past = condition("p", "Heart failure", category)
    assert only(patient("p"), condition("p", "Pneumonia"), past) == only(
        patient("p"), condition("p", "Pneumonia")
    )


def test_a_condition_of_no_category_is_a_diagnosis() -> None:
    assert only(patient("p"), condition("p", "Pneumonia", None))["diagnosis"] == "Pneumonia"


@pytest.mark.parametrize("status", ["refuted", "entered-in-error"])
def test_what_was_ruled_out_does_not_count(status: str) -> None:
    verification = {"coding": [{"code": status}]}
    refuted = [condition("p", text, verificationStatus=verification) for text in ("Cough", "Gout")]
    record = only(patient("p"), *refuted, condition("p", "Pneumonia", recordedDate="2020"))
    assert (record["diagnosis"], record["symptoms"]) == ("Pneumonia", [])


@pytest.mark.parametrize(
    "ended",
    [
        {"clinicalStatus": {"coding": [{"code": "resolved"}]}},
        {"clinicalStatus": {"coding": [{"code": "inactive"}]}},
        {"abatementDateTime": "2026-01-20"},
    ],
)
def test_a_symptom_that_has_ended_does_not_count(ended: dict[str, Any]) -> None:
    record = only(patient("p"), condition("p", "Pneumonia"), condition("p", "Cough", **ended))
    assert record["symptoms"] == []


def test_a_symptom_counts_once() -> None:
    twice = [condition("p", "Fever (finding)"), condition("p", "Fever")]
    record = only(patient("p"), condition("p", "Pneumonia"), *twice)
    assert record["symptoms"] == ["Fever"]


def test_a_term_that_the_policy_knows_is_preferred_to_the_senders_words() -> None:
    snomed = {"system": "http://snomed.info/sct", "code": "233604007"}
    code = concept("lung infection, left", snomed | {"display": "Pneumonia (disorder)"})
    assert only(patient("p"), condition("p", "", code=code))["diagnosis"] == "Pneumonia"
    other = concept("lung infection, left", snomed)
    assert only(patient("p"), condition("p", "", code=other))["diagnosis"] == "lung infection, left"
    coded = {"coding": [snomed]}
    assert only(patient("p"), condition("p", "", code=coded))["diagnosis"] == "233604007"


def test_the_newest_measurement_counts() -> None:
    def measured(value: float, **when: Any) -> dict[str, Any]:
        changes = {"effectiveDateTime": None, **when}
        return observation("p", "8867-4", value, "/min", **changes)

    old = measured(60, effectiveDateTime="2026-01-10T09:00:00+01:00")
    new = measured(70, effectiveDateTime="2026-01-10T08:30:00Z")
    period = measured(80, effectivePeriod={"start": "2026-01-01", "end": "2026-01-12"})
    issued = measured(90, issued="2026-01-13T00:00:00Z")
    sick = (patient("p"), condition("p", "Pneumonia"))
    assert only(*sick, new, old)["vitals"]["hr"] == 70
    assert only(*sick, period, new, old)["vitals"]["hr"] == 80
    assert only(*sick, issued, period, measured(10))["vitals"]["hr"] == 90
    assert (
        only(*sick, old, measured(61, effectiveDateTime="2026-01-10T09:00:00+01:00"))["vitals"][
            "hr"
        ]
        == 61
    )


@pytest.mark.parametrize("status", ["preliminary", "registered", "cancelled", "entered-in-error"])
def test_a_measurement_that_is_not_final_does_not_count(status: str) -> None:
    unsure = observation("p", "8867-4", 60, "/min", status=status)
    assert "vitals" not in only(patient("p"), condition("p", "Pneumonia"), unsure)


def test_other_resources_are_not_read() -> None:
    other = {"resourceType": "MedicationRequest", "anything": ["goes"]}
    assert only(other, patient("p"), {}, condition("p", "Pneumonia"))


@pytest.mark.parametrize(
    ("resource", "words"),
    [
        (patient("p", birthDate="CANARY"), r"entry 0 \(Patient\), birthDate: is not as FHIR R4"),
        (patient("p", id=None), r"entry 0 \(Patient\), id: is missing"),
        (patient("p", CANARY="CANARY"), r"entry 0 \(Patient\): is not as FHIR R4 has it \(extra"),
        (condition("p", "", code={"text": ["CANARY"]}), r"\(Condition\), code.text: is not as"),
        ({"resourceType": "Condition", "code": {}}, r"entry 0 \(Condition\), subject: is not as"),
        (
            observation("p", "8867-4", 1, "/min", valueQuantity={"value": "CANARY"}),
            r"entry 0 \(Observation\), valueQuantity.value: is not as FHIR",
        ),
        (
            observation("p", "8867-4", 1, "/min", effectiveDateTime="CANARY"),
            r"entry 0 \(Observation\), effectiveDateTime: is not as FHIR",
        ),
    ],
)
def test_a_resource_that_is_not_fhir_is_named_and_not_quoted(
    resource: dict[str, Any], words: str
) -> None:
    with pytest.raises(ResourceError, match=words) as error:
        read(resource)
    assert "CANARY" not in str(error.value)
    assert error.value.__context__ is None or error.value.__suppress_context__


def test_a_leap_second_is_a_moment_of_its_day() -> None:
    leap = condition("p", "Heart failure", recordedDate="2026-06-30T23:59:60Z")
    for order in ((condition("p", "Pneumonia"), leap), (leap, condition("p", "Pneumonia"))):
        assert only(patient("p"), *order)["diagnosis"] == "Heart failure"
    never = condition("p", "Heart failure", recordedDate="2026-02-30T23:59:60Z")
    with pytest.raises(ResourceError, match=r"entry 1 \(Condition\), recordedDate: is not as FHIR"):
        read(patient("p"), never)


def test_a_number_that_no_record_can_hold_is_not_taken_for_a_missing_one() -> None:
    huge = observation("p", "6690-2", 1e308, "10*3/uL")
    with pytest.raises(
        ResourceError, match=r"entry 1 \(Observation\), valueQuantity.value: is too"
    ):
        read(patient("p"), huge)


def test_what_is_nested_too_deeply_is_refused() -> None:
    extension: dict[str, Any] = {"url": "x", "valueString": "y"}
    for _ in range(2000):
        extension = {"url": "x", "extension": [extension]}
    with pytest.raises(ResourceError, match=r"entry 0 \(Patient\): is nested too deeply"):
        read(patient("p", extension=[extension]))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda each: (
        st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=9), each, max_size=3)
    ),
    max_leaves=5,
)
SOUND = (
    patient("p"),
    condition("p", "Pneumonia", onsetDateTime="2026-01-01"),
    blood_pressure("p", 120, 80),
    observation("p", "8867-4", 60, "/min", effectivePeriod={"end": "2026-01-01"}),
)


@given(st.data())
def test_whatever_stands_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    resources = copy.deepcopy(SOUND)
    place: Any = data.draw(st.sampled_from(resources))
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        deeper = isinstance(place[key], dict | list) and place[key]
        if not deeper or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(VALUES)
    with contextlib.suppress(ResourceError):
        assert len(read(*resources).records) <= 1


def test_a_measurement_in_another_unit_is_named_by_its_entry() -> None:
    with pytest.raises(ResourceError, match=r"entry 1 \(Observation\), valueQuantity.code"):
        read(patient("p"), observation("p", "8867-4", 60, "/h"))


def test_no_patient_stands_there_twice() -> None:
    with pytest.raises(ResourceError, match=r"entry 2 \(Patient\), id: stands here twice"):
        read(patient("p"), condition("p", "Pneumonia"), patient("p"))


def test_the_vocabulary_is_the_policys() -> None:
    vocabulary = Vocabulary.of(schema())
    assert "exercise_induced_angina" in vocabulary.symptoms
    assert "heart_disease" in vocabulary.diagnoses
