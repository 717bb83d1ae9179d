"""The sampler: fixed outputs, prefixes, bounds, and its law in exact terms and in samples.

Statistical tests run on fixed seeds; each states its significance level, the probability with
which a correct sampler would have failed it for a random seed.
"""

from __future__ import annotations

from bisect import bisect_right
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import accumulate
from math import isqrt, log, sqrt
from typing import Any

import numpy as np
import opendp.prelude as dp
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from secagg.crypto.secret import Secret
from secagg.privacy import discrete_gaussian
from secagg.privacy.discrete_gaussian import (
    MAX_VARIANCE,
    TOTAL_VARIATION_PER_SAMPLE,
    sample,
    tail_bound,
)

SEED = bytes(range(32))
SIGNIFICANCE = 1e-4
VARIANCES = st.one_of(
    st.fractions(Fraction(1, 100), 100, max_denominator=1000),
    st.integers(1, MAX_VARIANCE),
)


@pytest.mark.parametrize(
    ("variance", "expected"),
    [
        (Fraction(1, 2), [1, 0, 1, 0, 0, 0, -1, 0]),
        (6, [2, 0, 3, -2, 2, 1, -2, -1]),
        (Fraction(1009, 7), [11, 0, 15, -9, 8, 3, -11, -5]),
        (2**16, [229, 1, 324, -182, 165, 65, -229, -107]),
        (2**16 + 1, [-79, 22, 61, 259, -492, -27, 618, 189]),
        (10**8, [-3865, 701, 1367, 10541, -19720, -1365, 24935, 7571]),
        (Fraction(10**12, 3), [-230484, 38669, 69020, 614103, -1144192, -79204, 1444641, 440963]),
        (2**40, [-419346, 69511, 124187, 1115381, -2078395, -143710, 2623926, 800860]),
    ],
)
def test_samples_are_these_on_every_machine(variance: Fraction | int, expected: list[int]) -> None:
    assert sample(SEED, variance, len(expected)).tolist() == expected


@settings(max_examples=30)
@given(VARIANCES, st.integers(0, 20_000), st.integers(0, 20_000))
def test_a_longer_sample_starts_with_the_shorter(
    variance: Fraction | int, one: int, other: int
) -> None:
    shorter, longer = sorted((one, other))
    assert (sample(SEED, variance, longer)[:shorter] == sample(SEED, variance, shorter)).all()


@settings(max_examples=30)
@given(VARIANCES, st.binary(min_size=32, max_size=32))
def test_no_sample_exceeds_the_tail_bound(variance: Fraction | int, seed: bytes) -> None:
    assert np.abs(sample(seed, variance, 1000)).max() <= tail_bound(variance)


@given(VARIANCES)
def test_tail_bound_is_at_most_twelve_standard_deviations(variance: Fraction | int) -> None:
    assert tail_bound(variance) <= 12 * sqrt(variance)


def test_samples_are_a_function_of_seed_and_variance_alone() -> None:
    assert (sample(SEED, 9, 100) == sample(SEED, Fraction(18, 2), 100)).all()
    assert (sample(SEED, 9, 100) != sample(bytes(32), 9, 100)).any()
    assert sample(SEED, 9, 100).dtype == np.int64


# --- against the definition in docs/privacy.md, written down once more ---


def block(seed: bytes, number: int) -> bytes:
    return Cipher(AES256(seed), ECB()).encryptor().update(number.to_bytes(16, "big"))


