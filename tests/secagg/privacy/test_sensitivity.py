"""Sensitivity: a search for neighbouring data sets that are further apart than claimed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, target
from hypothesis import strategies as st
from numpy.typing import NDArray

from secagg.privacy.sensitivity import Neighbours, l2_sensitivity
from secagg.vector.fixed_point import clip_l2, quantise, squared_norm

SCALES = st.sampled_from([1, 3, 1000, 2**20])
COORDINATES = st.one_of(
    st.floats(-1e6, 1e6),
    st.floats(-1, 1),
    st.sampled_from([-0.5, 0.5, 0.5000001, -0.4999999, 1.5, 0.0]),
)
VECTORS = st.lists(COORDINATES, min_size=4, max_size=4).map(np.array)
DATA = st.lists(VECTORS, max_size=5)
CLIPS = st.integers(1, 2**22)


def contribution(vector: NDArray[np.float64], scale: int, clip: int) -> NDArray[np.int64]:
    return clip_l2(quantise(vector, scale), clip)


def total(data: list[NDArray[np.float64]], scale: int, clip: int) -> NDArray[np.int64]:
    added = np.zeros(4, np.int64)
    for vector in data:
        added += contribution(vector, scale, clip)
    return added


@given(DATA, VECTORS, SCALES, CLIPS)
def test_no_patient_added_or_removed_moves_the_sum_further_than_claimed(
    data: list[NDArray[np.float64]], patient: NDArray[np.float64], scale: int, clip: int
) -> None:
    moved = squared_norm(total([*data, patient], scale, clip) - total(data, scale, clip))
    target(moved / clip**2)
    assert moved <= l2_sensitivity(clip, Neighbours.ADD_OR_REMOVE_ONE) ** 2


@given(DATA, VECTORS, VECTORS, SCALES, CLIPS)
def test_no_patient_replaced_moves_the_sum_further_than_claimed(
    data: list[NDArray[np.float64]],
    patient: NDArray[np.float64],
    other: NDArray[np.float64],
    scale: int,
    clip: int,
) -> None:
    moved = squared_norm(total([*data, patient], scale, clip) - total([*data, other], scale, clip))
    target(moved / clip**2)
    assert moved <= l2_sensitivity(clip, Neighbours.REPLACE_ONE) ** 2


@pytest.mark.parametrize(
    ("neighbours", "other"),
    [(Neighbours.ADD_OR_REMOVE_ONE, [0.0] * 4), (Neighbours.REPLACE_ONE, [-9.0, 0, 0, 0])],
)
def test_the_claim_is_reached_so_it_is_not_too_large(
    neighbours: Neighbours, other: list[float]
) -> None:
    one, two = (contribution(np.array(v), 100, 70) for v in ([9.0, 0, 0, 0], other))
    assert squared_norm(one - two) == l2_sensitivity(70, neighbours) ** 2


def test_clipping_before_rounding_alone_would_violate_the_claim() -> None:
    # Norm 0.88 before rounding, 1.73 after: why the integers are clipped again.
    vector = np.full(3, 0.51)
    assert np.linalg.norm(vector) < 1
    assert squared_norm(quantise(vector, 1)) == 3
    assert squared_norm(contribution(vector, 1, 1)) <= 1


@pytest.mark.parametrize("clip", [0, -1])
def test_a_clip_norm_must_be_positive(clip: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        l2_sensitivity(clip, Neighbours.REPLACE_ONE)
