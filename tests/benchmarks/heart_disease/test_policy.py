import msgspec
import numpy as np
import pytest

from benchmarks.heart_disease.dataset import HOSPITALS, rows
from benchmarks.heart_disease.policy import CHOSEN, Mode, Target, model_spec, policy, schema
from benchmarks.heart_disease.training import batch
from secagg.model import ModelSpec, linear_parameters
from secagg.policy import load
from secagg.schema import FeatureSchema


def test_the_shipped_policy_survives_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(schema()), type=FeatureSchema) == schema()
    assert msgspec.json.decode(msgspec.json.encode(model_spec()), type=ModelSpec) == model_spec()


@pytest.mark.parametrize("mode", ["exact", "at_least", "local"])
@pytest.mark.parametrize("epsilon", ["0.1", "1", "5"])
def test_a_whole_policy_loads_and_pins_the_studys_noise(mode: Mode, epsilon: str) -> None:
    target = Target(mode, epsilon)
    keys = {name: f"{number:064x}" for number, name in enumerate(HOSPITALS, start=1)}
    pinned = policy(target, "ff" * 32, keys)
    assert load(pinned.canonical()) == pinned
    assert pinned.mechanism == target.mechanism(model_spec(), CHOSEN.rounds)
    assert pinned.ring.bits <= 32


def test_the_model_is_over_the_schemas_features() -> None:
    assert model_spec().parameters == linear_parameters(schema())
    assert model_spec().dimension == schema().feature_count + 2
    assert schema().class_names == ("no_heart_disease", "heart_disease")


def test_the_sensitivity_is_a_whole_number() -> None:
    rule = model_spec().contribution
    assert rule.sensitivity**2 == rule.sensitivity_squared


def test_every_patient_fits_the_schema_and_no_term_is_unknown() -> None:
    features = batch(rows(), schema()).features
    named = dict(zip(schema().feature_names, features.T, strict=True))
    assert not named["sex=other"].any()
    assert not named["symptoms=other"].any()
    assert set(np.unique(named["sex=male"])) == {-1.0, 1.0}
    assert set(np.unique(named["symptoms=asymptomatic"])) == {-1.0, 1.0}
    assert set(np.unique(named["chol:missing"])) == {0.0, float(CHOSEN.cholesterol_missing)}
    for name in ("age", "systolic", "max_hr", "st_depression", "chol"):
        assert np.abs(named[name]).max() <= 2.0
        assert named[name].std() > 0.3


def test_the_label_is_the_second_class() -> None:
    assert batch(rows(), schema()).classes.tolist() == [int(row.diseased) for row in rows()]
