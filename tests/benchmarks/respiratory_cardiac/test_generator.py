"""Synthetic patients: marked as such, readable by the shipped policy, reproducible."""

import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.respiratory_cardiac.generator import (
    HOSPITALS,
    PROFILES,
    Hospital,
    patients,
    template,
)
from party.training.features import Batch, read_batch
from party.training.records import decode_record


def batch(hospital: Hospital, count: int, seed: int) -> Batch:
    records = [
        decode_record(json.dumps(record).encode(), position)
        for position, record in enumerate(patients(hospital, count, seed))
    ]
    return read_batch(records, template().record_features)


@pytest.mark.parametrize("hospital", HOSPITALS)
def test_every_record_fits_the_shipped_policy(hospital: Hospital) -> None:
    assert len(batch(hospital, 2000, 3)) == 2000  # and no id twice, or it were refused


def test_every_class_of_the_policy_occurs() -> None:
    found = np.unique(batch(Hospital.NORTH, 2000, 0).classes)
    assert len(found) == template().record_features.class_count == len(PROFILES)


def test_every_id_says_that_it_is_synthetic() -> None:
    assert all(
        record["patient_id"].startswith("SYNTHETIC-") for record in patients(Hospital.EAST, 50, 0)
    )


def test_a_seed_gives_the_same_patients_and_another_one_others() -> None:
    assert patients(Hospital.SOUTH, 20, 1) == patients(Hospital.SOUTH, 20, 1)
    assert patients(Hospital.SOUTH, 20, 1) != patients(Hospital.SOUTH, 20, 2)
    assert patients(Hospital.SOUTH, 20, 1) != patients(Hospital.WEST, 20, 1)


def test_hospitals_differ_in_their_mix_of_diagnoses() -> None:
    shares = [np.bincount(batch(name, 2000, 0).classes, minlength=8) / 2000 for name in HOSPITALS]
    assert np.ptp(shares, axis=0).max() > 0.05


def test_printed_one_record_a_line() -> None:
    command = [sys.executable, "-m", "benchmarks.respiratory_cardiac"]
    command += ["--hospital", "west", "--patients", "3", "--seed", "5"]
    printed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert [json.loads(line) for line in printed.splitlines()] == patients(Hospital.WEST, 3, 5)
