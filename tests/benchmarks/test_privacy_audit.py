"""The audit finds half the noise, and does not find the promised one wanting."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from benchmarks.privacy_audit import audit, lower_bound
from secagg.crypto.randomness import SeededRandomness

TRIALS = 1_000_000


@pytest.mark.parametrize("seen", ["sum", "own"])
def test_the_promise_withstands_the_attack(seen: str) -> None:
    found = audit("exact", seen, Fraction(1), TRIALS, SeededRandomness(bytes(32)))
    assert 2 < found.lower < found.promised == pytest.approx(4)


@pytest.mark.parametrize("seen", ["sum", "own"])
def test_half_the_noise_is_found_out(seen: str) -> None:
    found = audit("exact", seen, Fraction(1, 2), TRIALS, SeededRandomness(bytes(32)))
    assert found.lower > found.promised + 0.5


def test_no_difference_gives_no_lower_bound() -> None:
    same = np.arange(10_000, dtype=np.float64) % 101
    assert lower_bound(same, same, 1e-5) < 0.2


def test_a_certain_difference_gives_what_the_number_of_trials_can_show() -> None:
    # 5,000 of 5,000 against none: about ln(5000 / ln(200)).
    bound = lower_bound(np.zeros(10_000), np.ones(10_000), 1e-5)
    assert bound == pytest.approx(6.8, abs=0.1)
