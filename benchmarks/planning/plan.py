"""From a wish (epsilon, rounds, hospitals, patients) to the noise, its error and its cost.

Every figure comes from the policy that would be pinned, by the code that the processes run; none
is an approximation but those that say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from math import floor, sqrt
from typing import Final, Literal

import msgspec

from benchmarks.planning.traffic import Traffic, traffic
from secagg.cli import CommandError, ExitCode
from secagg.contribution import ContributionRule
from secagg.errors import DecodeError
from secagg.policy import NoiseSpec, Policy
from secagg.privacy.accounting import RHO_UNIT, epsilon_to_zcdp, zcdp_to_epsilon
from secagg.privacy.gaussian_sum import SMALLEST_VARIANCE
from secagg.privacy.mechanism import Mechanism
from server.policy_template import Template

SCHEMA: Final = "secagg-plan/1"

Mode = Literal["exact", "at_least", "local"]

CURVE: Final = tuple(Fraction(10) ** (k // 3) * (1, 2, 5)[k % 3] for k in range(-6, 4))
"""The epsilons at which the error is shown: 0.01, 0.02, 0.05 .. 10."""

_MAX_EPSILON: Final = 1000
_DELTA_DIGITS: Final = 30
_NARROW: Final = SMALLEST_VARIANCE * Fraction(11, 10)
"""Components are planned this much wider than what is refused."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for.

    epsilon, delta: what all ``rounds`` together may cost a patient; in mode ``local`` toward
    everybody, otherwise toward the server with its corrupt hospitals. patients: of one hospital.
    """

    epsilon: Fraction
    delta: Fraction
    rounds: int
    hospitals: int
    patients: int
    mode: Mode = "exact"


class Error(msgspec.Struct, frozen=True, kw_only=True):
    """Error of the average over all patients of ``hospitals``, by the noise of one round.

    Root mean squares, in the gradient's own units (a patient's gradient has a norm of at most
    ``Plan.gradient_bound``): ``coordinate`` of one coordinate, ``norm`` of the whole vector.
    ``patients``: how many there are. ``count``: of the noised number of patients.
    """

    hospitals: int
    patients: int
    coordinate: float
    norm: float
    count: float


class Point(msgspec.Struct, frozen=True):
    """One point of the curve: ``norm`` as in ``Error``, with everybody there."""

    epsilon: float
    norm: float


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the wish comes to.

    rho: zCDP of one round. epsilon_sum, epsilon_own: after all rounds, toward the server with
    ``corrupt`` hospitals, and toward everybody else together who see a hospital's own vector.
    noise_multiplier: standard deviation of the honest noise in the sum over the sensitivity.
    deviation: of all noise in one coordinate of the sum, in integer units, nobody dropping out.
    sent, received: bytes of one hospital in one round (see ``Traffic``); vector: the masked
    input's part of either.
    """

    schema: str = SCHEMA
    epsilon: float
    delta: float
    rounds: int
    mode: str
    corrupt: int
    dropouts: int
    min_survivors: int
    coordinates: int
    scale: int
    gradient_bound: float
    sensitivity: int
    rho: float
    epsilon_sum: float
    epsilon_own: float
    noise_multiplier: float
    deviation: float
    error: Error
    error_at_the_floor: Error
    ring_bits: int
    vector: int
    sent: int
    received: int
    curve: list[Point]


def parse_wish(
    epsilon: str, delta: str, rounds: int, hospitals: int, patients: int, mode: Mode
) -> Wish:
    """The wish of these texts; ``1e-5`` is read as well as ``0.00001``. Raises CommandError."""
    budget, failure = _decimal(epsilon), _decimal(delta)
    if budget is None or not 0 < budget <= _MAX_EPSILON:
        raise CommandError(
            f"An epsilon of {epsilon!r} cannot be planned with.",
            f"Give a decimal above 0, at most {_MAX_EPSILON}, such as 1 or 0.5.",
            ExitCode.USAGE,
        )
    if failure is None or not Decimal(10) ** -_DELTA_DIGITS <= failure < 1:
        raise CommandError(
            f"A delta of {delta!r} cannot be planned with.",
            "Give a decimal below 1, such as 1e-5: less than one over the number of patients.",
            ExitCode.USAGE,
        )
    return Wish(Fraction(budget), Fraction(failure), rounds, hospitals, patients, mode)


def planned(wish: Wish, base: Template) -> tuple[Plan, Template]:
    """The plan, and ``base`` with the noise and the bounds that carry it out.

    Raises CommandError if no policy does.
    """
    template = fitted(wish, base)
    policy = sample_policy(wish, template)
    costs = traffic(policy)
    return _plan(wish, policy, costs, list(_curve(wish, base))), template


