import msgspec
import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from benchmarks.heart_disease.dataset import HOSPITALS, load, rows
from party.training.records import decode_record


def test_as_many_patients_remain_as_flamby_publishes() -> None:
    counts = [sum(row.hospital == hospital for row in rows()) for hospital in HOSPITALS]
    assert counts == [303, 261, 46, 130]
    assert len({row.row_id for row in rows()}) == 740


def test_row_304_belongs_to_hungary() -> None:
    (row,) = (row for row in rows() if row.row_id == 304)
    assert row.hospital == "hungary"
    assert row.record["patient_id"] == "hungary-304"


@pytest.mark.parametrize("hospital", HOSPITALS)
def test_the_split_is_the_one_that_scikit_learn_makes(hospital: str) -> None:
    own = [row for row in rows() if row.hospital == hospital]
    labels = np.array([row.diseased for row in own])
    train, test = train_test_split(
        np.arange(len(own)),
        test_size=1 - 0.66,
        train_size=0.66,
        random_state=43,
        shuffle=True,
        stratify=labels if np.bincount(labels).min() > 2 else None,
    )
    split = load()[hospital]
    assert sorted(own[i].row_id for i in train) == [row.row_id for row in split.train]
    assert sorted(own[i].row_id for i in test) == [row.row_id for row in split.test]


def test_a_row_becomes_a_record() -> None:
    row = load()["cleveland"].train[0]
    (first,) = (row for row in rows() if row.row_id == 1)
    assert first.record == {
        "patient_id": "cleveland-1",
        "age": 63,
        "sex": "male",
        "symptoms": ["typical angina"],
        "vitals": {"max_hr": 150, "bp": {"systolic": 145}},
        "labs": {
            "fasting_glucose_over_120": True,
            "resting_ecg": "lv hypertrophy",
            "st_depression": 2.3,
            "chol": 233,
        },
        "diagnosis": "no heart disease",
    }
    assert row.hospital == "cleveland"


def test_every_record_decodes_and_its_diagnosis_is_the_label() -> None:
    for row in rows():
        record = decode_record(msgspec.json.encode(row.record))
        assert record.patient_id == f"{row.hospital}-{row.row_id}"
        assert record.diagnosis == ("heart disease" if row.diseased else "no heart disease")


def test_zero_means_not_measured() -> None:
    swiss = [row.record for row in rows() if row.hospital == "switzerland"]
    assert not any("chol" in record["labs"] for record in swiss)
    assert all(row.record["labs"].get("chol", 1) > 0 for row in rows())
    assert all(row.record["vitals"].get("bp", {"systolic": 1})["systolic"] > 0 for row in rows())
    assert sum("bp" not in row.record["vitals"] for row in rows()) == 1
