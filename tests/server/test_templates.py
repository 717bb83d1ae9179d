"""The policy templates that come with the server: whole policies, whose numbers hold."""

import json
from fractions import Fraction

import msgspec
import numpy as np
import pytest

from party.ledger import Cost
from party.training.features import feature_vector, read_batch
from party.training.gradient import contribution
from party.training.records import RecordError, decode_record
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey
from secagg.errors import DecodeError
from secagg.model import initial, linear_parameters
from secagg.policy import Policy
from secagg.privacy.budget import Budget
from server.policy_template import Template, find_template, shipped

MANUALS_RECORD = {
    "patient_id": "PATIENT_001",
    "age": 45,
    "symptoms": ["fever", "cough"],
    "vitals": {"bp": "120/80", "hr": 72},
    "labs": {"wbc": 12000},
    "diagnosis": "respiratory_infection",
}


def policy(template: Template, hospitals: int) -> Policy:
    keys = [IdentityKey(Secret(bytes([number]) * 32)).public for number in range(1, hospitals + 2)]
    roster = {f"hospital-{number}": key for number, key in enumerate(keys[1:])}
    return template.policy("consortium", keys[0], roster)


@pytest.fixture
def respiratory() -> Template:
    return find_template("respiratory-cardiac")


def columns(template: Template, record: dict[str, object]) -> dict[str, float]:
    """The columns of ``record`` that are not 0, by name."""
    row = feature_vector(decode_record(json.dumps(record).encode()), template.record_features)
    named = dict(zip(template.record_features.feature_names, row.tolist(), strict=True))
    return {name: value for name, value in named.items() if value}


@pytest.mark.parametrize(
    ("name", "hospitals", "rounds"),
    [*(("respiratory-cardiac", n, 12) for n in (3, 4, 5, 10, 100)), ("heart-disease", 4, 6)],
)
def test_the_promised_rounds_cost_epsilon_1_and_one_more_does_not_fit(
    name: str, hospitals: int, rounds: int
) -> None:
    pinned = policy(find_template(name), hospitals)
    cost = Cost.of(pinned)
    assert cost is not None
    assert Budget(Fraction(1), Fraction(pinned.noise.delta)).affordable(cost.sum) == rounds


@pytest.mark.parametrize("name", shipped())
def test_the_model_fits_the_features(name: str) -> None:
    template = find_template(name)
    assert template.model.parameters == linear_parameters(template.record_features)


def test_the_manuals_record(respiratory: Template) -> None:
    found = columns(respiratory, MANUALS_RECORD)
    missing = {name for name in found if name.endswith(":missing")}
    assert missing == {
        f"{name}:missing" for name in ("temp", "spo2", "rr", "crp", "troponin", "bnp")
    }
    assert {name: value for name, value in found.items() if name not in missing} == {
        "age": -0.25,
        "symptoms=fever": 1.0,
        "symptoms=cough": 1.0,
        "hr": -0.4,
        "wbc": pytest.approx(4500 / 3500),
    }


def test_the_manuals_smallest_record_is_other_in_everything(respiratory: Template) -> None:
    record = {"patient_id": "T", "age": 50, "symptoms": ["test"], "diagnosis": "test"}
    found = columns(respiratory, record)
    assert found["symptoms=other"] == 1.0
    assert {name for name in found if not name.endswith(":missing")} == {"symptoms=other"}
    assert respiratory.record_features.class_names[
        respiratory.record_features.diagnosis.class_of("test")
    ] == ("other")


@pytest.mark.parametrize(
    ("term", "name"),
    [
        ("respiratory_infection", "respiratory_infection"),
        ("Community-acquired pneumonia", "pneumonia"),
        ("COPD", "obstructive_airway_disease"),
        ("Myocardial infarction", "coronary_disease"),
        ("congestive heart failure", "heart_failure"),
        ("Atrial Fibrillation", "arrhythmia"),
        ("hypertension", "hypertension"),
        ("broken leg", "other"),
    ],
)
def test_diagnoses_in_any_spelling(respiratory: Template, term: str, name: str) -> None:
    assert (
        respiratory.record_features.class_names[
            respiratory.record_features.diagnosis.class_of(term)
        ]
        == name
    )


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("labs", "wbc", 12.0),  # in 10^9 per litre
        ("vitals", "temp", 101.3),  # in degrees Fahrenheit
        ("vitals", "spo2", 0.97),  # as a fraction
    ],
)
def test_another_unit_is_refused(
    respiratory: Template, part: str, field: str, value: float
) -> None:
    record = MANUALS_RECORD | {part: {field: value}}
    with pytest.raises(RecordError, match=rf"{part}\.{field}: is outside .* check the unit"):
        columns(respiratory, record)


def test_a_patient_contributes_no_more_than_the_pinned_sensitivity(respiratory: Template) -> None:
    record = MANUALS_RECORD | {"vitals": {"bp": "300/200", "hr": 300}, "labs": {"wbc": 500_000}}
    batch = read_batch([decode_record(json.dumps(record).encode())], respiratory.record_features)
    units = contribution(batch, initial(respiratory.model), respiratory.model)
    norm_squared = int(np.sum(units.astype(object) ** 2))
    assert 0.98 * respiratory.noise.sensitivity**2 < norm_squared
    assert norm_squared <= respiratory.noise.sensitivity**2


def test_only_where_nodes_read_no_records_features_may_be_missing(respiratory: Template) -> None:
    bare = msgspec.structs.replace(respiratory, features=None)
    with pytest.raises(DecodeError, match="features are missing"):
        policy(bare, 4)
    with pytest.raises(LookupError):
        bare.record_features.feature_names  # noqa: B018 (it raises)
    rule = msgspec.structs.replace(bare.model.contribution, max_patients=1)
    updates = msgspec.structs.replace(
        bare,
        noise=msgspec.structs.replace(bare.noise, unit="hospital"),
        model=msgspec.structs.replace(bare.model, contribution=rule),
    )
    assert policy(updates, 4).features is None
