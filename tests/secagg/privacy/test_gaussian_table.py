"""Inversion tables: every threshold against an independent computation of the law."""

from __future__ import annotations

from bisect import bisect_right
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.privacy.gaussian_table import MAX_TAIL, THRESHOLD_BITS, GaussianTable, tail

VARIANCES = (Fraction(1, 1000), Fraction(1, 3), Fraction(1), Fraction(6), Fraction(1009, 7))
TABLE = GaussianTable.build(Fraction(50))
REFINED = THRESHOLD_BITS - 64


@pytest.mark.parametrize("variance", [*VARIANCES, Fraction(40_000)])
def test_thresholds_are_the_cumulative_probabilities(variance: Fraction) -> None:
    table = GaussianTable.build(variance)
    bound = table.tail
    with localcontext(prec=90):
        masses = [
            (Decimal(-x * x * variance.denominator) / (2 * variance.numerator)).exp()
            for x in range(-bound, bound + 1)
        ]
        total = sum(masses)
        exact = [int(below / total * 2**THRESHOLD_BITS) for below in accumulate(masses[:-1])]
    assert len(table.thresholds) == 2 * bound
    assert max((abs(a - b) for a, b in zip(table.thresholds, exact, strict=True)), default=0) <= 1


@pytest.mark.parametrize("variance", VARIANCES)
def test_what_is_cut_off_is_below_two_to_the_minus_84(variance: Fraction) -> None:
    bound = tail(variance)
    with localcontext(prec=90):
        beyond = sum(
            (Decimal(-x * x * variance.denominator) / (2 * variance.numerator)).exp()
            for x in range(bound + 1, 4 * bound + 20)
        )
    # The masses add up to at least 1, so the probability is at most the mass.
    assert 2 * beyond < Decimal(2) ** -84


@given(st.fractions(Fraction(1, 10**6), 2**40))
def test_tail_is_the_smallest_that_keeps_its_promise(variance: Fraction) -> None:
    assert tail(variance) ** 2 <= 118 * variance < (tail(variance) + 1) ** 2


def by_definition(table: GaussianTable, uniform: int) -> int:
    below: int = bisect_right(table.thresholds, uniform)
    return below - table.tail


@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20),
    st.integers(0, 2**REFINED - 1),
)
def test_a_value_is_the_inverse_of_its_uniform_number(words: list[int], rest: int) -> None:
    values = TABLE.values(np.array(words, dtype=np.uint64), lambda _: rest)
    assert values.tolist() == [by_definition(TABLE, word << REFINED | rest) for word in words]


@given(st.sampled_from(TABLE.thresholds), st.integers(-2, 2), st.integers(-2, 2))
def test_a_word_that_ties_with_a_threshold_is_decided_by_further_bits(
    threshold: int, step: int, rest: int
) -> None:
    # `step` walks over neighbouring words, `rest` over neighbouring 192-bit numbers.
    uniform = min(max(threshold + (step << REFINED) + rest, 0), (1 << THRESHOLD_BITS) - 1)
    word, further = uniform >> REFINED, uniform & ((1 << REFINED) - 1)
    asked: list[int] = []

    def refine(index: int) -> int:
        asked.append(index)
        return further

    words = np.array([word, 2**63, word], dtype=np.uint64)
    values = TABLE.values(words, refine).tolist()
    assert [values[0], values[2]] == [by_definition(TABLE, uniform)] * 2
    if step == 0 and word == threshold >> REFINED:
        assert {0, 2} <= set(asked)


def test_every_tie_is_decided_on_either_side() -> None:
    heads = np.array([t >> REFINED for t in TABLE.thresholds], dtype=np.uint64)
    lowest = TABLE.values(heads, lambda _: 0)
    highest = TABLE.values(heads, lambda _: 2**REFINED - 1)
    assert (lowest < highest).all()


def test_a_table_holds_no_more_than_int16() -> None:
    widest = Fraction(MAX_TAIL**2, 118)
    assert GaussianTable.build(widest).tail == MAX_TAIL
    with pytest.raises(ValueError, match="decompose"):
        GaussianTable.build(Fraction((MAX_TAIL + 1) ** 2, 118))
