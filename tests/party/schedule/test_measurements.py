from __future__ import annotations

from typing import Any

import pytest
from fhir.resources.R4B.observation import Observation

from party.schedule.measurements import MEASUREMENTS, ElementError, measured
from server.policy_template import find_template
from tests.party.schedule.fhir import blood_pressure, loinc, observation, quantity


def read(resource: dict[str, Any]) -> dict[str, float]:
    return dict(measured(Observation.model_validate(resource)))


@pytest.mark.parametrize(
    ("code", "value", "unit", "path", "expected"),
    [
        ("8867-4", 72, "/min", "vitals.hr", 72),
        ("8867-4", 72, "{beats}/min", "vitals.hr", 72),
        ("9279-1", 16, "{breaths}/min", "vitals.rr", 16),
        ("8480-6", 121, "mm[Hg]", "vitals.bp.systolic", 121),
        ("8310-5", 37.2, "Cel", "vitals.temp", 37.2),
        ("8310-5", 98.6, "[degF]", "vitals.temp", 37),
        ("2708-6", 97, "%", "vitals.spo2", 97),
        ("6690-2", 12, "10*3/uL", "labs.wbc", 12_000),
        ("6690-2", 12, "10*9/L", "labs.wbc", 12_000),
        ("26464-8", 12_000, "{cells}/uL", "labs.wbc", 12_000),
        ("1988-5", 1.5, "mg/dL", "labs.crp", 15),
        ("67151-1", 14, "ng/L", "labs.troponin", 14),
        ("6598-7", 0.014, "ng/mL", "labs.troponin", 14),
        ("30934-4", 100, "pg/mL", "labs.bnp", 100),
        ("2093-3", 5, "mmol/L", "labs.chol", 193.35),
    ],
)
def test_numbers_arrive_in_the_records_unit(
    code: str, value: float, unit: str, path: str, expected: float
) -> None:
    assert read(observation("p", code, value, unit)) == {path: pytest.approx(expected)}


def test_a_blood_pressure_has_two_numbers() -> None:
    expected = {"vitals.bp.systolic": 120.0, "vitals.bp.diastolic": 80.0}
    assert read(blood_pressure("p", 120, 80)) == expected


def test_what_is_not_known_or_has_no_number_is_left_out() -> None:
    absent = observation("p", "8867-4", 1, "/min", dataAbsentReason={"text": "refused"})
    del absent["valueQuantity"]
    assert read(absent) == {}
    assert read(observation("p", "29463-7", 80, "kg")) == {}
    other_system = {"coding": [{"system": "urn:local", "code": "8867-4"}]}
    assert read(observation("p", "8867-4", 72, "/min") | {"code": other_system}) == {}
    no_number = quantity(1, "/min")
    del no_number["value"]
    assert read(observation("p", "8867-4", 1, "/min", valueQuantity=no_number)) == {}


def test_one_known_code_among_several_is_enough() -> None:
    code = {"coding": [{"system": "urn:local", "code": "HR"}, *loinc("8867-4")["coding"]]}
    assert read(observation("p", "x", 72, "/min") | {"code": code}) == {"vitals.hr": 72}


def test_a_unit_in_words_counts_if_there_is_no_code() -> None:
    words = {"value": 72, "unit": "/min"}
    assert read(observation("p", "8867-4", 0, "", valueQuantity=words)) == {"vitals.hr": 72}


@pytest.mark.parametrize("unit", ["mmol/L", "10*6/uL", "/h", "", "bpm"])
def test_another_unit_is_not_guessed(unit: str) -> None:
    with pytest.raises(ElementError, match=r"valueQuantity.code: labs.wbc is read in /uL, ") as e:
        read(observation("p", "6690-2", 4711, unit or "x"))
    assert "4711" not in str(e.value)


def test_a_bad_unit_of_a_component_is_named_with_its_place() -> None:
    panel = blood_pressure("p", 120, 80)
    panel["component"][1]["valueQuantity"] = quantity(11, "kPa")
    with pytest.raises(ElementError, match=r"component\[1\]\.valueQuantity\.code"):
        read(panel)


def test_every_measurement_of_the_shipped_policy_can_be_read() -> None:
    paths = {each.path for each in MEASUREMENTS}
    features = find_template("respiratory-cardiac").features
    assert features is not None
    assert {f.path for f in features.features} - {"age", "sex", "symptoms"} <= paths
    codes = [code for each in MEASUREMENTS for code in each.loinc]
    assert len(set(codes)) == len(codes)
