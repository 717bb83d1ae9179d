from fractions import Fraction

import numpy as np
import pytest

from benchmarks.heart_disease.dataset import load
from benchmarks.heart_disease.policy import CHOSEN, Mode, Target, model_spec, schema
from benchmarks.heart_disease.training import (
    Batches,
    Vector,
    Vectors,
    batch,
    plain_sum,
    secure_sum,
    spent,
    train,
)
from secagg.model import ModelSpec, model_hash
from secagg.privacy.mechanism import Mechanism


@pytest.fixture(scope="module")
def fitted() -> Batches:
    return {hospital: batch(split.train, schema()) for hospital, split in load().items()}


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return model_spec()


@pytest.mark.parametrize("mode", ["exact", "at_least", "local"])
@pytest.mark.parametrize("epsilon", ["0.1", "1", "5"])
def test_all_rounds_together_cost_the_target_and_no_more(
    mode: Mode, epsilon: str, spec: ModelSpec
) -> None:
    mechanism = Target(mode, epsilon).mechanism(spec, CHOSEN.rounds)
    cost = spent(mechanism, spec.dimension, CHOSEN.rounds)
    promised = cost.own if mode == "local" else cost.sum
    assert float(epsilon) * (1 - 1e-5) < promised <= float(epsilon)


def test_no_epsilon_is_named_where_there_is_no_noise(spec: ModelSpec) -> None:
    silent = Mechanism.calibrated(
        mode="none", sensitivity=1, rho=Fraction(1), roster=4, corrupt=1, min_survivors=3
    )
    with pytest.raises(ValueError, match="no epsilon"):
        spent(silent, spec.dimension, 1)


@pytest.mark.parametrize(
    ("mode", "variances"), [("exact", 4 / 3), ("at_least", 2.0), ("local", 4.0)]
)
def test_the_sum_carries_the_noise_of_its_mode(
    mode: Mode, variances: float, fitted: Batches, spec: ModelSpec
) -> None:
    mechanism = Target(mode, "0.1").mechanism(spec, 1)
    noise: list[Vector] = []

    def record(vectors: Vectors) -> Vector:
        noise.append(plain_sum(vectors))
        return noise[-1]

    train(fitted, spec, 1, None, 0, record)
    clean = noise.pop()
    for seed in range(100):
        train(fitted, spec, 1, mechanism, seed, record)
    measured = np.mean([np.square((noised - clean).astype(np.float64)) for noised in noise])
    # 1300 squares: the mean has a relative standard deviation of sqrt(2 / 1300) = 0.04.
    assert measured / float(mechanism.variance_of_sum) == pytest.approx(variances, rel=0.16)


def test_the_secure_sum_gives_the_same_model(fitted: Batches, spec: ModelSpec) -> None:
    mechanism = Target("at_least", "1").mechanism(spec, CHOSEN.rounds)
    plain = train(fitted, spec, CHOSEN.rounds, mechanism, 7)
    secure = train(fitted, spec, CHOSEN.rounds, mechanism, 7, secure_sum)
    assert model_hash(plain) == model_hash(secure)


def test_the_seed_decides_the_noise(fitted: Batches, spec: ModelSpec) -> None:
    mechanism = Target("local", "1").mechanism(spec, 1)
    assert train(fitted, spec, 1, mechanism, 1) == train(fitted, spec, 1, mechanism, 1)
    assert train(fitted, spec, 1, mechanism, 1) != train(fitted, spec, 1, mechanism, 2)
