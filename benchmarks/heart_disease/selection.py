"""Choice of the constants by cross-validation inside the training rows; test rows are never read.

Five folds per hospital, stratified by label, repeated with other folds, each trained with several
noise seeds. A candidate's score is the accuracy on the held-out folds, mean of the four hospitals,
then of the three targets below. Among the candidates within ``TIE`` of the best score the one with
the lowest log loss is chosen, since accuracy alone does not care what the probabilities mean.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np

from benchmarks.heart_disease.dataset import HOSPITALS, Row, load
from benchmarks.heart_disease.policy import Constants, Target, model_spec, schema
from benchmarks.heart_disease.training import batch, train
from party.training.evaluate import accuracy
from party.training.features import Batch
from party.training.gradient import probabilities
from secagg.model import Model

FOLDS: Final = 5
REPETITIONS: Final = 2
NOISE_SEEDS: Final = 6
TIE: Final = 0.002
TARGETS: Final = (Target("at_least", "1"), Target("local", "1"), Target("at_least", "0.1"))

ROUNDS: Final = (3, 4, 6)
SCALES: Final = (512, 1024)
LEARNING_RATES: Final = ("1", "2.5")
CHOLESTEROL_MISSING: Final = ("2", "4", "8", "16")


@dataclass(frozen=True, slots=True)
class Candidate:
    """Constants with their cross-validated accuracy per target, and their mean log loss (nats)."""

    constants: Constants
    accuracies: tuple[float, ...]
    log_loss: float

    @property
    def score(self) -> float:
        """Mean accuracy of the targets."""
        return sum(self.accuracies) / len(self.accuracies)


def grid() -> tuple[Constants, ...]:
    """Every combination that is tried, 48 of them."""
    values = product(ROUNDS, SCALES, LEARNING_RATES, CHOLESTEROL_MISSING)
    return tuple(Constants(*each) for each in values)


def select(candidates: Sequence[Candidate]) -> Candidate:
    """The candidate with the lowest log loss among those within ``TIE`` of the best score."""
    best = max(candidate.score for candidate in candidates)
    eligible = [each for each in candidates if each.score >= best - TIE]
    return min(eligible, key=lambda each: each.log_loss)


def evaluate(
    constants: Constants, repetitions: int = REPETITIONS, noise_seeds: int = NOISE_SEEDS
) -> Candidate:
    """Cross-validate one combination; deterministic."""
    spec = model_spec(constants)
    folds = tuple(_folds(constants, repetitions))
    runs = [
        [
            _held_out(train(fitted, spec, constants.rounds, mechanism, seed), held_out)
            for seed, (fitted, held_out) in enumerate(folds * noise_seeds)
        ]
        for mechanism in (target.mechanism(spec, constants.rounds) for target in TARGETS)
    ]
    means = np.array(runs).mean(axis=1)
    return Candidate(
        constants=constants,
        accuracies=tuple(float(each) for each in means[:, 0]),
        log_loss=float(means[:, 1].mean()),
    )


def fold_of(rows: Sequence[Row], repetition: int) -> dict[int, int]:
    """Row id -> fold, for one hospital's rows: labels dealt out evenly, in an order by hash."""
    order = sorted(
        rows,
        key=lambda row: (
            row.diseased,
            hashlib.sha256(f"{repetition}/{row.row_id}".encode()).digest(),
        ),
    )
    return {row.row_id: position % FOLDS for position, row in enumerate(order)}


def _folds(
    constants: Constants, repetitions: int
) -> Iterator[tuple[dict[str, Batch], dict[str, Batch]]]:
    features = schema(constants)
    training = {hospital: split.train for hospital, split in load().items()}
    for repetition in range(repetitions):
        folds = {hospital: fold_of(rows, repetition) for hospital, rows in training.items()}
        for held_out in range(FOLDS):
            inside, outside = {}, {}
            for hospital in HOSPITALS:
                fold = folds[hospital]
                rows = training[hospital]
                inside[hospital] = batch([r for r in rows if fold[r.row_id] != held_out], features)
                outside[hospital] = batch([r for r in rows if fold[r.row_id] == held_out], features)
            yield inside, outside


def _held_out(model: Model, batches: dict[str, Batch]) -> tuple[float, float]:
    """Accuracy and log loss, each the mean of the hospitals'."""
    accuracies = [accuracy(own, model) for own in batches.values()]
    losses = []
    for own in batches.values():
        likely = probabilities(own.features, model.predictor())[np.arange(len(own)), own.classes]
        losses.append(float(-np.log(likely).mean()))
    return float(np.mean(accuracies)), float(np.mean(losses))
