"""The public simulation: exact sums whatever happens, reasons where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import secagg
from secagg.errors import DecodeError, LocalMisuse
from secagg.policy import NoiseSpec, Policy
from secagg.privacy.accounting import RHO_UNIT
from secagg.rounds.journal import AnswerReleased, Charged, Entered, SurvivorSigned
from secagg.simulate import FLOAT_SCALE, STAGES, Simulation
from tests.cohorts import Vector, assembled, changed, template

BEFORE_ITS_INPUT = ("start", "advertise_keys", "share_keys")
"""Whoever vanishes after one of these stages is not in the sum; after a later one, it is."""


@dataclass(frozen=True)
class Case:
    """A cohort, and who vanishes after which stage."""

    inputs: dict[str, list[Any]]
    drop: dict[str, str]

    @property
    def survivors(self) -> tuple[str, ...]:
        """Whose input the server receives."""
        return tuple(x for x in self.inputs if self.drop.get(x) not in BEFORE_ITS_INPUT)


def most_dropouts(n: int) -> int:
    """d of the default policy."""
    return n - ((n + max(1, n // 5)) // 2 + 1)


@st.composite
def cases(draw: st.DrawFn, elements: st.SearchStrategy[Any] | None = None) -> Case:
    n = draw(st.integers(3, 12))
    largest = (2**63 - 1) // n
    integers = st.one_of(
        st.integers(-largest, largest), st.sampled_from([largest, -largest, 0, 1, -1])
    )
    dimension = draw(st.integers(1, 6))
    names = [f"h{i}" for i in range(n)]
    vectors = st.lists(
        integers if elements is None else elements, min_size=dimension, max_size=dimension
    )
    inputs = {name: draw(vectors) for name in names}
    gone = draw(st.lists(st.sampled_from(names), max_size=most_dropouts(n), unique=True))
    return Case(inputs, {name: draw(st.sampled_from(STAGES)) for name in gone})


# --- exact sums ----------------------------------------------------------------------------------


@given(cases())
@settings(max_examples=60)
def test_the_sum_of_integers_is_the_survivors_plain_sum(case: Case) -> None:
    result = secagg.simulate(case.inputs, drop=case.drop, seed=1)
    assert result.aborted is None
    assert result.sum is not None
    assert result.sum.dtype == np.int64
    columns = zip(*(case.inputs[name] for name in case.survivors), strict=True)
    assert result.sum.tolist() == [sum(column) for column in columns]  # Python's exact integers
    assert result.survivors == case.survivors
    assert set(result.dropped) == case.inputs.keys() - set(case.survivors)


@given(cases(st.floats(-1e6, 1e6)))
@settings(max_examples=30)
def test_the_sum_of_floats_is_that_of_their_fixed_point_values(case: Case) -> None:
    result = secagg.simulate(case.inputs, drop=case.drop, seed=1)
    assert result.sum is not None
    assert result.sum.dtype == np.float64
    fixed = np.rint(np.array([case.inputs[x] for x in case.survivors]) * FLOAT_SCALE)
    assert np.array_equal(result.sum * FLOAT_SCALE, fixed.astype(np.int64).sum(axis=0))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("n", [4, 5, 10])
def test_as_many_as_the_policy_allows_may_vanish_at_each_stage(n: int, stage: str) -> None:
    drop = dict.fromkeys(range(most_dropouts(n)), stage)
    result = secagg.simulate([[10**u] for u in range(n)], drop=drop, seed=1)
    here = range(n) if stage not in BEFORE_ITS_INPUT else range(len(drop), n)
    assert result.sum is not None
    assert result.sum.tolist() == [sum(10**u for u in here)]
    assert result.survivors == tuple(here)
    assert result.certificate is not None
    assert result.certificate.u3 == tuple(u + 1 for u in here)


@pytest.mark.parametrize("count", [2**16 - 1, 2**16, 2**16 + 1, 200_003])
def test_vectors_of_several_chunks(count: int) -> None:
    inputs = [np.arange(count, dtype=np.int64) * k for k in (1, -2, 5)]
    result = secagg.simulate(inputs, seed=1)
    assert result.sum is not None
    assert np.array_equal(result.sum, 4 * np.arange(count))


# --- below the floor -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        ("start", "3 of at least 4 hospitals advertised keys"),
        ("advertise_keys", "3 of at least 4 hospitals shared keys"),
        ("share_keys", "3 of at least 4 hospitals sent masked inputs"),
        ("masked_input", "3 of at least 4 survivors signed U3"),
        ("consistency_check", "3 of at least 4 hospitals answered"),
    ],
)
def test_below_the_floor_there_is_a_reason_and_no_sum(stage: str, reason: str) -> None:
    result = secagg.simulate([[u] for u in range(5)], drop={0: stage, 3: stage}, seed=1)
    assert result == Simulation(None, (), (0, 1, 2, 3, 4), reason, None)


def test_whoever_vanishes_after_its_answer_costs_at_most_the_certificate() -> None:
    result = secagg.simulate([[1], [2], [3], [4]], drop={0: "unmasking", 1: "unmasking"}, seed=1)
    assert result.sum is not None
    assert result.sum.tolist() == [10]
    assert result.aborted is None
    assert result.certificate is None  # two of at least three were there to sign it


@given(st.integers(3, 8), st.data())
@settings(max_examples=40)
def test_whoever_vanishes_whenever_there_is_a_sum_or_a_reason(n: int, data: st.DataObject) -> None:
    drop = data.draw(st.dictionaries(st.integers(0, n - 1), st.sampled_from(STAGES)))
    result = secagg.simulate([[2**u] for u in range(n)], drop=drop, seed=1)
    here = [u for u in range(n) if drop.get(u) not in BEFORE_ITS_INPUT]
    assert (result.sum is None) == (result.aborted is not None)
    if result.sum is not None:
        assert result.survivors == tuple(here)
        assert result.sum.tolist() == [sum(2**u for u in here)]
        assert len(here) >= n - most_dropouts(n)
    else:
        assert len(drop) > most_dropouts(n)


# --- what may be given ---------------------------------------------------------------------------


def test_a_mapping_keeps_its_names_and_a_sequence_counts_from_zero() -> None:
    named = secagg.simulate({"a": [1], "b": [2], "c": [3], "d": [4]}, drop={"b": "start"}, seed=1)
    assert named.survivors == ("a", "c", "d")
    assert named.dropped == ("b",)
    counted = secagg.simulate([[1], [2], [3], [4]], drop={1: "start"}, seed=1)
    assert counted.survivors == (0, 2, 3)
    assert np.array_equal(named.sum, counted.sum)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint32, np.int64])
def test_integers_of_any_width_are_summed_as_64_bits(dtype: type) -> None:
    result = secagg.simulate([np.array([100, 1], dtype)] * 3, seed=1)
    assert result.sum is not None
    assert result.sum.tolist() == [300, 3]


def test_one_vector_of_floats_makes_floats_of_all() -> None:
    result = secagg.simulate([[1], [2], [0.5]], seed=1)
    assert result.sum is not None
    assert result.sum.dtype == np.float64
    assert result.sum.tolist() == [3.5]


@pytest.mark.parametrize(
    ("inputs", "arguments", "words"),
    [
        ([[1], [2]], {}, "2 inputs: at least 3 hospitals are needed"),
        ([], {}, "0 inputs: at least 3"),
        ([[1], [2], [3, 4]], {}, "vectors of different lengths"),
        ([[1], [2], []], {}, "one-dimensional and not empty"),
        ([[1], [2], 3], {}, "one-dimensional and not empty"),
        ([[1], [2], [[3]]], {}, "one-dimensional and not empty"),
        ([[1], [2], ["x"]], {}, "integers of 64 bits or floats"),
        ([[1], [2], [True]], {}, "integers of 64 bits or floats"),
        ([[1], [2], [2**64]], {}, "integers of 64 bits or floats"),
        ([[1], [2], [2**63]], {}, "integers of 64 bits or floats"),
        ([[1], [2], [1j]], {}, "integers of 64 bits or floats"),
        ([[1.0], [2.0], [float("nan")]], {}, "NaN or an infinity"),
        ([[1.0], [2.0], [float("inf")]], {}, "NaN or an infinity"),
        ([[2**62]] * 3, {}, "no default policy fits.*more than 64 bits"),
        ([[-(2**63)]] * 3, {}, "no default policy fits"),
        ([[1e300]] * 3, {}, "no default policy fits"),
        ([[1]] * 3, {"drop": {3: "start"}}, "drop names 3, which has no input"),
        ([[1]] * 3, {"drop": {0: "lunch"}}, "can't vanish after 'lunch'; stages are"),
        ([[1]] * 3, {"drop": {0: "certification"}}, "can't vanish after"),
        ([[1]] * 3, {"seed": -1}, "a seed is bytes or an integer"),
        ([[1]] * 3, {"seed": 2**64}, "a seed is bytes or an integer"),
        ([[1]] * 4, {"policy": template(5)}, "4 inputs for a roster of 5"),
        ([[1]] * 4, {"policy": template(4)}, r"int64 of shape \(3,\)"),
        ([[10_001] * 3] * 4, {"policy": template(4)}, "max_value 10000: clip it first"),
        ([[1e30] * 3] * 4, {"policy": template(4)}, "too large for this scale"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_words(
    inputs: list[Any], arguments: Mapping[str, Any], words: str
) -> None:
    with pytest.raises(LocalMisuse, match=words):
        secagg.simulate(inputs, **arguments)


def test_a_policy_that_breaks_its_bounds_is_refused() -> None:
    with pytest.raises(DecodeError, match="min_survivors"):
        secagg.simulate([[1] * 3] * 4, policy=changed(template(4), min_survivors=2))


def test_a_given_policy_decides() -> None:
    policy = template(5, corrupt=2, dropouts=1, min_survivors=4)
    result = secagg.simulate([[1] * 3] * 5, policy=policy, seed=1)
    assert result.certificate is not None
    assert result.certificate.policy_digest != policy.digest()  # fresh keys for everybody
    strict = template(5, dropouts=0, min_survivors=5)
    aborted = secagg.simulate([[1] * 3] * 5, policy=strict, drop={0: "start"}, seed=1)
    assert aborted.aborted == "4 of at least 5 hospitals advertised keys"


def test_the_scale_of_a_given_policy_is_the_one_that_floats_are_rounded_to() -> None:
    policy = changed(template(3), vector=changed(template(3).vector, scale=4))
    result = secagg.simulate([[0.3, 0.25, -1]] * 3, policy=policy, seed=1)
    assert result.sum is not None
    assert result.sum.tolist() == [0.75, 0.75, -3.0]


def test_a_seed_makes_the_run_the_same_and_another_seed_another() -> None:
    def run(seed: int | bytes) -> bytes:
        certificate = secagg.simulate([[1], [2], [3]], seed=seed).certificate
        assert certificate is not None
        return certificate.u2_hash

    assert run(1) == run(1)
    assert run(b"one") == run(b"one")
    assert len({run(1), run(2), run(b"one"), run(b"two")}) == 4
    assert run(1) == run((1).to_bytes(8, "big"))


# --- noise ---------------------------------------------------------------------------------------

DIMENSION = 4096


def noisy(mode: str, n: int = 5) -> Policy:
    """s = 2000 for sensitivity 200 and rho = 10."""
    noise = NoiseSpec(mode=mode, sensitivity=200, rho_units=int(10 / RHO_UNIT))  # type: ignore[arg-type]
    return template(n, dimension=DIMENSION, noise=noise)


def noise_in_the_sum(policy: Policy, drop: Mapping[int, str]) -> Vector:
    inputs = [np.full(DIMENSION, 1000 * u) for u in range(policy.n)]
    result = secagg.simulate(inputs, policy=policy, drop=drop, seed=7)
    assert result.sum is not None
    noise: Vector = result.sum - sum(inputs[u] for u in result.survivors)
    return noise


@pytest.mark.parametrize("mode", ["at_least", "exact", "local"])
@pytest.mark.parametrize("drop", [{}, {4: "share_keys"}, {4: "masked_input"}, {4: "start"}])
def test_the_noise_in_the_sum_is_what_the_mechanism_promises(
    mode: str, drop: Mapping[int, str]
) -> None:
    policy = noisy(mode)
    noise = noise_in_the_sum(policy, drop)
    mechanism = policy.mechanism
    gone = [u for u, stage in drop.items() if stage in BEFORE_ITS_INPUT]
    survivors = policy.n - len(gone)
    assert np.abs(noise).max() <= survivors * mechanism.tail()
    shared = policy.n - len([u for u, stage in drop.items() if stage == "start"])
    each = float(mechanism.residual_variance(shared, survivors))
    if mode == "exact":
        s = float(mechanism.variance_of_sum)
        assert each == pytest.approx(s / (survivors - policy.corrupt))
        # Whoever did not answer has left its surplus in.
        left_in = mechanism.hospital_variance(shared) - mechanism.residual_variance(
            shared, survivors
        )
        silent = sum(stage == "masked_input" for stage in drop.values())
        expected = survivors * each + silent * float(left_in)
    else:
        expected = survivors * each
    # Were any two hospitals' draws the same, the variance would be 1.4 times this or more. From
    # 4096 samples it comes out within 10 %: 4.5 sigma.
    assert noise.var() == pytest.approx(expected, rel=0.10)
    assert abs(noise.mean()) < 5 * np.sqrt(expected / DIMENSION)


def test_without_noise_there_is_none() -> None:
    assert not noise_in_the_sum(template(5, dimension=DIMENSION), {}).any()


# --- what is left behind -------------------------------------------------------------------------


@given(st.integers(4, 7), st.data())
@settings(max_examples=25)
def test_journals_hold_what_was_sent_and_in_that_order(n: int, data: st.DataObject) -> None:
    """Entered, charged, signed, answered; never an answer without t signatures before it."""
    vanish = data.draw(st.dictionaries(st.integers(1, n), st.sampled_from(STAGES)))
    cohort = assembled(template(n))
    cohort.open({u: np.zeros(3, np.int64) for u in cohort.policy.members})
    cohort.run(vanish)
    order = [Entered, Charged, SurvivorSigned, AnswerReleased]
    kinds = {u: [type(entry) for entry in journal] for u, journal in cohort.journals.items()}
    for u, kind in kinds.items():
        attempt_kinds = [k for k in kind if k in order]
        assert attempt_kinds == order[: len(attempt_kinds)], u
    signed = sum(SurvivorSigned in kind for kind in kinds.values())
    answered = sum(AnswerReleased in kind for kind in kinds.values())
    assert answered == 0 or signed >= cohort.policy.threshold
