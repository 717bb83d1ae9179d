"""secagg.vector.fixed_point: attack 11, a norm exceeded by rounding."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from secagg.vector.fixed_point import MAX_SCALE, clip_l2, quantise, squared_norm

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

small_integers = st.lists(st.integers(-1000, 1000), max_size=30)
any_integers = st.lists(
    st.one_of(
        st.integers(INT64_MIN, INT64_MAX),
        st.integers(-(2**33), 2**33),
        st.sampled_from([INT64_MIN, INT64_MAX, 0, 1, -1, 2**32, 2**32 - 1, -(2**32)]),
    ),
    max_size=12,
)
bounds = st.one_of(st.integers(0, 2000), st.integers(0, 2**70))


def exact_squared_norm(values: list[int]) -> int:
    return sum(value * value for value in values)


@given(
    st.lists(st.floats(-1e6, 1e6), max_size=20),
    st.one_of(st.integers(1, 2**20), st.integers(1, 2**40)),
)
def test_quantising_rounds_half_to_even(values: list[float], scale: int) -> None:
    quantised = quantise(np.array(values, np.float64), scale)
    assert quantised.dtype == np.int64
    assert quantised.tolist() == [round(value * float(scale)) for value in values]


def test_ties_go_to_the_even_neighbour() -> None:
    values = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999999999999994])
    assert quantise(values, 1).tolist() == [0, 2, 2, 0, -2, -2, 0]


@given(st.floats(-1e3, 1e3), st.integers(1, 2**40))
def test_quantising_is_off_by_half_at_most(value: float, scale: int) -> None:
    quantised = int(quantise(np.array([value]), scale)[0])
    product_error = Fraction(math.ulp(value * float(scale)))
    assert abs(quantised - Fraction(value) * scale) <= Fraction(1, 2) + product_error


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2.0**63, -(2.0**63) * 1.1, 1e300])
def test_what_is_no_int64_is_refused(value: float) -> None:
    for place in (0, 70_000):
        values = np.zeros(70_001)
        values[place] = value
        with pytest.raises(ValueError, match="not finite or too large"):
            quantise(values, 1)


def test_overflow_of_the_product_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite or too large"):
        quantise(np.array([1e308]), 2**20)


def test_the_ends_of_int64_are_taken() -> None:
    largest = np.nextafter(2.0**63, 0)
    assert quantise(np.array([-(2.0**63), largest]), 1).tolist() == [INT64_MIN, int(largest)]
    assert quantise(np.array([1.0]), MAX_SCALE).tolist() == [MAX_SCALE]


@pytest.mark.parametrize("scale", [-1, 0, MAX_SCALE + 1])
def test_other_scales_are_refused(scale: int) -> None:
    with pytest.raises(ValueError, match="1 to 2\\^53"):
        quantise(np.zeros(1), scale)


def test_quantising_keeps_the_shape_and_counts_float32_as_float64() -> None:
    assert quantise(np.ones((2, 3)), 5).shape == (2, 3)
    assert quantise(np.array([0.1], np.float32), 10**9).tolist() == [100000001]


@given(any_integers)
@example([INT64_MIN] * 5)
@example([2**32, -1, 2**32 - 1])
def test_squared_norm_is_exact(values: list[int]) -> None:
    assert squared_norm(np.array(values, np.int64)) == exact_squared_norm(values)


def test_squared_norm_is_exact_over_chunks() -> None:
    values = np.full(200_001, INT64_MAX, np.int64)
    assert squared_norm(values) == 200_001 * INT64_MAX**2
    assert squared_norm(np.full(200_001, 3, np.int64)) == 200_001 * 9


@given(any_integers, bounds)
@example([INT64_MIN] * 8, 2**63)
@example([INT64_MAX], 2**63 - 2)
@example([INT64_MIN], INT64_MAX)
@example([1] * 10, 3)
@example([3, 4], 5)
@example([3, 4], 4)
def test_clipped_norm_never_exceeds_the_bound(values: list[int], bound: int) -> None:
    clipped = clip_l2(np.array(values, np.int64), bound)
    assert clipped.dtype == np.int64
    assert exact_squared_norm(clipped.tolist()) <= bound * bound


@given(any_integers, bounds)
@example([INT64_MIN, 5], 2**40)
@example([-(2**40), 1], 2**39)
def test_clipping_follows_its_formula_exactly(values: list[int], bound: int) -> None:
    squared = exact_squared_norm(values)
    expected = values
    if squared > bound * bound:
        norm = math.isqrt(squared)
        norm += norm * norm < squared
        expected = [int(math.copysign(1, value)) * (abs(value) * bound // norm) for value in values]
    assert clip_l2(np.array(values, np.int64), bound).tolist() == expected


@given(small_integers, st.integers(0, 2000))
def test_clipping_keeps_what_it_can(values: list[int], bound: int) -> None:
    """A vector inside stays; one outside keeps its signs and all but sqrt(d) + 1 of the bound."""
    clipped = clip_l2(np.array(values, np.int64), bound).tolist()
    assert clip_l2(np.array(clipped, np.int64), bound).tolist() == clipped
    assert all(
        0 <= after * (1 if before > 0 else -1) <= abs(before)
        for before, after in zip(values, clipped, strict=True)
    )
    squared = exact_squared_norm(values)
    if squared <= bound * bound:
        assert clipped == values
    else:
        norm = math.sqrt(exact_squared_norm(clipped))
        assert norm >= bound - 1 - math.sqrt(len(values)) - 1e-9


@pytest.mark.parametrize("bound", [10, 10**6, 2**43])
def test_clipping_long_vectors(bound: int) -> None:
    values = np.arange(-70_000, 70_000, dtype=np.int64) * 1_000_003
    clipped = clip_l2(values, bound)
    assert exact_squared_norm(clipped.tolist()) <= bound * bound
    norm = math.isqrt(exact_squared_norm(values.tolist()) - 1) + 1
    for i in (0, 1, 65_535, 65_536, 139_999):
        magnitude = abs(int(values[i])) * bound // norm
        assert clipped[i] == (magnitude if values[i] > 0 else -magnitude)


@pytest.mark.parametrize("bound", [3, 5, 100])
def test_the_input_is_left_alone(bound: int) -> None:
    values = np.array([3, 4], np.int64)
    clipped = clip_l2(values, bound)
    clipped += 1
    assert values.tolist() == [3, 4]


def test_a_negative_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        clip_l2(np.array([1], np.int64), -1)
