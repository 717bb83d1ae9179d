"""The privacy account of one hospital, as it is shown: GET /privacy-budget, `secagg budget show`.

One line of history for each charge. Epsilon is a property of everything spent so far, and not a
sum of its parts: what a line has spent is by how much it has raised the total, so that the lines
add up to it, and later ones of the same cost are cheaper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Final, final

import structlog
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from party.ledger import Cost, Debit, Ledger
from secagg.context import attempt_of
from secagg.privacy.budget import Budget
from secagg.rounds.journal import Charged, Entry
from secagg.wire.messages import Certificate

LOW: Final = Fraction(1, 5)
"""The share of the total that is left when the warnings begin."""

WITHOUT_NOISE: Final = (
    "The policy adds no noise: what the rounds reveal has no bound, and no budget can be kept. "
    "Agree on a policy with noise if this hospital wants one."
)

_log = structlog.get_logger("secagg.party")


class ChargeReport(BaseModel):
    """One charged attempt; a round that is tried again is charged again.

    ``epsilon_spent``: by how much it has raised the total. ``model_hash``: of the model that this
    hospital's batch went into; null for an attempt that came to nothing, or has not yet come to an
    end. It stays charged: its numbers may have been seen.
    """

    model_config = ConfigDict(protected_namespaces=())

    round: int
    epsilon_spent: float
    epsilon_total_used: float
    epsilon_remaining: float
    model_hash: str | None
    timestamp: datetime


class PrivacyBudgetReport(BaseModel):
    """The privacy budget of this hospital: (epsilon, delta) over all rounds together.

    ``total_rounds``: training rounds that were charged. Epsilons are upper bounds at ``delta``,
    for what the server with its accomplices learns from the sums. ``warning``: less than 20 % is
    left, nothing is, or there is no budget to keep: under a policy without noise every number of
    it is null, since none would be true.
    """

    total_rounds: int
    epsilon_total: float | None
    epsilon_used: float | None
    epsilon_remaining: float | None
    percentage_used: float | None
    delta: float | None = None
    affordable_attempts: int | None = None
    warning: str | None = None
    history: list[ChargeReport]


def budget_report(
    ledger: Ledger | None, certificates: Sequence[Certificate], u: int
) -> PrivacyBudgetReport:
    """The account of hospital ``u``; ``ledger`` is None under a policy without noise."""
    hashes = model_hashes(certificates, u)
    if ledger is None:
        return PrivacyBudgetReport(
            total_rounds=len(hashes),
            epsilon_total=None,
            epsilon_used=None,
            epsilon_remaining=None,
            percentage_used=None,
            warning=WITHOUT_NOISE,
            history=[],
        )
    lines, budget = statement(ledger)
    total, used = float(budget.epsilon), budget.epsilon_spent()
    return PrivacyBudgetReport(
        total_rounds=len({line.debit.round for line in lines}),
        epsilon_total=total,
        epsilon_used=used,
        epsilon_remaining=max(0.0, total - used),
        percentage_used=100 * used / total,
        delta=float(budget.delta),
        affordable_attempts=budget.affordable(ledger.cost.sum),
        warning=warning(budget, ledger.cost),
        history=[
            ChargeReport(
                round=line.debit.round,
                epsilon_spent=line.spent,
                epsilon_total_used=line.total,
                epsilon_remaining=max(0.0, total - line.total),
                model_hash=hashes.get(line.debit.session),
                timestamp=datetime.fromtimestamp(line.debit.charged_at, UTC),
            )
            for line in lines
        ],
    )


def warning(budget: Budget, cost: Cost) -> str | None:
    """What to say of a balance from which one more attempt, or 20 % of the total, is missing."""
    total, used = float(budget.epsilon), budget.epsilon_spent()
    spent = f"epsilon {used:.6g} of {total:g} is spent"
    if not budget.allows(cost.sum):
        return (
            f"The privacy budget is exhausted: {spent}, and one more attempt does not fit. Raise "
            f"[budget] in party.toml if the hospital decides so, or stop taking part."
        )
    if used <= (1 - LOW) * budget.epsilon:
        return None
    attempts = budget.affordable(cost.sum)
    return (
        f"Less than {float(LOW):.0%} of the privacy budget is left: {spent}, which leaves "
        f"{attempts} {'attempt' if attempts == 1 else 'attempts'}. Decide in time whether to raise "
        f"[budget] in party.toml, or to stop then."
    )


def model_hashes(certificates: Sequence[Certificate], u: int) -> dict[bytes, str]:
    """By session: the models that have hospital ``u``'s batch in them."""
    return {
        attempt_of(certificate).session: certificate.model_hash.hex()
        for certificate in certificates
        if u in certificate.u3
    }


@final
class LowBudgetAlarm:
    """A follower of the journal that logs the warning of a balance right after its charge."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._charged = False

    def follow(self, _connection: Connection, entry: Entry, _batch: int | None) -> None:
        """Note that something is charged."""
        self._charged |= isinstance(entry, Charged)

    def committed(self) -> None:
        """Log what is left, if that is little."""
        if self._charged:
            self._charged = False
            budget = self._ledger.budget()
            text = warning(budget, self._ledger.cost)
            if text is not None:
                _log.warning(
                    "privacy budget low",
                    epsilon_used=budget.epsilon_spent(),
                    epsilon_total=float(budget.epsilon),
                    problem=text,
                )


@dataclass(frozen=True, slots=True)
class Line:
    """A debit, by how much it has raised epsilon, and the total with it."""

    debit: Debit
    spent: float
    total: float


def statement(ledger: Ledger) -> tuple[list[Line], Budget]:
    """A line for each charge, in the order in which they were made, and the balance after them."""
    lines: list[Line] = []
    balance, total = Budget(ledger.epsilon, ledger.delta), 0.0
    for debit in ledger.charges():
        balance = replace(balance, spent=balance.spent + debit.cost.sum)
        before, total = total, balance.epsilon_spent()
        lines.append(Line(debit, total - before, total))
    return lines, balance
