"""``python -m benchmarks.noise``: the sampler's speed, its law, and the noise under dropouts.

Three experiments, each against something it can fail: opendp's sampler in the same run, the exact
probability mass function, and the variance that docs/privacy.md promises. Each run draws fresh
seeds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Annotated, Any, Final

import msgspec
import numpy as np
import opendp.prelude as dp
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import stats

from secagg.cli import Format
from secagg.crypto.randomness import Randomness, SystemRandomness
from secagg.errors import SessionAborted
from secagg.policy import Member, NoiseSpec, Policy, VectorSpec
from secagg.privacy.accounting import RHO_UNIT
from secagg.privacy.discrete_gaussian import sample, tail_bound
from secagg.privacy.mechanism import Mechanism
from secagg.simulate import simulate

SCHEMA: Final = "secagg-bench-noise/1"
SIGNIFICANCE: Final = 1e-4

_DEVIATIONS: Final = (1, 10, 100, 1000, 10_000, 100_000, 2**20)
_OPENDP_SAMPLES: Final = 20_000
_COORDINATES: Final = 64


class Speed(msgspec.Struct, frozen=True):
    """Samples per second on one core at one standard deviation; ``ratio``: ours over opendp's."""

    deviation: int
    secagg: float
    opendp: float
    ratio: float
    table_seconds: float


class Fit(msgspec.Struct, frozen=True):
    """Tests of ``samples`` samples against the exact law of one standard deviation.

    ``chi_square`` and ``far_tail`` are p-values, ``kolmogorov`` the distance over the one that
    a correct sampler exceeds with probability SIGNIFICANCE.
    """

    deviation: int
    samples: int
    chi_square: float
    far_tail: float
    kolmogorov: float


class Dropouts(msgspec.Struct, frozen=True):
    """Variance of (sum minus true sum) when ``dropped`` vanish, as measured.

    ``ratio``: over the promised one; ``over_target``: the honest survivors' part, over s.
    """

    mode: str
    dropped: int
    rounds: int
    ratio: float
    over_target: float


def speeds(samples: int, randomness: Randomness) -> list[Speed]:
    """Both samplers at every standard deviation; the best of three runs counts for each."""
    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T=int)), dp.l2_distance(T=float)
    rows = []
    for deviation in _DEVIATIONS:
        seed, variance = randomness.draw(32), deviation**2
        table = _seconds(partial(sample, seed, variance, 1), runs=1)
        ours = samples / _seconds(partial(sample, seed, variance, samples))
        gaussian: Any = dp.m.make_gaussian(*space, scale=float(deviation))
        theirs = _OPENDP_SAMPLES / _seconds(partial(gaussian, [0] * _OPENDP_SAMPLES))
        rows.append(Speed(deviation, ours, theirs, ours / theirs, table))
    return rows


def fits(samples: int, randomness: Randomness) -> list[Fit]:
    """Chi-square, far tail and Kolmogorov distance at each standard deviation up to 10^4."""
    return [_fit(sd, samples, randomness) for sd in _DEVIATIONS if sd <= 10_000]


def _fit(deviation: int, samples: int, randomness: Randomness) -> Fit:
    edge = tail_bound(deviation**2)
    x = np.arange(-edge, edge + 1)
    mass = np.exp(-((x / deviation) ** 2) / 2)
    mass /= mass.sum()
    counts = np.bincount(sample(randomness.draw(32), deviation**2, samples) + edge)
    counts = np.pad(counts, (0, x.size - counts.size))

    common = samples * mass >= 10
    observed = np.append(counts[common], counts[~common].sum())
    expected = samples * np.append(mass[common], mass[~common].sum())
    far = np.abs(x) >= 5 * deviation
    distance = np.abs(np.cumsum(counts) / samples - np.cumsum(mass)).max()
    allowed = np.sqrt(np.log(2 / SIGNIFICANCE) / (2 * samples))  # Dvoretzky-Kiefer-Wolfowitz
    return Fit(
        deviation=deviation,
        samples=samples,
        chi_square=float(stats.chisquare(observed, expected).pvalue),
        far_tail=float(stats.binomtest(int(counts[far].sum()), samples, mass[far].sum()).pvalue),
        kolmogorov=float(distance / allowed),
    )


