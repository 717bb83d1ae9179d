"""Private training of the four hospitals in one process, on the code that the hospitals run.

Contributions, noise and updates are the real ones. The secure sum equals the plain integer sum bit
for bit, so it makes no difference to the model which of the two adds the vectors up.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.heart_disease.dataset import Row
from benchmarks.heart_disease.policy import DELTA
from party.training.features import Batch, read_batch
from party.training.gradient import contribution
from party.training.records import decode_record
from secagg.model import Model, ModelSpec, apply, initial
from secagg.privacy.accounting import zcdp_to_epsilon
from secagg.privacy.mechanism import Mechanism
from secagg.schema import FeatureSchema
from secagg.simulate import simulate

Batches = Mapping[str, Batch]
Vector = NDArray[np.int64]
Vectors = Mapping[str, Vector]


@dataclass(frozen=True, slots=True)
class Spent:
    """epsilon at ``DELTA`` of all rounds: of the sums, and of the hospital's own vectors."""

    sum: float
    own: float


def spent(mechanism: Mechanism, dimension: int, rounds: int) -> Spent:
    """What ``rounds`` releases of ``dimension`` coordinates cost."""
    guarantee = mechanism.guarantee(dimension)
    if guarantee.rho_sum is None or guarantee.rho_own is None:
        raise ValueError("without noise no epsilon is spent: none is kept")
    delta, variation = Fraction(DELTA), rounds * guarantee.total_variation
    return Spent(
        sum=zcdp_to_epsilon(rounds * guarantee.rho_sum, delta, variation),
        own=zcdp_to_epsilon(rounds * guarantee.rho_own, delta, variation),
    )


def batch(rows: Sequence[Row], schema: FeatureSchema) -> Batch:
    """The rows as a hospital's node reads them: each record from its JSON."""
    plaintexts = [msgspec.json.encode(row.record) for row in rows]
    return read_batch([decode_record(text, i) for i, text in enumerate(plaintexts)], schema)


def plain_sum(vectors: Vectors) -> Vector:
    """The hospitals' vectors added up as integers."""
    total: Vector = np.sum(list(vectors.values()), axis=0, dtype=np.int64)
    return total


def secure_sum(vectors: Vectors) -> Vector:
    """The same sum out of a whole protocol round in memory, nobody dropping out."""
    outcome = simulate(vectors)
    if outcome.sum is None:
        raise RuntimeError(f"the simulated round was aborted: {outcome.aborted}")
    return outcome.sum


def train(
    batches: Batches,
    spec: ModelSpec,
    rounds: int,
    mechanism: Mechanism | None,
    seed: int,
    add_up: Callable[[Vectors], Vector] = plain_sum,
) -> Model:
    """The model after ``rounds`` rounds in which every hospital takes part with its whole batch.

    mechanism: the noise, or None for none. seed: of the noise; the same gives the same model.
    add_up: ``plain_sum`` or ``secure_sum``.
    """
    model = initial(spec)
    for number in range(rounds):
        vectors = {}
        for hospital, own in batches.items():
            vectors[hospital] = contribution(own, model, spec)
            if mechanism is not None:
                noise_seed = hashlib.sha256(f"{seed}/{number}/{hospital}".encode()).digest()
                vectors[hospital] += _noise(mechanism, noise_seed, spec.dimension, len(batches))
        model = apply(model, add_up(vectors), spec)
    return model


def _noise(mechanism: Mechanism, seed: bytes, dimension: int, hospitals: int) -> Vector:
    """What is left of one hospital's noise when nobody drops out."""
    surplus = mechanism.surplus_seeds(seed, hospitals, hospitals)
    return mechanism.noise(seed, dimension, hospitals) - mechanism.surplus_noise(
        surplus, dimension, hospitals, hospitals
    )
