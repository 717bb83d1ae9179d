"""How well a model predicts at this hospital, and what this hospital could have trained alone."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from party.training.features import Batch
from party.training.gradient import contribution, probabilities
from secagg.model import Model, ModelSpec, apply, initial


def predict(features: NDArray[np.float64], model: Model) -> NDArray[np.int64]:
    """The most probable class of each row, by the model's predictor; the first one of equals."""
    classes: NDArray[np.int64] = probabilities(features, model.predictor()).argmax(axis=1)
    return classes


def accuracy(batch: Batch, model: Model) -> float:
    """The fraction of the batch whose class is predicted, 0 to 1. Raises ValueError if empty."""
    if not len(batch):
        raise ValueError("accuracy of no patients is not defined; give at least one record")
    return float(np.mean(predict(batch.features, model) == batch.classes))


def train_locally(batch: Batch, spec: ModelSpec, rounds: int) -> Model:
    """The model after ``rounds`` updates by this hospital's own contribution, without noise.

    It is the baseline to compare the federated model with, and never leaves the hospital. The count
    floor, which is public and meant for the whole consortium, does not apply.
    """
    alone = msgspec.structs.replace(
        spec, update=msgspec.structs.replace(spec.update, count_floor=1)
    )
    model = initial(alone)
    for _ in range(rounds):
        model = apply(model, contribution(batch, model, alone), alone)
    return model
