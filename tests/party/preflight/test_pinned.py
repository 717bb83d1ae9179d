from __future__ import annotations

import json

import msgspec
import pytest

from party.preflight import pinned
from secagg.cli import ExitCode
from secagg.enrollment.fingerprint import fingerprint
from secagg.policy import NoiseSpec
from tests.party.preflight.conftest import Hospital


def test_the_policy_is_shown_by_its_fingerprint(hospital: Hospital) -> None:
    said = pinned.policy(hospital.site())
    assert fingerprint(hospital.policy.digest()) in said
    assert "consortium, version 1, 3 hospitals" in said


@pytest.mark.parametrize("content", ["{}", "", '{"roster": []}'])
def test_what_is_no_policy_is_found(hospital: Hospital, content: str) -> None:
    (hospital.home / "policy.json").write_text(content)
    hospital.fails(pinned.policy, r"policy\.json cannot be used", ExitCode.USAGE)


def test_a_policy_that_is_gone_is_named(hospital: Hospital) -> None:
    (hospital.home / "policy.json").unlink()
    hospital.fails(pinned.policy, r"policy\.json cannot be used", ExitCode.USAGE)


def test_the_hospitals_place_on_the_roster_is_shown(hospital: Hospital) -> None:
    assert pinned.identity(hospital.site()) == "a is number 1 of 3 on the roster"


@pytest.mark.parametrize(("name", "words"), [("elsewhere", "not on the roster"), ("b", "identity")])
def test_another_name_is_found(hospital: Hospital, name: str, words: str) -> None:
    hospital.change('name = "a"', f'name = "{name}"')
    hospital.fails(pinned.identity, words, ExitCode.USAGE)


def test_another_key_is_found(hospital: Hospital) -> None:
    (hospital.home / "identity.key").write_text("11" * 32)
    hospital.fails(pinned.identity, "does not fit its policy", ExitCode.USAGE)


def test_the_sites_floor_is_held_against_the_policy(hospital: Hospital) -> None:
    assert pinned.floor(hospital.site()) == "sums of at least 3 hospitals, noise 'exact'"
    hospital.add("[limits]\nmin_participants = 4\n")
    hospital.fails(pinned.floor, "min_participants is 4", ExitCode.BUDGET_REFUSED)


def test_a_budget_that_the_policy_cannot_keep_is_found(hospital: Hospital) -> None:
    plain = msgspec.structs.replace(hospital.policy, noise=NoiseSpec())
    (hospital.home / "policy.json").write_bytes(plain.canonical())
    hospital.fails(pinned.floor, "adds no noise", ExitCode.USAGE)


def test_records_are_read_once(hospital: Hospital) -> None:
    assert pinned.records(hospital.site()) == "an EHR posts them"
    record = {"patient_id": "p", "age": 45, "diagnosis": "pneumonia"}
    (hospital.home / "train.jsonl").write_text(json.dumps(record) + "\n")
    hospital.change(
        '[ehr]  # batches are posted\nfernet_key_file = "fernet.key"',
        '[data]\ntrain = "train.jsonl"\nrounds = 1',
    )
    assert pinned.records(hospital.site()) == "every record can be used"
    (hospital.home / "train.jsonl").write_text(json.dumps(record | {"age": "old"}) + "\n")
    hospital.fails(pinned.records, "records of this hospital cannot be used", ExitCode.USAGE)


def test_a_policy_of_whole_hospitals_takes_no_records(hospital: Hospital) -> None:
    model = hospital.policy.model
    assert model is not None
    rule = msgspec.structs.replace(model.contribution, max_patients=1)
    policy = msgspec.structs.replace(
        hospital.policy,
        noise=msgspec.structs.replace(hospital.policy.noise, unit="hospital"),
        model=msgspec.structs.replace(model, contribution=rule),
        features=None,
    )
    (hospital.home / "policy.json").write_bytes(policy.canonical())
    assert "none are taken" in pinned.records(hospital.site())
    hospital.add('[data]\ntest = "test.jsonl"\n')
    hospital.fails(pinned.records, "takes no records", ExitCode.USAGE)
