"""The utility study: accuracy on FLamby's test sets against the privacy that was spent."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.heart_disease.dataset import load
from benchmarks.heart_disease.policy import CHOSEN, DELTA, Mode, Target, model_spec, schema
from benchmarks.heart_disease.training import (
    Spent,
    batch,
    plain_sum,
    secure_sum,
    spent,
    train,
)
from party.training.evaluate import accuracy, train_locally

EPSILONS: Final = ("5", "1", "0.1")
MODES: Final[tuple[Mode, ...]] = ("exact", "at_least", "local")
LOCAL_ROUNDS: Final = 20


@dataclass(frozen=True, slots=True)
class Published:
    """A figure of FLamby (NeurIPS 2022), Fed-Heart-Disease, logistic regression."""

    name: str
    epsilon: str | None
    accuracy: float


PUBLISHED: Final = (
    Published("FLamby, pooled, no privacy", None, 0.735),
    Published("FLamby, best federated, no privacy", None, 0.731),
    Published("FLamby, private", "5", 0.700),
    Published("FLamby, private", "1", 0.702),
    Published("FLamby, private", "0.1", 0.629),
)


@dataclass(frozen=True, slots=True)
class Result:
    """One row: accuracies over the noise seeds; ``spent`` is None without noise.

    mean, deviation: of the mean accuracy over the four test sets, over the seeds.
    hospitals: mean accuracy on each hospital's test set.
    """

    name: str
    target: Target | None
    spent: Spent | None
    mean: float
    deviation: float
    hospitals: dict[str, float]


@dataclass(frozen=True, slots=True)
class Study:
    """All rows, with what they have in common."""

    rounds: int
    seeds: int
    delta: str
    results: tuple[Result, ...]


def run(seeds: int, *, secure: bool = False) -> Study:
    """Train and test every row; ``seeds`` runs with noise seeds 0, 1, ... for each private one.

    secure: add the vectors up by whole protocol rounds in memory; the results are the same.
    """
    add_up = secure_sum if secure else plain_sum
    features, spec = schema(), model_spec()
    fitted = {name: batch(split.train, features) for name, split in load().items()}
    tested = {name: batch(split.test, features) for name, split in load().items()}

    alone = {name: train_locally(own, spec, LOCAL_ROUNDS) for name, own in fitted.items()}
    results = [
        _result(
            "each hospital alone, no privacy",
            None,
            None,
            [{name: accuracy(tested[name], alone[name]) for name in tested}],
        )
    ]
    for target in (None, *(Target(mode, epsilon) for epsilon in EPSILONS for mode in MODES)):
        mechanism = target.mechanism(spec, CHOSEN.rounds) if target else None
        runs = []
        for seed in range(seeds if mechanism else 1):
            model = train(fitted, spec, CHOSEN.rounds, mechanism, seed, add_up)
            runs.append({name: accuracy(own, model) for name, own in tested.items()})
        cost = spent(mechanism, spec.dimension, CHOSEN.rounds) if mechanism else None
        results.append(_result(_NAMES[target.mode if target else None], target, cost, runs))
    return Study(CHOSEN.rounds, seeds, DELTA, tuple(results))


_NAMES: Final = {
    None: "federated, no privacy",
    "exact": "noise for the sum (exact)",
    "at_least": "noise for the sum (at_least)",
    "local": "full local noise (local)",
}


def _result(
    name: str, target: Target | None, cost: Spent | None, runs: list[dict[str, float]]
) -> Result:
    means = [float(np.mean(list(each.values()))) for each in runs]
    return Result(
        name=name,
        target=target,
        spent=cost,
        mean=float(np.mean(means)),
        deviation=float(np.std(means)),
        hospitals={each: float(np.mean([run[each] for run in runs])) for each in runs[0]},
    )
