"""Who masks with whom, and with which sign."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.graph import CompleteGraph, graph_of, mask_sign
from tests.cohorts import template

COHORTS = st.sets(st.integers(1, 4096), min_size=1, max_size=30)


@given(COHORTS)
def test_in_the_complete_graph_everybody_neighbours_everybody_and_itself(
    cohort: Collection[int],
) -> None:
    graph = graph_of(template(4), cohort)
    assert isinstance(graph, CompleteGraph)
    for u in cohort:
        assert graph.neighbours(u) == tuple(sorted(cohort))


@given(st.integers(1, 4096), st.integers(1, 4096))
def test_the_two_ends_of_a_pair_add_opposite_masks(u: int, v: int) -> None:
    if u != v:
        assert mask_sign(u, v) == -mask_sign(v, u)


@pytest.mark.parametrize(("u", "v", "sign"), [(2, 1, 1), (1, 2, -1), (4096, 1, 1), (1, 4096, -1)])
def test_the_higher_number_adds_and_the_lower_subtracts(u: int, v: int, sign: int) -> None:
    assert mask_sign(u, v) == sign


@given(COHORTS)
def test_over_any_cohort_the_signed_masks_cancel(cohort: Collection[int]) -> None:
    """Each p_uv = 1 + uv, symmetric: what all of the cohort add up to is nothing."""
    total = sum(mask_sign(u, v) * (1 + u * v) for u in cohort for v in cohort if u != v)
    assert total == 0
