"""By how much one unit can change the integer vector that a hospital adds up.

A *unit* is what the guarantee protects: a patient's record, or a hospital's whole data. Each
unit contributes one integer vector, clipped to an L2 norm of ``clip`` *after* rounding, and the
hospital adds them up. Theorem 1 of docs/privacy.md.
"""

from __future__ import annotations

from enum import StrEnum, unique


@unique
class Neighbours(StrEnum):
    """When two data sets count as neighbours."""

    ADD_OR_REMOVE_ONE = "add or remove one unit"
    REPLACE_ONE = "replace one unit by another"


def l2_sensitivity(clip: int, neighbours: Neighbours) -> int:
    """The L2 distance of two neighbours' sums, at most; ``clip``: a unit's norm, in integers.

    Exact: no neighbours are further apart. Raises ValueError unless ``clip`` is positive.
    """
    if clip <= 0:
        raise ValueError(f"the norm that units are clipped to must be positive, got {clip}")
    return clip if neighbours is Neighbours.ADD_OR_REMOVE_ONE else 2 * clip
