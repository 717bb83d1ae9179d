"""Accuracy by the number of patients, with the template's noise and without, and its price.

The hospitals' own code in one process: contributions, noise and updates are those of a round.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import msgspec
import numpy as np

from benchmarks.heart_disease.training import Batches, train
from benchmarks.respiratory_cardiac.generator import HOSPITALS, JsonRecord, patients, template
from party.training.evaluate import accuracy
from party.training.features import Batch, read_batch
from party.training.records import decode_record
from secagg.model import ModelSpec
from secagg.policy import Policy
from secagg.privacy.accounting import RHO_UNIT, epsilon_to_zcdp, zcdp_to_epsilon
from secagg.privacy.mechanism import Mechanism
from secagg.schema import FeatureSchema

ROUNDS: Final = 12
TOLERANCE: Final = 0.02
EPSILONS: Final = tuple(
    Fraction(text) for text in ("0.1", "0.2", "0.5", "1", "2", "5", "10", "20", "50", "100")
)

_TEST_PATIENTS: Final = 1000
_TEST_SEED: Final = 10**6


class Utility(msgspec.Struct, frozen=True, kw_only=True):
    """Of ``patients`` per hospital, the same in all rounds; on test patients, who are others.

    clean: accuracy without noise. noised, deviation: with the template's noise, mean and standard
    deviation over the seeds. needed: the smallest of ``EPSILONS`` for all rounds at which the mean
    stays within ``TOLERANCE`` of ``clean``; null if none does.
    """

    patients: int
    clean: float
    noised: float
    deviation: float
    needed: float | None


class Privacy(msgspec.Struct, frozen=True, kw_only=True):
    """What rounds cost under the template, whatever is posted in them, at ``delta``.

    one, all: epsilon of one round and of ``rounds``, toward the server with its corrupt hospitals;
    own: of all of them toward everybody else together.
    """

    delta: float
    rounds: int
    one: float
    all: float
    own: float


def privacy(policy: Policy) -> Privacy:
    """The cost of rounds under ``policy``."""
    guarantee = policy.mechanism.guarantee(policy.vector.dimension)
    delta = Fraction(policy.noise.delta)

    def epsilon(rho: Fraction | None, rounds: int) -> float:
        return zcdp_to_epsilon(rounds * (rho or 0), delta, rounds * guarantee.total_variation)

    return Privacy(
        delta=float(delta),
        rounds=ROUNDS,
        one=epsilon(guarantee.rho_sum, 1),
        all=epsilon(guarantee.rho_sum, ROUNDS),
        own=epsilon(guarantee.rho_own, ROUNDS),
    )


def planned_policy() -> Policy:
    """The template's policy for the four hospitals, with keys that nobody has."""
    keys = [number.to_bytes(32, "big") for number in range(1, len(HOSPITALS) + 2)]
    return template().policy("synthetic", keys[0], dict(zip(HOSPITALS, keys[1:], strict=True)))


def utility(size: int, seeds: int, seed: int) -> Utility:
    """Train with ``size`` patients per hospital, ``seeds`` times for each amount of noise."""
    schema, spec, policy = template().record_features, template().model, planned_policy()
    batches = _batches(size, seed, schema)
    tests = _batches(_TEST_PATIENTS, _TEST_SEED, schema)
    clean = _accuracies(batches, tests, spec, None, 1)[0]
    noised = _accuracies(batches, tests, spec, policy.mechanism, seeds)
    needed = next(
        (
            epsilon
            for epsilon in EPSILONS
            if np.mean(_accuracies(batches, tests, spec, _mechanism(policy, epsilon), seeds))
            >= clean - TOLERANCE
        ),
        None,
    )
    return Utility(
        patients=size,
        clean=clean,
        noised=float(np.mean(noised)),
        deviation=float(np.std(noised)),
        needed=None if needed is None else float(needed),
    )


def _mechanism(policy: Policy, epsilon: Fraction) -> Mechanism:
    """The noise with which ``ROUNDS`` rounds cost ``epsilon``."""
    rho = Fraction(epsilon_to_zcdp(epsilon, Fraction(policy.noise.delta))) / ROUNDS
    return Mechanism.calibrated(
        mode=policy.noise.mode,
        sensitivity=policy.noise.sensitivity,
        rho=rho // RHO_UNIT * RHO_UNIT,
        roster=policy.n,
        corrupt=policy.corrupt,
        min_survivors=policy.min_survivors,
    )


def _accuracies(
    batches: Batches, tests: Batches, spec: ModelSpec, mechanism: Mechanism | None, seeds: int
) -> list[float]:
    """Mean accuracy over the hospitals' test patients, for each noise seed."""
    found = []
    for seed in range(seeds):
        model = train(batches, spec, ROUNDS, mechanism, seed)
        found.append(float(np.mean([accuracy(batch, model) for batch in tests.values()])))
    return found


def _batches(size: int, seed: int, schema: FeatureSchema) -> Batches:
    """Every hospital's patients, as its node reads them."""
    return {hospital: _batch(patients(hospital, size, seed), schema) for hospital in HOSPITALS}


def _batch(records: Sequence[JsonRecord], schema: FeatureSchema) -> Batch:
    plaintexts = [msgspec.json.encode(record) for record in records]
    return read_batch([decode_record(text, i) for i, text in enumerate(plaintexts)], schema)