def uniform(seed: bytes, layer: int, index: int) -> int:
    words, refinement = 2 * layer * 2**64, (2 * layer + 1) * 2**64
    half = index % 2 * 8
    head = int.from_bytes(block(seed, words + index // 2)[half : half + 8], "little")
    return head << 128 | int.from_bytes(block(seed, refinement + index), "little")


def inverted(variance: Fraction, number: int) -> int:
    bound = isqrt(int(118 * variance))
    with localcontext(prec=80):
        masses = [
            (Decimal(-x * x * variance.denominator) / (2 * variance.numerator)).exp()
            for x in range(-bound, bound + 1)
        ]
        target = Decimal(number) / 2**192 * sum(masses)
        below = bisect_right(list(accumulate(masses)), target)
    return below - bound


@pytest.mark.parametrize("variance", [Fraction(7, 3), Fraction(2500), Fraction(10**8)])
def test_samples_follow_the_published_definition(variance: Fraction) -> None:
    expected = []
    for index in (0, 1, 2, 9_999):
        value = 0
        if variance <= 2**16:
            value = inverted(variance, uniform(SEED, 0, index))
        else:
            k = isqrt(isqrt(int(variance / 4)))
            value = inverted(Fraction(4 * k * k), uniform(SEED, 0, index))
            value += k * inverted(variance / k**2 - 4, uniform(SEED, 1, index))
        expected.append(value)
    assert sample(SEED, variance, 10_000)[[0, 1, 2, 9_999]].tolist() == expected


@pytest.mark.parametrize("layer", [0, 1])
def test_a_word_is_refined_by_a_block_of_its_own(layer: int) -> None:
    # A tie happens once in 2^48 words; what it would read is checked here.
    for index in (0, 1, 8_191, 8_192, 2**40):
        refined = discrete_gaussian._refinement(
            Secret(SEED), layer, index - index % 8192, index % 8192
        )
        assert refined == uniform(SEED, layer, index) % 2**128


# --- the law of x + k z, exactly ---


@pytest.mark.parametrize("variance", [2**16 + 1, 10**5 + Fraction(1, 3)])
def test_two_tables_add_up_to_a_discrete_gaussian(variance: Fraction | int) -> None:
    low, high = discrete_gaussian._layers(Fraction(variance))
    assert low.variance + high.factor**2 * high.variance == variance
    with localcontext(prec=70):
        v1, v2, v = (
            Decimal(x.numerator) / x.denominator
            for x in (low.variance, high.variance, Fraction(variance))
        )

        def ratio(y: int) -> Decimal:
            """Pr[x + k z = y] over exp(-y^2 / 2v): a constant if the law is N_Z(0, v)."""
            k = high.factor
            nearest = round(Fraction(y, k))
            return sum(
                ((-((y - k * z) ** 2) / v1 - Decimal(z * z) / v2 + Decimal(y * y) / v) / 2).exp()
                for z in range(nearest - 60, nearest + 61)
            ) + Decimal(0)

        ratios = [ratio(y) for y in (0, 1, 5, 6, 100, 255, 256, 1000, 2777)]
        assert max(ratios) / min(ratios) - 1 < Decimal(2) ** -108


def test_the_stated_total_variation_covers_cut_and_composition() -> None:
    cut = 2 * Fraction(1, 2**84) * Fraction(95, 100)  # 2 exp(-59) = 0.921 * 2^-84, twice
    assert cut + Fraction(1, 2**107) < TOTAL_VARIATION_PER_SAMPLE <= Fraction(1, 2**80)


# --- the law, in samples ---


def probabilities(variance: float, edge: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    x = np.arange(-edge, edge + 1)
    mass = np.exp(-(x.astype(float) ** 2) / (2 * variance))
    return x, mass / mass.sum()


@pytest.mark.parametrize(
    ("variance", "size"),
    [(0.25, 200_000), (1, 400_000), (6, 400_000), (100, 400_000), (10**4, 400_000)],
)
def test_chi_square_of_single_values(variance: float, size: int) -> None:
    x, p = probabilities(variance, tail_bound(Fraction(variance)) + 1)
    counts = np.bincount(sample(SEED, Fraction(variance), size) - x[0], minlength=x.size)
    common = size * p >= 10
    observed = np.append(counts[common], counts[~common].sum())
    expected = np.append(size * p[common], size * p[~common].sum())
    assert stats.chisquare(observed, expected).pvalue > SIGNIFICANCE


@pytest.mark.parametrize("deviation", [257, 10**4, 2**20])
def test_chi_square_of_wide_gaussians_in_two_hundred_bins(deviation: int) -> None:
    # At these widths the sum over a bin is the normal integral to within 1e-6 of a bin.
    size, quantiles = 400_000, np.linspace(0, 1, 201)[1:-1]
    edges = np.floor(stats.norm.ppf(quantiles) * deviation)
    p = np.diff(np.concatenate(([0], stats.norm.cdf((edges + 0.5) / deviation), [1])))
    bins = np.searchsorted(edges, sample(SEED, deviation**2, size), side="left")
    counts = np.bincount(bins, minlength=p.size)
    assert stats.chisquare(counts, size * p).pvalue > SIGNIFICANCE


@pytest.mark.parametrize("deviation", [257, 10**4])
def test_chi_square_of_residues_sees_both_tables(deviation: int) -> None:
    # x + k z with k known: an error in the low table alone shows in the residues mod k.
    _, high = discrete_gaussian._layers(Fraction(deviation**2))
    counts = np.bincount(sample(SEED, deviation**2, 400_000) % high.factor, minlength=high.factor)
    assert stats.chisquare(counts).pvalue > SIGNIFICANCE


@pytest.mark.parametrize("variance", [1, 100, 10**4, 10**8])
def test_kolmogorov_distance(variance: int) -> None:
    size = 400_000
    x, p = probabilities(variance, tail_bound(variance))
    values = np.sort(sample(SEED, variance, size))
    empirical = np.searchsorted(values, x, side="right") / size
    distance = np.abs(empirical - np.cumsum(p)).max()
    # The Dvoretzky-Kiefer-Wolfowitz bound with Massart's constant holds for every law.
    assert distance <= sqrt(log(2 / SIGNIFICANCE) / (2 * size))


@pytest.mark.parametrize("variance", [100, 10**8])
def test_far_tails_are_as_frequent_as_they_should_be(variance: int) -> None:
    size = 4_000_000
    far = round(4.5 * sqrt(variance))
    x, p = probabilities(variance, tail_bound(variance))
    count = int((np.abs(sample(SEED, variance, size)) >= far).sum())
    expected = size * p[np.abs(x) >= far].sum()
    assert stats.binomtest(count, size, expected / size).pvalue > SIGNIFICANCE


def test_opendp_draws_from_the_same_law() -> None:
    # Its samples differ from run to run, so the significance is 1e-9: it never fails by chance.
    dp.enable_features("contrib")
    size, scale = 20_000, 30
    space = dp.vector_domain(dp.atom_domain(T=int)), dp.l2_distance(T=float)
    measurement: Any = dp.m.make_gaussian(*space, scale=float(scale))
    theirs = np.sort(np.array(measurement([0] * size)))
    ours = np.sort(sample(SEED, scale**2, size))
    grid = np.arange(-300, 301)
    distance = np.abs(
        np.searchsorted(ours, grid, "right") - np.searchsorted(theirs, grid, "right")
    ).max()
    assert distance / size <= 2 * sqrt(log(4 / 1e-9) / (2 * size))


def test_neighbouring_samples_and_seeds_are_uncorrelated() -> None:
    size = 400_000
    one = sample(SEED, 10**4, size).astype(float)
    other = sample(bytes(32), 10**4, size).astype(float)
    limit = stats.norm.isf(SIGNIFICANCE / 2) / sqrt(size)
    for a, b in ((one[:-1], one[1:]), (one[:-2], one[2:]), (one, other)):
        assert abs(np.corrcoef(a, b)[0, 1]) <= limit


# --- arguments ---


@pytest.mark.parametrize("variance", [0, -1, MAX_VARIANCE + 1, Fraction(2**41 + 1, 2)])
def test_a_variance_out_of_range_is_refused(variance: Fraction | int) -> None:
    with pytest.raises(ValueError, match="variance"):
        sample(SEED, variance, 1)
    with pytest.raises(ValueError, match="variance"):
        tail_bound(variance)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_seed_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        sample(bytes(length), 1, 1)


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="size"):
        sample(SEED, 1, -1)


def test_no_samples_may_be_asked_for() -> None:
    assert sample(SEED, 1, 0).size == 0
