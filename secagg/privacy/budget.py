"""The arithmetic of a privacy ledger: what was charged, and whether one more charge fits.

Pure: the party stores the charges durably and asks here. A charge is made of integers, so order
and grouping never matter. The budget limits the guarantee for the sum; what the one for a
hospital's own vector costs is added up beside it, and reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from secagg.errors import SecaggError
from secagg.privacy.accounting import RHO_UNIT, zcdp_to_epsilon
from secagg.privacy.discrete_gaussian import TOTAL_VARIATION_PER_SAMPLE


class BudgetExceeded(SecaggError):
    """A charge was refused: it would spend more privacy than the budget has."""


@dataclass(frozen=True, slots=True)
class Charge:
    """The cost of one release, or of several together.

    ``rho``: zCDP in ledger units (``RHO_UNIT``), rounded up. ``samples``: noise samples that all
    hospitals together drew for it; their total variation is paid from delta.
    """

    rho: int = 0
    samples: int = 0

    def __post_init__(self) -> None:
        if self.rho < 0 or self.samples < 0:
            raise ValueError(f"a charge is never negative: rho {self.rho}, {self.samples} samples")

    def __add__(self, other: Charge) -> Charge:
        """Both releases together: zCDP and total variation compose by addition."""
        return Charge(self.rho + other.rho, self.samples + other.samples)

    def epsilon(self, delta: Fraction) -> float:
        """The epsilon of this charge alone at ``delta``, rounded up."""
        variation = self.samples * TOTAL_VARIATION_PER_SAMPLE
        return zcdp_to_epsilon(self.rho * RHO_UNIT, delta, variation)


@dataclass(frozen=True, slots=True)
class Budget:
    """What a hospital allows in total, (``epsilon``, ``delta``), and what is ``spent`` of it.

    Raises ValueError unless epsilon > 0 and 0 < delta < 1.
    """

    epsilon: Fraction
    delta: Fraction
    spent: Charge = Charge()

    def __post_init__(self) -> None:
        if self.epsilon <= 0 or not 0 < self.delta < 1:
            raise ValueError(
                f"required are epsilon > 0 and 0 < delta < 1, got {self.epsilon}, {self.delta}"
            )

    def epsilon_spent(self) -> float:
        """The epsilon of everything spent so far, rounded up."""
        return self.spent.epsilon(self.delta)

    def allows(self, charge: Charge) -> bool:
        """Whether the spent epsilon, with ``charge``, stays within the budget."""
        return (self.spent + charge).epsilon(self.delta) <= self.epsilon

    def charged(self, charge: Charge) -> Budget:
        """The budget after ``charge``; raises BudgetExceeded, spending nothing, if it is over."""
        if not self.allows(charge):
            total = (self.spent + charge).epsilon(self.delta)
            raise BudgetExceeded(
                f"privacy budget: this round would bring epsilon to {total:.6g} at delta = "
                f"{float(self.delta):g}, and {float(self.epsilon):g} is allowed; "
                f"{self.epsilon_spent():.6g} is spent. Raise the budget, or stop taking part"
            )
        return Budget(self.epsilon, self.delta, self.spent + charge)

    def affordable(self, charge: Charge) -> int:
        """How many more times ``charge`` fits; raises ValueError for a charge without rho."""
        if charge.rho == 0:
            raise ValueError("a charge of rho = 0 fits any number of times")
        fits, refused = 0, 1
        while self.allows(_times(charge, refused)):
            fits, refused = refused, 2 * refused
        while refused - fits > 1:
            middle = (fits + refused) // 2
            if self.allows(_times(charge, middle)):
                fits = middle
            else:
                refused = middle
        return fits


def _times(charge: Charge, count: int) -> Charge:
    return Charge(count * charge.rho, count * charge.samples)