def dropouts(rounds: int, secure: bool, randomness: Randomness) -> list[Dropouts]:
    """Ten hospitals, c = 2, a floor of 7: every number of dropouts, with and without removal.

    ``secure``: by whole protocol rounds in memory, instead of the mechanism's functions.
    """
    rows = []
    for mode in ("exact", "at_least"):
        policy = _policy(mode)
        add_up = _by_protocol if secure else _by_mechanism
        for dropped in range(policy.n - policy.min_survivors + 1):
            survivors = policy.n - dropped
            residual = policy.mechanism.residual_variance(policy.n, survivors)
            squares = 0.0
            for _ in range(rounds):
                noise = add_up(policy, survivors, randomness).astype(np.float64)
                squares += float(noise @ noise)
            measured = squares / (rounds * _COORDINATES)
            honest = Fraction(survivors - policy.corrupt, survivors)
            rows.append(
                Dropouts(
                    mode=mode,
                    dropped=dropped,
                    rounds=rounds,
                    ratio=measured / float(survivors * residual),
                    over_target=measured * float(honest / policy.mechanism.variance_of_sum),
                )
            )
    return rows


def _by_mechanism(policy: Policy, survivors: int, randomness: Randomness) -> NDArray[np.int64]:
    mechanism: Mechanism = policy.mechanism
    total = np.zeros(_COORDINATES, np.int64)
    for _ in range(survivors):
        seed = randomness.draw(32)
        total += mechanism.noise(seed, _COORDINATES, policy.n)
        disclosed = mechanism.surplus_seeds(seed, policy.n, survivors)
        total -= mechanism.surplus_noise(disclosed, _COORDINATES, policy.n, survivors)
    return total


def _by_protocol(policy: Policy, survivors: int, randomness: Randomness) -> NDArray[np.int64]:
    vectors = np.arange(policy.n)[:, None] * np.ones(_COORDINATES, np.int64)
    drop = dict.fromkeys(range(survivors, policy.n), "share_keys")
    outcome = simulate(list(vectors), policy=policy, drop=drop, seed=randomness.draw(32))
    if outcome.sum is None:
        raise SessionAborted(outcome.aborted or "no sum")
    noise: NDArray[np.int64] = outcome.sum - vectors[:survivors].sum(axis=0)
    return noise


def _policy(mode: Any) -> Policy:
    keys = [f"{number:064x}" for number in range(1, 12)]
    return Policy(
        consortium="noise-benchmark",
        server_key=keys.pop(),
        roster=tuple(Member(f"hospital-{i}", key) for i, key in enumerate(keys)),
        corrupt=2,
        dropouts=3,
        min_survivors=7,
        vector=VectorSpec(dimension=_COORDINATES, max_value=10),
        noise=NoiseSpec(mode=mode, sensitivity=300, rho_units=int(Fraction(1, 100) / RHO_UNIT)),
    )


def _seconds(run: Callable[[], object], runs: int = 3) -> float:
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def noise(
    samples: Annotated[int, typer.Option(min=1_000_000, help="Samples per test.")] = 10_000_000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds per number of dropouts.")] = 2000,
    secure: Annotated[
        bool, typer.Option("--secure", help="Drop out of whole protocol rounds, in memory.")
    ] = False,
    output: Annotated[Format, typer.Option("--format", help="text or json.")] = Format.TEXT,
) -> None:
    """The discrete Gaussian sampler: speed beside opendp's, goodness of fit, dropouts."""
    randomness = SystemRandomness()
    speed, fit = speeds(samples, randomness), fits(samples, randomness)
    variance = dropouts(rounds, secure, randomness)
    if output is Format.JSON:
        document = {"schema": SCHEMA, "speed": speed, "fit": fit, "dropouts": variance}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(document)).decode() + "\n")
        return
    console = Console(width=100)
    console.print(
        _table(
            "Samples per second, one core",
            ("standard deviation", "secagg", "opendp", "ratio", "first use, s"),
            [
                (s.deviation, f"{s.secagg:,.0f}", f"{s.opendp:,.0f}", f"{s.ratio:,.0f}",
                 f"{s.table_seconds:.3f}")
                for s in speed
            ],
        )
    )  # fmt: skip
    console.print(
        _table(
            f"Fit of {samples:,} samples: p-values; a distance below 1 passes",
            ("standard deviation", "chi-square", "beyond 5 sd", "Kolmogorov"),
            [
                (f.deviation, f"{f.chi_square:.3f}", f"{f.far_tail:.3f}", f"{f.kolmogorov:.2f}")
                for f in fit
            ],
        )
    )
    console.print(
        _table(
            f"Variance of (sum - true sum): {rounds:,} rounds of {_COORDINATES} coordinates, "
            f"{'whole protocol' if secure else 'mechanism'}",
            ("mode", "dropped", "measured / promised", "honest part / target"),
            [(v.mode, v.dropped, f"{v.ratio:.4f}", f"{v.over_target:.4f}") for v in variance],
        )
    )


def _table(title: str, headings: tuple[str, ...], rows: list[tuple[object, ...]]) -> Table:
    table = Table(title=title)
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*map(str, row))
    return table


if __name__ == "__main__":
    typer.run(noise)
