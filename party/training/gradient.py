"""One hospital's contribution: per-patient gradients, clipped, rounded and summed as integers.

The model is softmax regression: logits 0 for the reference class and ``intercept + weights @ x``
for the others (with two classes, logistic regression), the loss is cross-entropy. A patient's
gradient is clipped in L2 as floats, rounded, and clipped again as integers, so that rounding never
exceeds the bound.

Floats here need no reproducible bits: each hospital alone computes its own contribution, and the
privacy guarantee rests on the integers.
"""

import numpy as np
from numpy.typing import NDArray

from party.training.features import Batch
from secagg.errors import LocalMisuse
from secagg.model import Model, ModelSpec
from secagg.vector.fixed_point import clip_l2, quantise


def contribution(batch: Batch, model: Model, spec: ModelSpec) -> NDArray[np.int64]:
    """The vector x_u before noise: int64, ``spec.dimension`` entries, in units.

    Gradients in the declared order of parameters, then ``count_weight`` per patient. One patient
    changes it by at most ``sqrt(spec.contribution.sensitivity_squared)`` in L2, and every entry is
    within ``spec.contribution.coordinate_bound``.
    Raises ``LocalMisuse`` for more patients than ``max_patients``, or if ``model`` is not a softmax
    regression over the batch's features.
    """
    rule = spec.contribution
    if len(batch) > rule.max_patients:
        raise LocalMisuse(
            f"{len(batch)} patients in one batch, the policy allows {rule.max_patients}: split it"
        )
    gradients = patient_gradients(batch, model, spec)
    bound = rule.gradient_bound / rule.scale
    norms = np.sqrt(np.sum(gradients * gradients, axis=1, keepdims=True))
    gradients *= bound / np.maximum(norms, bound)
    total = np.zeros(spec.dimension, dtype=np.int64)
    for units in quantise(gradients, rule.scale):
        total[:-1] += clip_l2(units, rule.gradient_bound)
    total[-1] = rule.count_weight * len(batch)
    return total


def patient_gradients(batch: Batch, model: Model, spec: ModelSpec) -> NDArray[np.float64]:
    """Unclipped gradients of the loss at the current iterate: (patients, parameters).

    Raises ``LocalMisuse`` if ``model`` is not a softmax regression over the batch's features.
    """
    parameters = model.parameters()
    _check_linear(parameters, batch)
    residuals = probabilities(batch.features, parameters)[:, 1:]
    for logit in range(residuals.shape[1]):
        residuals[:, logit] -= batch.classes == logit + 1
    gradients = {
        "intercept": residuals,
        "weights": residuals[:, :, None] * batch.features[:, None, :],
    }
    return np.concatenate(
        [gradients[each.name].reshape(len(batch), each.size) for each in spec.parameters], axis=1
    )


def probabilities(
    features: NDArray[np.float64], parameters: dict[str, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Probability of each class for each row: (patients, classes); rows sum to 1."""
    logits = np.zeros((len(features), len(parameters["intercept"]) + 1))
    logits[:, 1:] = features @ parameters["weights"].T + parameters["intercept"]
    logits -= logits.max(axis=1, keepdims=True)
    likelihood: NDArray[np.float64] = np.exp(logits)
    likelihood /= likelihood.sum(axis=1, keepdims=True)
    return likelihood


def _check_linear(parameters: dict[str, NDArray[np.float64]], batch: Batch) -> None:
    shapes = {name: array.shape for name, array in parameters.items()}
    logits = shapes.get("intercept", (0,))
    columns = batch.features.shape[1]
    if shapes != {"intercept": logits, "weights": (*logits, columns)}:
        raise LocalMisuse(
            f"the model has {shapes}; softmax regression over {columns} columns needs an intercept"
            f" of shape (logits,) and weights of shape (logits, {columns})"
        )
    if len(batch) and batch.classes.max() > logits[0]:
        raise LocalMisuse(f"the model has {logits[0] + 1} classes, the batch has more")
