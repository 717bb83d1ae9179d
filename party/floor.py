"""The site's own floor: what this hospital demands of any policy, whatever a consortium agrees on.

Checked once, when the node starts: the policy is pinned by its digest, so nothing can change it
while the node runs, and every released sum has at least the policy's ``min_survivors`` hospitals.
"""

from __future__ import annotations

from fractions import Fraction

from party.config import Limits
from party.ledger import Cost
from secagg.cli import CommandError, ExitCode
from secagg.policy import Policy


def check_floor(policy: Policy, limits: Limits, cost: Cost | None, delta: Fraction | None) -> None:
    """Raise CommandError, naming the limit, if ``policy`` promises less than ``limits`` demands.

    ``cost``: of one attempt, None without noise. ``delta``: of the hospital's budget.
    """
    fewest = limits.min_participants
    if fewest is not None and policy.min_survivors < fewest:
        raise _below(
            f"releases sums of {policy.min_survivors} hospitals, and min_participants is {fewest}"
        )
    if limits.noise is not None and policy.noise.mode not in limits.noise:
        raise _below(
            f"has noise {policy.noise.mode!r}, and noise allows {', '.join(limits.noise) or 'none'}"
        )
    most = limits.max_epsilon_per_round
    if most is None:
        return
    if cost is None or delta is None:
        raise _below(f"adds no noise, and max_epsilon_per_round is {most}")
    epsilon = cost.sum.epsilon(delta)
    if epsilon > float(most):
        raise _below(
            f"costs epsilon {epsilon:.6g} in each attempt, and max_epsilon_per_round is {most}"
        )


def _below(finding: str) -> CommandError:
    return CommandError(
        f"The policy {finding}: this hospital's own floor in [limits] of party.toml.",
        "Agree on a stricter policy with the consortium; or lower the floor, if the hospital "
        "decides so.",
        ExitCode.BUDGET_REFUSED,
    )
