"""What one unit may contribute to a hospital's vector: fixed point, clipping, sensitivity.

The unit of a policy (``noise.unit``) is a patient, or the hospital as a whole, which then is the
only one that it brings (``max_patients`` is 1).

A contribution's coordinates are the gradient with respect to every parameter, flattened in the
declared order, then the count of units. A unit adds ``round(scale * gradient)``, clipped in L2 to
``gradient_bound``, and ``count_weight`` to the last coordinate; so adding or removing one unit
moves the vector by at most ``sqrt(sensitivity_squared)`` in L2, exactly, in integers.
"""

from math import isqrt
from typing import Annotated, Final

import msgspec

MAX_SCALE: Final = 2**40
MAX_PATIENTS: Final = 2**24

_Bound = Annotated[int, msgspec.Meta(ge=1, le=MAX_SCALE)]


class ContributionRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Constants of the fixed-point encoding, all positive integers.

    scale: units per 1.0 of gradient.
    gradient_bound: largest L2 norm of one patient's (or hospital's) integer gradient, so scaled.
    count_weight: what one patient (or hospital) adds to the count coordinate.
    max_patients: most patients of one hospital in one round; it bounds every coordinate.

    Raises ``ValueError`` for a value outside 1..2^40 (``max_patients``: 1..2^24).
    """

    scale: _Bound
    gradient_bound: _Bound
    count_weight: _Bound
    max_patients: Annotated[int, msgspec.Meta(ge=1, le=MAX_PATIENTS)]

    def __post_init__(self) -> None:
        for name in ("scale", "gradient_bound", "count_weight"):
            if not 1 <= getattr(self, name) <= MAX_SCALE:
                raise ValueError(f"contribution: {name} must be 1 to {MAX_SCALE}")
        if not 1 <= self.max_patients <= MAX_PATIENTS:
            raise ValueError(f"contribution: max_patients must be 1 to {MAX_PATIENTS}")
        if self.coordinate_bound >= 2**62:
            raise ValueError("contribution: max_patients times the bounds exceeds 62 bits")

    @property
    def sensitivity_squared(self) -> int:
        """Square of the L2 sensitivity to adding or removing one patient (or hospital)."""
        return self.gradient_bound**2 + self.count_weight**2

    @property
    def sensitivity(self) -> int:
        """That sensitivity, rounded up to an integer."""
        return isqrt(self.sensitivity_squared - 1) + 1

    @property
    def coordinate_bound(self) -> int:
        """Largest absolute value of any coordinate of one hospital's vector before noise."""
        return self.max_patients * max(self.gradient_bound, self.count_weight)
