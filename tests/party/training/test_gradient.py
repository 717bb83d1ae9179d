from math import isqrt

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from party.training.features import Batch
from party.training.gradient import contribution, patient_gradients, probabilities
from secagg.contribution import ContributionRule
from secagg.errors import LocalMisuse
from secagg.model import Model, ModelSpec, ParameterSpec, UpdateRule, initial


def spec_for(features: int, classes: int, **rule: int) -> ModelSpec:
    constants = {"scale": 1000, "gradient_bound": 700, "count_weight": 100, "max_patients": 50}
    return ModelSpec(
        parameters=(
            ParameterSpec(name="intercept", shape=(classes - 1,)),
            ParameterSpec(name="weights", shape=(classes - 1, features)),
        ),
        contribution=ContributionRule(**{**constants, **rule}),
        update=UpdateRule(learning_rate="1", count_floor=1),
    )


def batch_of(rows: list[list[float]], classes: list[int]) -> Batch:
    return Batch(
        np.array(rows, dtype=np.float64).reshape(len(rows), -1), np.array(classes, dtype=np.int64)
    )


def model_of(intercept: list[float], weights: list[list[float]]) -> Model:
    return Model(
        {
            "parameters/intercept": np.array(intercept),
            "parameters/weights": np.array(weights),
            "updates": np.array(0.0),
        }
    )


