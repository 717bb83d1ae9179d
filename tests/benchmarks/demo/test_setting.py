"""The consortium that the demonstration makes: everybody's own records, one policy, one budget."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from benchmarks.demo.plan import Plan
from benchmarks.demo.setting import set_up, set_up_for_posting
from benchmarks.heart_disease import dataset
from benchmarks.heart_disease.policy import Mode, Target
from party.config import load
from party.ledger import Cost
from secagg.privacy.budget import Budget


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def by_id(each: dict[str, object]) -> str:
    return str(each["patient_id"])


def test_every_hospital_has_its_own_records_and_no_other(tmp_path: Path) -> None:
    created = set_up(tmp_path, Plan(2, (), Target("exact", "1"), 7))
    assert tuple(created.hospitals) == dataset.HOSPITALS
    for name, split in dataset.load().items():
        data = load(created.hospitals[name]).data
        assert data is not None
        assert data.train is not None
        assert data.test is not None
        assert data.rounds == 2
        assert sorted(records(data.train), key=by_id) == sorted(
            (row.record for row in split.train), key=by_id
        )
        assert records(data.test) == [row.record for row in split.test]


def test_for_posting_there_is_a_request_in_the_place_of_records(tmp_path: Path) -> None:
    created, postings = set_up_for_posting(tmp_path, Plan(2, (), Target("exact", "1"), 7))
    assert tuple(postings) == dataset.HOSPITALS
    for name, posting in postings.items():
        config = load(created.hospitals[name])
        assert config.data is None
        assert config.ehr is not None
        assert config.ehr.fernet_key_file == posting.fernet_key_file
        body = json.loads(posting.batch_file.read_bytes())
        assert len(body["patient_data_list"]) == len(dataset.load()[name].train)
        assert not (posting.batch_file.parent / "train.jsonl").exists()


def test_the_seed_is_of_the_order_of_the_records_and_of_nothing_else(tmp_path: Path) -> None:
    made = {
        name: set_up(tmp_path / name, Plan(2, (), None, seed))
        for name, seed in (("one", 1), ("same", 1), ("two", 2))
    }
    orders = {
        name: (created.hospitals["hungary"].parent / "train.jsonl").read_bytes()
        for name, created in made.items()
    }
    assert orders["one"] == orders["same"]
    assert orders["one"] != orders["two"]
    assert made["one"].policy.server_key != made["same"].policy.server_key
    assert made["one"].policy.roster != made["same"].policy.roster


@pytest.mark.parametrize("mode", ["exact", "at_least", "local"])
def test_a_hospitals_budget_pays_for_the_rounds(tmp_path: Path, mode: Mode) -> None:
    created = set_up(tmp_path, Plan(3, (), Target(mode, "0.5", "0.01"), 0))
    cost = Cost.of(created.policy)
    limits = load(created.hospitals["hungary"]).budget
    assert cost is not None
    assert limits is not None
    epsilon, delta = limits.exact
    assert (epsilon, delta) == (Fraction(1, 2), Fraction(1, 100))
    affordable = Budget(epsilon, delta).affordable(cost.sum)
    assert affordable >= 3
    # Everybody's own vectors cost twice what their sum does, and "local" is about those.
    own = Budget(epsilon, delta).affordable(cost.own)
    assert (own if mode == "local" else affordable) == 3


def test_without_noise_there_is_no_budget(tmp_path: Path) -> None:
    created = set_up(tmp_path, Plan(1, (), None, 0))
    assert created.policy.noise.mode == "none"
    assert load(created.hospitals["hungary"]).budget is None
