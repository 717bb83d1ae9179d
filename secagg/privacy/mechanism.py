"""The noise of one training round: what each hospital adds, and what that guarantees.

``s`` is the variance that the released sum must carry from honest hospitals alone. The server
knows the noise of the ``c`` hospitals that collude with it, so only the others count. Which
components a hospital adds in each mode: docs/privacy.md, "The mechanism".
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, isqrt
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from secagg.crypto.hashing import Label, u64
from secagg.crypto.kdf import derive
from secagg.crypto.secret import Secret
from secagg.privacy import discrete_gaussian, gaussian_sum
from secagg.privacy.discrete_gaussian import MAX_VARIANCE, TOTAL_VARIATION_PER_SAMPLE
from secagg.privacy.gaussian_sum import SMALLEST_VARIANCE

Mode = Literal["none", "at_least", "local"]

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
    ``variance_of_sum``; ``local``: that of each hospital alone does. ``sensitivity``: L2, in
    integer coordinates. ``roster``, ``corrupt``, ``min_survivors``: n, c and the smallest U3.
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
        """The mechanism whose released sum costs at most ``rho`` (zCDP).

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
        """Variances of the independent components that a hospital adds when |U2| = ``shared``.

        Raises ValueError unless ``min_survivors <= shared <= roster``.
        """
        if not self.min_survivors <= shared <= self.roster:
            raise ValueError(
                f"required is min_survivors <= |U2| <= roster, that is {self.min_survivors} <= "
                f"{shared} <= {self.roster}"
            )
        if self.mode == "none":
            return ()
        if self.mode == "local":
            return (self.variance_of_sum,)
        return (self.variance_of_sum / (self.min_survivors - self.corrupt),)

    def hospital_variance(self, shared: int) -> Fraction:
        """Variance, per coordinate, of all the noise that one hospital adds."""
        return sum(self.components(shared), Fraction(0))

    def noise(self, seed: bytes, size: int, shared: int) -> NDArray[np.int64]:
        """One hospital's noise vector of ``size`` coordinates; ``seed``: 32 secret bytes.

        Component j is drawn from its own seed, ``HKDF(seed, NOISE, u64(j))``. Each coordinate
        is within ``tail()`` of 0.
        """
        total = np.zeros(size, dtype=np.int64)
        for number, variance in enumerate(self.components(shared)):
            total += discrete_gaussian.sample(_component_seed(seed, number), variance, size)
        return total

    def tail(self) -> int:
        """Hard bound of the absolute value of one hospital's noise in one coordinate."""
        return max(
            sum(map(discrete_gaussian.tail_bound, self.components(shared)))
            for shared in self._possible_shared()
        )

    def guarantee(self, dimension: int) -> Guarantee:
        """What one release of ``dimension`` coordinates costs a hospital, at worst."""
        if self.mode == "none":
            return Guarantee(None, None, 0)
        honest = self.min_survivors - self.corrupt
        (own,) = self.components(self.roster)
        return Guarantee(
            gaussian_sum.zcdp(self.sensitivity, honest * own, honest, own, dimension),
            gaussian_sum.zcdp(self.sensitivity, own, 1, own, dimension),
            self.roster * dimension,
        )

    def _possible_shared(self) -> range:
        return range(self.min_survivors, self.roster + 1)

    def _refuse_unfit_variances(self) -> None:
        variances = [v for shared in self._possible_shared() for v in self.components(shared)]
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


def _component_seed(seed: bytes, number: int) -> bytes:
    return derive(Secret(seed), Label.NOISE, u64(number)).reveal()
