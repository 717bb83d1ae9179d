"""Who masks with whom: N(u), the neighbours of u in a cohort, *u itself included*.

The one place that knows the graph's shape. Every round asks it; a sparse graph (Bell et al.,
CCS 2020) is another implementation of :class:`Graph`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from secagg.policy import Policy


class Graph(Protocol):
    """N(u) over one U1."""

    def neighbours(self, u: int) -> tuple[int, ...]:
        """N(u), ascending, u included: to whom u deals shares."""


@dataclass(frozen=True, slots=True)
class CompleteGraph:
    """Everybody masks with everybody; ``cohort`` is U1, ascending."""

    cohort: tuple[int, ...]

    def neighbours(self, u: int) -> tuple[int, ...]:
        """N(u): the whole cohort."""
        return self.cohort


def graph_of(policy: Policy, u1: Iterable[int]) -> Graph:
    """The graph that ``policy`` pins, over the advertised clients ``u1``."""
    match policy.graph:
        case "complete":
            return CompleteGraph(tuple(sorted(u1)))


def mask_sign(u: int, v: int) -> Literal[1, -1]:
    """The sign with which u adds p_uv: +1 for v < u, -1 for v > u (Bonawitz et al., section 4)."""
    return 1 if v < u else -1
