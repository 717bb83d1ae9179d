import msgspec
import numpy as np
import pytest

from party.training.evaluate import accuracy, predict, train_locally
from party.training.features import Batch
from secagg.contribution import ContributionRule
from secagg.model import Model, ModelSpec, ParameterSpec, UpdateRule, initial

SPEC = ModelSpec(
    parameters=(
        ParameterSpec(name="intercept", shape=(1,)),
        ParameterSpec(name="weights", shape=(1, 1)),
    ),
    contribution=ContributionRule(
        scale=1000, gradient_bound=1000, count_weight=100, max_patients=50
    ),
    update=UpdateRule(learning_rate="1", count_floor=40),
)
BATCH = Batch(np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1]))


def model_of(slope: float, **average: float) -> Model:
    arrays = {"parameters/intercept": np.zeros(1), "parameters/weights": np.array([[slope]])}
    if average:
        arrays["average/intercept"] = np.zeros(1)
        arrays["average/weights"] = np.array([[average["average"]]])
    return Model(arrays)


def test_accuracy_is_the_fraction_that_is_right() -> None:
    assert accuracy(BATCH, model_of(1.0)) == 1.0
    assert accuracy(BATCH, model_of(-1.0)) == 0.0
    assert accuracy(BATCH, initial(SPEC)) == 0.5  # a tie goes to the reference class


def test_the_average_predicts_where_there_is_one() -> None:
    assert predict(BATCH.features, model_of(1.0, average=-1.0)).tolist() == [1, 1, 0, 0]


def test_accuracy_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="give at least one record"):
        accuracy(Batch(np.zeros((0, 1)), np.zeros(0, dtype=np.int64)), initial(SPEC))


def test_training_alone_learns_and_the_consortiums_floor_does_not_slow_it() -> None:
    model = train_locally(BATCH, SPEC, rounds=3)
    assert accuracy(BATCH, model) == 1.0
    assert model["updates"] == 3.0
    lower = msgspec.structs.replace(SPEC.update, count_floor=1)
    assert train_locally(BATCH, msgspec.structs.replace(SPEC, update=lower), rounds=3) == model


def test_no_rounds_leave_the_initial_model() -> None:
    assert train_locally(BATCH, SPEC, rounds=0) == initial(SPEC)
