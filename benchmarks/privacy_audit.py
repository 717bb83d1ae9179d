"""``python -m benchmarks.privacy_audit``: attack the published guarantee, as hard as we can.

The adversary of the theorem: it knows everything but whether one unit, whose clipped vector has
the full norm, is in the sum (a *canary*). Its best statistic is the projection of what it sees
on the canary. From its success over many trials follows a lower bound on epsilon; it must stay
below the promised one, and exceed it when the noise is halved by hand, or the audit is worth
nothing. Every run draws fresh seeds.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from fractions import Fraction
from math import isqrt, log
from typing import Annotated, Final

import msgspec
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import stats

from secagg.cli import Format
from secagg.crypto.randomness import Randomness, SystemRandomness
from secagg.privacy.accounting import epsilon_to_zcdp, zcdp_to_epsilon
from secagg.privacy.mechanism import Mechanism, Mode

SCHEMA: Final = "secagg-privacy-audit/1"
DELTA: Final = Fraction(1, 10**5)
EPSILON: Final = 4
CONFIDENCE: Final = 0.99

_SENSITIVITY: Final = 1000
_DIMENSION: Final = 8
_TRIALS_AT_ONCE: Final = 2**17
_THRESHOLDS: Final = 200


class Audit(msgspec.Struct, frozen=True):
    """One attack: ``lower`` <= true epsilon with probability CONFIDENCE; ``promised`` >= it.

    ``seen``: ``sum`` (server with c hospitals) or ``own`` (everybody else together).
    ``deviation``: factor of the standard deviation of the noise that was really added.
    """

    mode: str
    seen: str
    deviation: str
    trials: int
    lower: float
    promised: float


def audits(trials: int, randomness: Randomness) -> list[Audit]:
    """Each mode and guarantee, with the noise as promised and with half of it."""
    modes: tuple[Mode, ...] = ("at_least", "local", "exact")
    return [
        audit(mode, seen, deviation, trials, randomness)
        for mode in modes
        for seen in ("sum", "own")
        for deviation in (Fraction(1), Fraction(1, 2))
    ]


def audit(mode: Mode, seen: str, deviation: Fraction, trials: int, randomness: Randomness) -> Audit:
    """Attack one guarantee, ``sum`` or ``own``; the noise has ``deviation`` times its width.

    The mechanism is calibrated so that the guarantee under attack promises ``EPSILON``: so many
    trials as one can run show nothing about an epsilon of 9.
    """
    target = Fraction(epsilon_to_zcdp(EPSILON, DELTA))
    ratio = _rho(_mechanism(mode, target), seen) / target
    mechanism = _mechanism(mode, target / ratio)
    guarantee, rho = mechanism.guarantee(_DIMENSION), _rho(mechanism, seen)
    weakened = replace(mechanism, variance_of_sum=mechanism.variance_of_sum * deviation**2)
    without, with_canary = (
        projections(weakened, seen, trials, present, randomness) for present in (False, True)
    )
    return Audit(
        mode=mode,
        seen=seen,
        deviation=str(deviation),
        trials=trials,
        lower=lower_bound(without, with_canary, float(DELTA)),
        promised=zcdp_to_epsilon(rho, DELTA, guarantee.total_variation),
    )


def _mechanism(mode: Mode, rho: Fraction) -> Mechanism:
    return Mechanism.calibrated(
        mode=mode, sensitivity=_SENSITIVITY, rho=rho, roster=5, corrupt=1, min_survivors=3
    )


def _rho(mechanism: Mechanism, seen: str) -> Fraction:
    """What the guarantee ``seen`` costs."""
    guarantee = mechanism.guarantee(_DIMENSION)
    return (guarantee.rho_sum if seen == "sum" else guarantee.rho_own) or Fraction(0)


def projections(
    mechanism: Mechanism, seen: str, trials: int, present: bool, randomness: Randomness
) -> NDArray[np.float64]:
    """The adversary's statistic in each trial: canary . (what it sees), noise of honest only.

    It sees the smallest cohort there can be: fewest honest hospitals, so the least noise.
    """
    canary = np.full(_DIMENSION, isqrt(mechanism.sensitivity**2 // _DIMENSION), np.int64)
    canary[0] += isqrt(mechanism.sensitivity**2 - int(canary[1:] @ canary[1:])) - canary[0]
    # In mode exact everybody shared: removal then leaves one hospital the least of its own.
    survivors = mechanism.min_survivors if seen == "sum" else mechanism.roster
    honest = survivors - mechanism.corrupt if seen == "sum" else 1
    parts = []
    for start in range(0, trials, _TRIALS_AT_ONCE):
        count = min(_TRIALS_AT_ONCE, trials - start)
        vectors = np.tile(canary * present, (count, 1))
        for _ in range(honest):
            noise = _residual_noise(mechanism, count * _DIMENSION, survivors, randomness)
            vectors += noise.reshape(count, _DIMENSION)
        parts.append((vectors @ canary).astype(np.float64))
    return np.concatenate(parts)


def _residual_noise(
    mechanism: Mechanism, size: int, survivors: int, randomness: Randomness
) -> NDArray[np.int64]:
    seed, shared = randomness.draw(32), mechanism.roster
    disclosed = mechanism.surplus_seeds(seed, shared, survivors)
    added = mechanism.noise(seed, size, shared)
    return added - mechanism.surplus_noise(disclosed, size, shared, survivors)


def lower_bound(
    without: NDArray[np.float64], with_canary: NDArray[np.float64], delta: float
) -> float:
    """epsilon is at least this, with probability CONFIDENCE.

    The first half of the trials chooses the test "statistic above a threshold", the second half
    measures it: Clopper-Pearson bounds of both rates, ln((true positives - delta) / false ones).
    """
    half = without.size // 2
    candidates = np.quantile(without[:half], 1 - np.geomspace(1e-5, 0.5, _THRESHOLDS))
    threshold = max(
        candidates, key=lambda t: _epsilon(without[:half] > t, with_canary[:half] > t, delta)
    )
    return _epsilon(without[half:] > threshold, with_canary[half:] > threshold, delta)


def _epsilon(false: NDArray[np.bool_], true: NDArray[np.bool_], delta: float) -> float:
    each = 1 - (1 - CONFIDENCE) / 2
    positives, alarms, size = int(true.sum()), int(false.sum()), true.size
    least = float(stats.beta.ppf(1 - each, positives, size - positives + 1)) if positives else 0.0
    most = float(stats.beta.ppf(each, alarms + 1, size - alarms)) if alarms < size else 1.0
    return max(0.0, log((least - delta) / most)) if least > delta else 0.0


def main(
    trials: Annotated[int, typer.Option(min=1000, help="Trials per world.")] = 2_000_000,
    output: Annotated[Format, typer.Option("--format", help="text or json.")] = Format.TEXT,
) -> None:
    """A lower bound on epsilon by attack, beside the promised upper bound."""
    rows = audits(trials, SystemRandomness())
    if output is Format.JSON:
        document = {"schema": SCHEMA, "delta": float(DELTA), "audits": rows}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(document)).decode() + "\n")
        return
    table = Table(
        title=f"epsilon at delta = {float(DELTA):g}: {trials:,} trials per world, "
        f"{CONFIDENCE:.0%} confidence"
    )
    for heading in ("mode", "seen", "noise", "attack shows >=", "promised <="):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.mode, row.seen, f"{row.deviation} sd", f"{row.lower:.3f}", f"{row.promised:.3f}"
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    typer.run(main)
