"""The site's own floor: no policy that demands less of itself is run on."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from party.config import Limits
from party.floor import check_floor
from party.ledger import Cost
from secagg.cli import CommandError, ExitCode
from secagg.policy import NoiseSpec, Policy
from tests.party.consortium import Consortium, assemble

DELTA = Fraction("0.001")


def epsilon(policy: Policy) -> Decimal:
    """What one attempt costs under ``policy``."""
    cost = Cost.of(policy)
    assert cost is not None
    return Decimal(cost.sum.epsilon(DELTA))


def test_without_limits_any_policy_will_do(consortium: Consortium) -> None:
    check_floor(consortium.policy, Limits(), None, None)


def test_a_policy_at_the_floor_will_do(consortium: Consortium) -> None:
    policy = consortium.policy
    limits = Limits(
        min_participants=policy.min_survivors,
        noise=("exact", "local"),
        max_epsilon_per_round=epsilon(policy),
    )
    check_floor(policy, limits, Cost.of(policy), DELTA)


@pytest.mark.parametrize(
    ("limits", "finding"),
    [
        (Limits(min_participants=4), "sums of 3 hospitals, and min_participants is 4"),
        (Limits(noise=("local",)), "has noise 'exact', and noise allows local"),
        (Limits(noise=()), "noise allows none"),
        (Limits(max_epsilon_per_round=Decimal("0.05")), r"epsilon 0\.\d+ in each attempt"),
    ],
)
def test_a_policy_below_the_floor_is_refused(
    consortium: Consortium, limits: Limits, finding: str
) -> None:
    policy = consortium.policy
    with pytest.raises(CommandError, match=finding) as refused:
        check_floor(policy, limits, Cost.of(policy), DELTA)
    assert refused.value.exit_code is ExitCode.BUDGET_REFUSED


def test_without_noise_no_epsilon_is_low_enough(tmp_path: Path) -> None:
    plain = assemble(tmp_path, noise=NoiseSpec())
    limits = Limits(max_epsilon_per_round=Decimal(10**6))
    with pytest.raises(CommandError, match="adds no noise"):
        check_floor(plain.policy, limits, Cost.of(plain.policy), None)
    plain.close()