def loss(batch: Batch, intercept: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    likely = probabilities(batch.features, {"intercept": intercept, "weights": weights})
    return float(-np.log(likely[np.arange(len(batch)), batch.classes]).sum())


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_gradients_are_those_of_the_cross_entropy(classes: int) -> None:
    values = np.random.default_rng(classes)
    intercept = values.standard_normal(classes - 1)
    weights = values.standard_normal((classes - 1, 3))
    batch = batch_of(values.standard_normal((4, 3)).tolist(), [0, 1, classes - 1, 0])
    model = model_of(intercept.tolist(), weights.tolist())
    gradient = patient_gradients(batch, model, spec_for(3, classes)).sum(axis=0)
    parameters = np.concatenate([intercept, weights.ravel()])
    step = 1e-6
    for index in range(len(parameters)):
        up, down = parameters.copy(), parameters.copy()
        up[index] += step
        down[index] -= step
        numeric = (
            loss(batch, up[: classes - 1], up[classes - 1 :].reshape(-1, 3))
            - loss(batch, down[: classes - 1], down[classes - 1 :].reshape(-1, 3))
        ) / (2 * step)
        assert gradient[index] == pytest.approx(numeric, abs=1e-7)


def test_two_classes_are_logistic_regression() -> None:
    likely = probabilities(
        np.array([[2.0]]), {"intercept": np.array([-1.0]), "weights": np.array([[1.5]])}
    )
    assert likely[0].tolist() == pytest.approx([1 / (1 + np.exp(2)), 1 / (1 + np.exp(-2))])


def test_large_logits_do_not_overflow() -> None:
    likely = probabilities(
        np.array([[1.0], [-1.0]]), {"intercept": np.zeros(1), "weights": np.array([[1e6]])}
    )
    assert likely.tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_a_contribution_is_written_out() -> None:
    spec = spec_for(2, 2, gradient_bound=10_000)
    batch = batch_of([[1.0, -1.0], [0.5, 2.0]], [1, 0])
    # At zero every residual is p - y = 0.5 - y.
    assert contribution(batch, initial(spec), spec).tolist() == [
        -500 + 500,
        -500 + 250,
        500 + 1000,
        200,
    ]


def test_parameters_enter_in_their_declared_order() -> None:
    spec = spec_for(2, 2, gradient_bound=10_000)
    turned = msgspec.structs.replace(spec, parameters=spec.parameters[::-1])
    batch = batch_of([[1.0, -1.0], [0.5, 2.0]], [1, 0])
    assert contribution(batch, initial(turned), turned).tolist() == [-250, 1500, 0, 200]


def test_each_patient_is_clipped_on_their_own() -> None:
    spec = spec_for(1, 2, gradient_bound=400)
    # Gradients (-0.5, -2) and (0.5, 0): the first is scaled to norm 0.4, the second too.
    total = contribution(batch_of([[4.0], [0.0]], [1, 0]), initial(spec), spec)
    scale = 400 / np.hypot(500, 2000)
    assert total.tolist() == pytest.approx([400 - 500 * scale, -2000 * scale, 200], abs=1.5)


finite = st.floats(-50, 50, width=32)
rows = st.lists(st.tuples(finite, finite, st.integers(0, 2)), min_size=1, max_size=6)
models = st.lists(st.floats(-20, 20), min_size=6, max_size=6)


@given(rows, models, st.integers(1, 2000), st.integers(1, 5))
def test_removing_one_patient_moves_the_vector_by_no_more_than_the_sensitivity(
    patients: list[tuple[float, float, int]], values: list[float], bound: int, scale: int
) -> None:
    spec = spec_for(2, 3, gradient_bound=bound, scale=scale * 100)
    model = model_of(values[:2], [values[2:4], values[4:]])

    def vector(kept: list[tuple[float, float, int]]) -> list[int]:
        features = np.array([each[:2] for each in kept], dtype=np.float64).reshape(-1, 2)
        classes = np.array([each[2] for each in kept], dtype=np.int64)
        total: list[int] = contribution(Batch(features, classes), model, spec).tolist()
        return total

    whole = vector(patients)
    assert max(map(abs, whole)) <= spec.contribution.coordinate_bound
    for left_out in range(len(patients)):
        rest = vector(patients[:left_out] + patients[left_out + 1 :])
        moved = sum((a - b) ** 2 for a, b in zip(whole, rest, strict=True))
        assert moved <= spec.contribution.sensitivity_squared
        assert isqrt(moved) <= spec.contribution.sensitivity


def test_rounding_up_does_not_exceed_the_bound() -> None:
    # 25 equal entries of norm 1: each is 0.2, at scale 8 rounds up to 2 of a bound of 8: norm 10.
    spec = spec_for(24, 2, scale=8, gradient_bound=8)
    batch = batch_of([[1.0] * 24], [0])
    total = contribution(batch, initial(spec), spec)
    assert sum(value**2 for value in total[:-1].tolist()) <= 64
    assert set(total[:-1].tolist()) == {1}


def test_an_empty_batch_contributes_nothing() -> None:
    spec = spec_for(2, 2)
    batch = Batch(np.zeros((0, 2)), np.zeros(0, dtype=np.int64))
    assert contribution(batch, initial(spec), spec).tolist() == [0, 0, 0, 0]


def test_more_patients_than_the_policy_allows_are_refused() -> None:
    spec = spec_for(1, 2, max_patients=2)
    assert contribution(batch_of([[0.0]] * 2, [0, 1]), initial(spec), spec)[-1] == 200
    with pytest.raises(LocalMisuse, match="3 patients in one batch, the policy allows 2"):
        contribution(batch_of([[0.0]] * 3, [0, 1, 1]), initial(spec), spec)


def test_a_model_of_another_kind_is_refused() -> None:
    with pytest.raises(LocalMisuse, match="softmax regression over 3 columns"):
        contribution(batch_of([[0.0] * 3], [0]), initial(spec_for(2, 2)), spec_for(2, 2))
    with pytest.raises(LocalMisuse, match="2 classes, the batch has more"):
        contribution(batch_of([[0.0] * 2], [2]), initial(spec_for(2, 2)), spec_for(2, 2))
    other = Model({"parameters/layer": np.zeros(2), "updates": np.array(0.0)})
    with pytest.raises(LocalMisuse, match="softmax regression"):
        contribution(batch_of([[0.0] * 2], [0]), other, spec_for(2, 2))
