"""The noise of a round: who adds what, what is left under dropouts, and what that guarantees."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import product
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.privacy.accounting import rho_units
from secagg.privacy.discrete_gaussian import MAX_VARIANCE, TOTAL_VARIATION_PER_SAMPLE, tail_bound
from secagg.privacy.mechanism import Mechanism, Mode

RHO = Fraction(1, 100)
MODES: tuple[Mode, ...] = get_args(Mode)
NOISY = tuple(mode for mode in MODES if mode != "none")
COHORTS = st.tuples(st.integers(0, 4), st.integers(1, 6), st.integers(0, 5)).map(
    lambda x: {"corrupt": x[0], "min_survivors": x[0] + x[1], "roster": sum(x)}
)


def mechanism(
    mode: Mode,
    *,
    roster: int = 7,
    corrupt: int = 1,
    min_survivors: int = 4,
    sensitivity: int = 300,
    rho: Fraction | int = RHO,
) -> Mechanism:
    return Mechanism.calibrated(
        mode=mode,
        sensitivity=sensitivity,
        rho=Fraction(rho),
        roster=roster,
        corrupt=corrupt,
        min_survivors=min_survivors,
    )


def seeds(count: int) -> list[bytes]:
    return [bytes([u]) * 32 for u in range(count)]


def outcomes(m: Mechanism) -> Iterable[tuple[int, int]]:
    """Every possible (|U2|, |U3|)."""
    shared = range(m.min_survivors, m.roster + 1)
    return ((u2, u3) for u2, u3 in product(shared, shared) if u3 <= u2)


# --- variances ---


@pytest.mark.parametrize("mode", NOISY)
@given(cohort=COHORTS)
def test_the_honest_survivors_noise_reaches_the_target(mode: Mode, cohort: dict[str, int]) -> None:
    m = mechanism(mode, **cohort)
    for shared, survivors in outcomes(m):
        left = (survivors - m.corrupt) * m.residual_variance(shared, survivors)
        assert left >= m.variance_of_sum
        assert m.residual_variance(shared, survivors) <= m.hospital_variance(shared)
        if mode == "exact":
            assert left == m.variance_of_sum


@given(COHORTS)
def test_at_least_is_calibrated_for_the_smallest_cohort(cohort: dict[str, int]) -> None:
    m = mechanism("at_least", **cohort)
    honest = m.min_survivors - m.corrupt
    assert honest * m.residual_variance(m.roster, m.min_survivors) == m.variance_of_sum


@given(COHORTS)
def test_local_noise_reaches_the_target_alone(cohort: dict[str, int]) -> None:
    m = mechanism("local", **cohort)
    assert m.components(m.roster) == (m.variance_of_sum,)


@given(COHORTS)
def test_exact_components_are_those_of_the_issue(cohort: dict[str, int]) -> None:
    m = mechanism("exact", **cohort)
    for shared in range(m.min_survivors, m.roster + 1):
        s, honest = m.variance_of_sum, shared - m.corrupt
        base, *spare = m.components(shared)
        assert base == s / honest
        assert len(spare) == shared - m.min_survivors
        for k, variance in enumerate(spare, start=1):
            assert variance == s / ((honest - k + 1) * (honest - k))


def test_no_noise_is_no_noise() -> None:
    m = mechanism("none")
    assert m.hospital_variance(7) == 0
    assert not m.noise(bytes(32), 5, 7).any()
    assert m.tail() == 0
    guarantee = m.guarantee(10)
    assert (guarantee.rho_sum, guarantee.rho_own, guarantee.samples) == (None, None, 0)


# --- guarantees ---


@pytest.mark.parametrize("mode", NOISY)
@given(cohort=COHORTS, dimension=st.integers(1, 2**28))
def test_a_release_costs_the_target_and_not_a_unit_more(
    mode: Mode, cohort: dict[str, int], dimension: int
) -> None:
    guarantee = mechanism(mode, **cohort).guarantee(dimension)
    assert guarantee.rho_sum is not None
    assert rho_units(guarantee.rho_sum) <= rho_units(RHO)


@pytest.mark.parametrize("mode", NOISY)
@given(cohort=COHORTS)
def test_the_own_vector_is_covered_by_its_own_noise_alone(
    mode: Mode, cohort: dict[str, int]
) -> None:
    m = mechanism(mode, **cohort)
    worst = min(m.residual_variance(*outcome) for outcome in outcomes(m))
    own = m.guarantee(1000).rho_own
    assert own is not None
    exact = Fraction(m.sensitivity**2) / (2 * worst)
    assert exact <= own <= exact * (1 + Fraction(1, 10**12))


def test_known_guarantees() -> None:
    # Seven hospitals, one corrupt, a floor of four: three, six, one hospitals' noise is s.
    per_hospital = {"at_least": 3, "exact": 6, "local": 1}
    for mode, share in per_hospital.items():
        guarantee = mechanism(mode).guarantee(1)  # type: ignore[arg-type]
        assert float(guarantee.rho_own or 0) == pytest.approx(share / 100, rel=1e-8)
    assert float(mechanism("local").guarantee(1).rho_sum or 0) == pytest.approx(0.01 / 3, rel=1e-8)


def test_total_variation_counts_every_sample_of_every_hospital() -> None:
    guarantee = mechanism("exact").guarantee(100)
    assert guarantee.samples == 7 * 4 * 100
    assert guarantee.total_variation == 2800 * TOTAL_VARIATION_PER_SAMPLE


# --- the noise itself ---


@pytest.mark.parametrize("mode", MODES)
@given(cohort=COHORTS, seed=st.binary(min_size=32, max_size=32))
def test_noise_never_exceeds_its_tail(mode: Mode, cohort: dict[str, int], seed: bytes) -> None:
    m = mechanism(mode, **cohort)
    for shared in range(m.min_survivors, m.roster + 1):
        assert sum(map(tail_bound, m.components(shared))) <= m.tail()
    assert np.abs(m.noise(seed, 50, m.roster)).max() <= m.tail()


def test_noise_is_the_same_on_every_machine() -> None:
    seed = bytes(range(32))
    assert mechanism("at_least").noise(seed, 6, 7).tolist() == [1861, 598, -915, -100, -602, 550]
    assert mechanism("exact").noise(seed, 6, 7).tolist() == [1603, 361, -388, -1595, 363, 181]


@pytest.mark.parametrize("mode", MODES)
def test_what_stays_after_removal_is_a_function_of_the_undisclosed_seeds(mode: Mode) -> None:
    m = mechanism(mode)
    for shared, survivors in outcomes(m):
        disclosed = m.surplus_seeds(bytes(32), shared, survivors)
        added = m.noise(bytes(32), 20, shared)
        left = added - m.surplus_noise(disclosed, 20, shared, survivors)
        full = m.surplus_seeds(bytes(32), shared, shared)
        if mode == "exact":
            # Of D spare components, the first |U2| - |U3| stay: their seeds are never disclosed.
            assert disclosed == full[shared - survivors :]
            assert len(disclosed) == survivors - m.min_survivors
        else:
            assert disclosed == ()
            assert (left == added).all()


def test_disclosed_seeds_are_distinct_and_not_the_hospitals_seed() -> None:
    seed = bytes(32)
    disclosed = mechanism("exact").surplus_seeds(seed, 7, 7)
    assert len({*disclosed, seed}) == 4
    assert {len(d) for d in disclosed} == {32}


@pytest.mark.parametrize("dropped", range(4))
def test_measured_variance_of_the_sum_is_exact_under_dropouts(dropped: int) -> None:
    # 400 rounds of 64 coordinates: standard error of the variance 0.9%, so 3% is 3.4 of them.
    # benchmarks/noise.py repeats this at 2,000 rounds.
    m, shared = mechanism("exact"), 7
    survivors, total = shared - dropped, 0.0
    for number in range(400):
        noise = np.zeros(64, np.int64)
        for u in range(survivors):
            seed = number.to_bytes(16, "big") + u.to_bytes(16, "big")
            noise += m.noise(seed, 64, shared)
            disclosed = m.surplus_seeds(seed, shared, survivors)
            noise -= m.surplus_noise(disclosed, 64, shared, survivors)
        total += float(noise.astype(float) @ noise)
    expected = m.variance_of_sum * survivors / (survivors - m.corrupt)
    assert total / (400 * 64) == pytest.approx(float(expected), rel=0.03)


def test_a_client_that_drops_after_u3_leaves_more_noise_never_less() -> None:
    m, shared, survivors = mechanism("exact"), 7, 6
    answered = m.residual_variance(shared, survivors)
    silent = m.hospital_variance(shared)
    assert 5 * answered + silent > 6 * answered


# --- refusals ---


@pytest.mark.parametrize("mode", NOISY)
def test_too_little_noise_is_refused_with_the_sensitivity_that_is_needed(mode: Mode) -> None:
    with pytest.raises(ValueError, match="larger scale") as refusal:
        mechanism(mode, sensitivity=1, rho=Fraction(1))
    needed = int(str(refusal.value).split("coordinates is ")[1].split()[0])
    assert min(mechanism(mode, sensitivity=needed, rho=Fraction(1)).components(7)) >= 6
    with pytest.raises(ValueError, match="larger scale"):
        mechanism(mode, sensitivity=needed - 2, rho=Fraction(1))


@pytest.mark.parametrize("mode", NOISY)
def test_too_much_noise_is_refused(mode: Mode) -> None:
    with pytest.raises(ValueError, match="smaller scale"):
        mechanism(mode, sensitivity=10**6)
    largest = mechanism(mode, sensitivity=10**5).components(4)[0]
    assert largest <= MAX_VARIANCE


@pytest.mark.parametrize("mode", NOISY)
@pytest.mark.parametrize(("rho", "sensitivity"), [(0, 1), (-1, 1), (1, 0), (1, -1)])
def test_noise_without_a_target_is_refused(mode: Mode, rho: int, sensitivity: int) -> None:
    with pytest.raises(ValueError, match="rho > 0 and sensitivity > 0"):
        Mechanism.calibrated(
            mode=mode,
            sensitivity=sensitivity,
            rho=Fraction(rho),
            roster=4,
            corrupt=1,
            min_survivors=3,
        )


@pytest.mark.parametrize(("corrupt", "floor", "roster"), [(-1, 3, 4), (3, 3, 4), (1, 5, 4)])
def test_an_impossible_cohort_is_refused(corrupt: int, floor: int, roster: int) -> None:
    with pytest.raises(ValueError, match="corrupt < min_survivors <= roster"):
        mechanism("local", corrupt=corrupt, min_survivors=floor, roster=roster)


@pytest.mark.parametrize("shared", [0, 3, 8])
def test_a_lie_about_who_shared_is_refused(shared: int) -> None:
    with pytest.raises(ValueError, match=r"min_survivors <= \|U2\| <= roster"):
        mechanism("exact").noise(bytes(32), 1, shared)


@pytest.mark.parametrize("survivors", [0, 3, 7])
def test_no_seed_is_disclosed_for_a_cohort_below_the_floor(survivors: int) -> None:
    with pytest.raises(ValueError, match=r"min_survivors <= \|U3\| <= \|U2\|"):
        mechanism("exact").surplus_seeds(bytes(32), 6, survivors)


def test_a_wrong_number_of_disclosed_seeds_is_refused() -> None:
    with pytest.raises(ValueError, match="2 surplus seeds are due, got 1"):
        mechanism("exact").surplus_noise(seeds(1), 1, 7, 6)
