"""The noise benchmark measures what it says, on a small scale and from a fixed seed."""

from __future__ import annotations

import pytest

from benchmarks.noise import SIGNIFICANCE, dropouts, fits
from secagg.crypto.randomness import SeededRandomness

SEED = bytes(range(32))


def test_the_samples_fit_their_law() -> None:
    for fit in fits(1_000_000, SeededRandomness(SEED)):
        assert min(fit.chi_square, fit.far_tail) > SIGNIFICANCE
        assert fit.kolmogorov < 1


@pytest.mark.parametrize("secure", [False, True])
def test_the_variance_under_dropouts_is_the_promised_one(secure: bool) -> None:
    # One round of 64 coordinates against the promise: within 5 standard errors.
    rounds = 1 if secure else 20
    rows = dropouts(rounds, secure, SeededRandomness(SEED))
    assert [(row.mode, row.dropped) for row in rows] == [
        (mode, dropped) for mode in ("exact", "at_least") for dropped in range(4)
    ]
    for row in rows:
        assert row.ratio == pytest.approx(1, abs=5 * (2 / (64 * rounds)) ** 0.5)
