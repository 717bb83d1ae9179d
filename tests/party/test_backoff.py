"""Pauses between connections: growing, shortened at random, reset by success."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from party.backoff import Backoff
from secagg.crypto.randomness import SeededRandomness


@given(st.binary(min_size=1, max_size=8), st.floats(0.01, 10), st.floats(1, 1000))
def test_pauses_double_up_to_the_maximum(seed: bytes, initial: float, factor: float) -> None:
    maximum = initial * factor
    backoff = Backoff(initial, maximum, SeededRandomness(seed))
    for step in range(15):
        ceiling = min(initial * 2**step, maximum)
        assert ceiling / 2 <= backoff.after(0.0) <= ceiling


def test_a_connection_that_held_starts_the_pauses_anew() -> None:
    backoff = Backoff(1, 64, SeededRandomness(b"seed"))
    for _ in range(5):
        backoff.after(0)
    assert backoff.after(31) > 16  # it did not hold for longer than the last pause could be
    assert backoff.after(65) <= 1
    assert backoff.after(0) <= 2


def test_two_hospitals_do_not_come_back_in_step() -> None:
    pauses = {Backoff(1, 8, SeededRandomness(bytes([u]))).after(0) for u in range(50)}
    assert len(pauses) == 50
    assert max(pauses) - min(pauses) > 0.4