def fitted(wish: Wish, base: Template) -> Template:
    """``base`` with noise for the wish, and with bounds that suit the number of patients.

    Per hospital and round, patients are limited to the next power of two. The public floor of the
    patient count is half of what the fewest hospitals bring. Where noise would be too narrow for
    the integers, scale and bounds are doubled until it is not, which changes nothing else.
    """
    rho = floor(Fraction(epsilon_to_zcdp(wish.epsilon, wish.delta)) / RHO_UNIT / wish.rounds)
    if rho < 1:
        raise CommandError(
            f"{wish.rounds} rounds leave each less than the smallest charge of the ledger.",
            "Plan fewer rounds, or a larger epsilon.",
            ExitCode.USAGE,
        )

    without_noise = sample_policy(
        wish, msgspec.structs.replace(base, vector=None, noise=NoiseSpec())
    )
    rule = base.model.contribution
    try:
        factor = 1
        while _narrowest(without_noise, _finer(rule, factor).sensitivity, rho, wish.mode) < _NARROW:
            factor *= 2
        contribution = msgspec.structs.replace(
            _finer(rule, factor), max_patients=1 << (wish.patients - 1).bit_length()
        )
    except ValueError as error:
        raise _no_policy(error) from None
    count_floor = max(1, without_noise.min_survivors * wish.patients // 2)
    return msgspec.structs.replace(
        base,
        vector=None,
        noise=NoiseSpec(
            mode=wish.mode,
            unit="patient",
            sensitivity=contribution.sensitivity,
            rho_units=rho,
            delta=_plain(wish.delta),
        ),
        model=msgspec.structs.replace(
            base.model,
            contribution=contribution,
            update=msgspec.structs.replace(base.model.update, count_floor=count_floor),
        ),
    )


def sample_policy(wish: Wish, template: Template) -> Policy:
    """The policy of as many hospitals, with keys that nobody has. Raises CommandError."""
    keys = [number.to_bytes(32, "big") for number in range(1, wish.hospitals + 2)]
    roster = {f"hospital-{number}": key for number, key in enumerate(keys[1:], start=1)}
    try:
        return template.policy("planned", keys[0], roster)
    except DecodeError as error:
        raise _no_policy(error) from None


def _plan(wish: Wish, policy: Policy, costs: Traffic, curve: list[Point]) -> Plan:
    mechanism, noise = policy.mechanism, policy.noise
    guarantee = mechanism.guarantee(policy.vector.dimension)
    variation = wish.rounds * guarantee.total_variation
    epsilon_sum, epsilon_own = (
        zcdp_to_epsilon(wish.rounds * (rho or 0), wish.delta, variation)
        for rho in (guarantee.rho_sum, guarantee.rho_own)
    )
    rho = noise.rho_units * RHO_UNIT
    return Plan(
        epsilon=float(wish.epsilon),
        delta=float(wish.delta),
        rounds=wish.rounds,
        mode=noise.mode,
        corrupt=policy.corrupt,
        dropouts=policy.dropouts,
        min_survivors=policy.min_survivors,
        coordinates=policy.vector.dimension,
        scale=policy.vector.scale,
        gradient_bound=_gradient_bound(policy),
        sensitivity=noise.sensitivity,
        rho=float(rho),
        epsilon_sum=epsilon_sum,
        epsilon_own=epsilon_own,
        noise_multiplier=sqrt(mechanism.variance_of_sum) / noise.sensitivity,
        deviation=_deviation(policy, policy.n),
        error=_error(policy, policy.n, wish.patients),
        error_at_the_floor=_error(policy, policy.min_survivors, wish.patients),
        ring_bits=policy.ring.bits,
        vector=costs.vector,
        sent=costs.sent,
        received=costs.received,
        curve=curve,
    )


def _curve(wish: Wish, base: Template) -> Iterator[Point]:
    for epsilon in CURVE:
        other = Wish(epsilon, wish.delta, wish.rounds, wish.hospitals, wish.patients, wish.mode)
        policy = sample_policy(other, fitted(other, base))
        yield Point(float(epsilon), _error(policy, policy.n, wish.patients).norm)


def _error(policy: Policy, hospitals: int, patients: int) -> Error:
    deviation, together = _deviation(policy, hospitals), hospitals * patients
    coordinate = deviation / (policy.vector.scale * together)
    weight = policy.model.contribution.count_weight if policy.model else 1
    return Error(
        hospitals=hospitals,
        patients=together,
        coordinate=coordinate,
        norm=coordinate * sqrt(policy.vector.dimension - 1),
        count=deviation / weight,
    )


def _deviation(policy: Policy, hospitals: int) -> float:
    """Of the released sum of so many survivors, everybody having shared."""
    return sqrt(hospitals * policy.mechanism.residual_variance(policy.n, hospitals))


def _gradient_bound(policy: Policy) -> float:
    rule = policy.model.contribution if policy.model else None
    return rule.gradient_bound / rule.scale if rule else 0.0


def _finer(rule: ContributionRule, factor: int) -> ContributionRule:
    """The same contributions in integers that are ``factor`` times as fine."""
    return msgspec.structs.replace(
        rule,
        scale=factor * rule.scale,
        gradient_bound=factor * rule.gradient_bound,
        count_weight=factor * rule.count_weight,
    )


def _narrowest(policy: Policy, sensitivity: int, rho_units: int, mode: Mode) -> Fraction:
    """The smallest variance of a component, before anything is made larger."""
    variance = Fraction(sensitivity**2) / (2 * rho_units * RHO_UNIT)
    mechanism = Mechanism(
        mode, sensitivity, variance, policy.n, policy.corrupt, policy.min_survivors
    )
    return min(mechanism.components(policy.n))


def _decimal(text: str) -> Decimal | None:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def _plain(delta: Fraction) -> str:
    """A policy's decimal: no exponent, never more than was asked for."""
    digits = floor(delta * 10**_DELTA_DIGITS)
    return f"0.{digits:0{_DELTA_DIGITS}d}".rstrip("0")


def _no_policy(error: Exception) -> CommandError:
    return CommandError(
        f"No policy does this: {error}.",
        "Change the number of hospitals, the mode, or the template's thresholds.",
        ExitCode.USAGE,
    )
