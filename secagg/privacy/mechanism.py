"""The noise of one training round: what each hospital adds, and what that guarantees.

``s`` is the variance that the released sum must carry from honest hospitals alone. The server
knows the noise of the ``c`` hospitals that collude with it, so only the others count.

A hospital's noise is a sum of independent *components*, each drawn from its own seed. In mode
``exact`` (XNoise, Dordis, EuroSys 2024) the components that a cohort turns out not to need are
its *surplus*: once the signed U3 is known, each client discloses the seeds of its own, and the
server subtracts them. docs/privacy.md, "The mechanism", proves what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, isqrt
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from secagg.crypto.hashing import Label, u64
from secagg.crypto.kdf import derive
from secagg.crypto.secret import Secret
from secagg.privacy import gaussian_sum
from secagg.privacy.discrete_gaussian import (
    MAX_VARIANCE,
    TOTAL_VARIATION_PER_SAMPLE,
    sample,
    tail_bound,
)
from secagg.privacy.gaussian_sum import SMALLEST_VARIANCE

Mode = Literal["none", "at_least", "local", "exact"]

# s is this much larger than sensitivity^2 / (2 rho), which pays for tau.
_MARGIN: Final = 1 + Fraction(1, 2**30)


@dataclass(frozen=True, slots=True)
class Guarantee:
    """What one release costs; all numbers are upper bounds.

    ``rho_sum``: zCDP against the server with c hospitals, which see the released sum.
    ``rho_own``: zCDP against everybody else together, who see this hospital's noised vector.
    None means that no privacy is promised (mode none). ``samples``: how many noise samples all
    hospitals together draw for it; each adds its total variation to delta.
    """

    rho_sum: Fraction | None
    rho_own: Fraction | None
    samples: int

    @property
    def total_variation(self) -> Fraction:
        """Distance between the noise as drawn and the ideal noise, for ``zcdp_to_epsilon``."""
        return self.samples * TOTAL_VARIATION_PER_SAMPLE


@dataclass(frozen=True, slots=True)
class Mechanism:
    """Discrete Gaussian noise for one round; build it with :meth:`calibrated`.

    ``mode``: ``none``; ``at_least``: the noise of ``min_survivors - corrupt`` hospitals carries
    ``variance_of_sum``; ``exact``: that of ``|U3| - corrupt`` does, the surplus being removed;
    ``local``: that of each hospital alone does. ``sensitivity``: L2, in integer coordinates.
    ``roster``, ``corrupt``, ``min_survivors``: n, c and the smallest U3.
    """

    mode: Mode
    sensitivity: int
    variance_of_sum: Fraction
    roster: int
    corrupt: int
    min_survivors: int

    @classmethod
    def calibrated(
        cls,
        *,
        mode: Mode,
        sensitivity: int,
        rho: Fraction,
        roster: int,
        corrupt: int,
        min_survivors: int,
    ) -> Mechanism:
        """The mechanism whose released sum costs at most ``rho`` (zCDP); see ``guarantee``.

        Raises ValueError, saying how to mend it, if a bound on the cohort fails, if ``rho`` or
        ``sensitivity`` is not positive in a mode with noise, or if a component's variance would
        be under 6 or above 2^40.
        """
        if not 0 <= corrupt < min_survivors <= roster:
            raise ValueError(
                f"required is 0 <= corrupt < min_survivors <= roster, got {corrupt}, "
                f"{min_survivors} and {roster}"
            )
        if mode == "none":
            return cls(mode, sensitivity, Fraction(0), roster, corrupt, min_survivors)
        if rho <= 0 or sensitivity <= 0:
            raise ValueError(
                f"mode {mode!r} needs rho > 0 and sensitivity > 0, got {rho} and {sensitivity}"
            )
        variance = Fraction(sensitivity**2) / (2 * rho) * _MARGIN
        mechanism = cls(mode, sensitivity, variance, roster, corrupt, min_survivors)
        mechanism._refuse_unfit_variances()
        return mechanism

    def components(self, shared: int) -> tuple[Fraction, ...]:
        """Variances of the components that each hospital adds when |U2| = ``shared``.

        In mode ``exact``, with m = |U2| - c: s / m, then s / ((m - k + 1)(m - k)) for each
        number k of dropouts that the floor still allows. The first k + 1 add up to s / (m - k).
        Raises ValueError unless ``min_survivors <= shared <= roster``.
        """
        if not self.min_survivors <= shared <= self.roster:
            raise ValueError(
                f"required is min_survivors <= |U2| <= roster, that is {self.min_survivors} <= "
                f"{shared} <= {self.roster}"
            )
        s, m = self.variance_of_sum, shared - self.corrupt
        match self.mode:
            case "none":
                return ()
            case "local":
                return (s,)
            case "at_least":
                return (s / (self.min_survivors - self.corrupt),)
            case "exact":
                spare = range(1, shared - self.min_survivors + 1)
                return (s / m, *(s / ((m - k + 1) * (m - k)) for k in spare))

    def hospital_variance(self, shared: int) -> Fraction:
        """Variance, per coordinate, of all the noise that one hospital adds."""
        return sum(self.components(shared), Fraction(0))

    def residual_variance(self, shared: int, survivors: int) -> Fraction:
        """Variance of one hospital's noise, per coordinate, when the surplus is removed."""
        surplus = self.surplus(shared, survivors)
        return sum(self.components(shared)[: surplus.start], Fraction(0))

    def surplus(self, shared: int, survivors: int) -> range:
        """Numbers of the components that |U3| = ``survivors`` does not need; empty but in exact.

        Raises ValueError unless ``min_survivors <= survivors <= shared <= roster``.
        """
        added = len(self.components(shared))
        if not self.min_survivors <= survivors <= shared:
            raise ValueError(
                f"required is min_survivors <= |U3| <= |U2|, that is {self.min_survivors} <= "
                f"{survivors} <= {shared}"
            )
        return range(shared - survivors + 1, added) if self.mode == "exact" else range(added, added)

    def noise(self, seed: bytes, size: int, shared: int) -> NDArray[np.int64]:
        """One hospital's noise vector of ``size`` coordinates; ``seed``: 32 secret bytes.

        Component j is drawn from its own seed, ``HKDF(seed, NOISE, u64(j))``. Each coordinate
        is within ``tail()`` of 0.
        """
        components = self.components(shared)
        seeds = [_component_seed(seed, number) for number in range(len(components))]
        return _drawn(seeds, components, size)

    def surplus_seeds(self, seed: bytes, shared: int, survivors: int) -> tuple[bytes, ...]:
        """The seeds of a hospital's own surplus, 32 bytes each: what it may disclose, no more.

        HKDF keeps ``seed`` and the seeds of the other components secret.
        """
        surplus = self.surplus(shared, survivors)
        return tuple(_component_seed(seed, number) for number in surplus)

    def surplus_noise(
        self, seeds: Sequence[bytes], size: int, shared: int, survivors: int
    ) -> NDArray[np.int64]:
        """What to subtract from the sum for one hospital that disclosed ``seeds``.

        Raises ValueError unless there is exactly one seed of 32 bytes for each surplus component.
        """
        surplus = self.surplus(shared, survivors)
        if len(seeds) != len(surplus):
            raise ValueError(f"{len(surplus)} surplus seeds are due, got {len(seeds)}")
        return _drawn(seeds, self.components(shared)[surplus.start :], size)

    def tail(self) -> int:
        """Hard bound of the absolute value of one hospital's noise in one coordinate, any U2."""
        if self.mode != "exact":
            return sum(map(tail_bound, self.components(self.roster)))
        # One client more in U2 splits the component s / m in s / (m + 1) and s / (m (m + 1)).
        worst, spare, s = 0, 0, self.variance_of_sum
        for m in range(self.min_survivors - self.corrupt, self.roster - self.corrupt + 1):
            worst = max(worst, tail_bound(s / m) + spare)
            spare += tail_bound(s / (m * (m + 1))) if m < self.roster - self.corrupt else 0
        return worst

    def guarantee(self, dimension: int) -> Guarantee:
        """What one release of ``dimension`` coordinates costs a hospital, whoever drops out."""
        if self.mode == "none":
            return Guarantee(None, None, 0)
        added = self.components(self.roster)
        own = added[0]  # in mode exact, all that is left if nobody drops out
        honest = (self.roster if self.mode == "exact" else self.min_survivors) - self.corrupt
        return Guarantee(
            self._zcdp(honest * own, honest * len(added), dimension),
            self._zcdp(own, len(added), dimension),
            self.roster * len(added) * dimension,
        )

    def _zcdp(self, variance: Fraction, components: int, dimension: int) -> Fraction:
        smallest = min(self.components(self.roster))
        return gaussian_sum.zcdp(self.sensitivity, variance, components, smallest, dimension)

    def _refuse_unfit_variances(self) -> None:
        # The smallest component is added when everybody shared, the largest at the floor.
        variances = (*self.components(self.roster), *self.components(self.min_survivors))
        if min(variances) < SMALLEST_VARIANCE:
            factor = SMALLEST_VARIANCE / min(variances)
            needed = isqrt(ceil(factor * self.sensitivity**2)) + 1
            raise ValueError(
                f"a noise component would have variance {float(min(variances)):.6g}; at least "
                f"{SMALLEST_VARIANCE} is needed: use a larger scale, so that the sensitivity in "
                f"integer coordinates is {needed} instead of {self.sensitivity}, or a smaller rho"
            )
        if max(variances) > MAX_VARIANCE:
            raise ValueError(
                f"a noise component would have variance {float(max(variances)):.6g}; at most "
                f"2^40 can be drawn: use a smaller scale, or a larger rho"
            )


def _drawn(seeds: Sequence[bytes], variances: Sequence[Fraction], size: int) -> NDArray[np.int64]:
    total = np.zeros(size, dtype=np.int64)
    for seed, variance in zip(seeds, variances, strict=True):
        total += sample(seed, variance, size)
    return total


def _component_seed(seed: bytes, number: int) -> bytes:
    return derive(Secret(seed), Label.NOISE, u64(number)).reveal()
