"""Bytes of a hospital: counted, and extrapolated to what would be counted."""

from fractions import Fraction

import pytest

from benchmarks.planning import traffic as module
from benchmarks.planning.plan import Wish, fitted, sample_policy
from benchmarks.planning.traffic import MOST_SIMULATED, traffic
from secagg.policy import Policy
from secagg.vector.packing import packed_size
from server.policy_template import find_template


def policy(hospitals: int) -> Policy:
    wish = Wish(Fraction(1), Fraction(1, 10**5), 12, hospitals, 500)
    return sample_policy(wish, fitted(wish, find_template("respiratory-cardiac")))


def test_the_vector_is_what_is_packed() -> None:
    four = policy(4)
    assert traffic(four).vector == packed_size(four.vector.dimension, four.ring.bits)


def test_every_message_is_counted() -> None:
    four = traffic(policy(4))
    keys_shares_and_signatures = 4 * 64 + 3 * 64  # less than that cannot be
    assert four.sent > four.vector + keys_shares_and_signatures
    assert four.received > four.vector + keys_shares_and_signatures


def test_extrapolation_comes_close_to_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    large = policy(MOST_SIMULATED + 8)
    guessed = traffic(large)
    monkeypatch.setattr(module, "MOST_SIMULATED", large.n)
    counted = traffic(large)
    assert guessed.sent == pytest.approx(counted.sent, rel=0.05)
    assert guessed.received == pytest.approx(counted.received, rel=0.05)
    assert guessed != counted
