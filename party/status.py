"""What the node tells its own hospital: the documents behind GET /status."""

from __future__ import annotations

from typing import final

from pydantic import BaseModel

from party.evaluation import Evaluations
from party.journal import Journal
from party.ledger import Ledger, Spent
from party.node import Node
from secagg.policy import Policy


class RoundReport(BaseModel):
    """One certified round. ``epsilon_*``: spent until and with it; null without noise."""

    round: int
    attempt: int
    participants: list[str]
    model_hash: str
    epsilon_sum: float | None
    epsilon_own: float | None
    accuracy: float | None


class BudgetReport(BaseModel):
    """The privacy budget for the sum; null under a policy without noise."""

    epsilon_total: float
    epsilon_used: float
    epsilon_remaining: float
    delta: float


class AccuracyReport(BaseModel):
    """Accuracy on this hospital's own test records, 0 to 1; null without such records."""

    federated: float | None
    local_only: float | None


class StatusReport(BaseModel):
    """Everything an operator asks first. ``problem``: what to mend, if anything."""

    name: str
    connected: bool
    state: str
    problem: str | None
    round: int
    model_hash: str
    rounds: list[RoundReport]
    budget: BudgetReport | None
    accuracy: AccuracyReport


@final
class Reporter:
    """Makes the reports of hospital ``name``, number ``u``; blocking, called in a worker thread."""

    def __init__(
        self,
        name: str,
        policy: Policy,
        node: Node,
        journal: Journal,
        ledger: Ledger | None,
        evaluations: Evaluations,
    ) -> None:
        self.name = name
        self.u = policy.client(name)
        self._policy = policy
        self._node = node
        self._journal = journal
        self._ledger = ledger
        self._evaluations = evaluations
        self._spent: dict[int, Spent] = {}

    def status(self) -> StatusReport:
        """The node now."""
        view = self._node.view
        return StatusReport(
            name=self.name,
            connected=self._node.connected,
            state=view.state,
            problem=view.problem,
            round=view.round,
            model_hash=view.model_hash.hex(),
            rounds=self._rounds(),
            budget=self._budget(),
            accuracy=AccuracyReport(
                federated=self._evaluations.of(view.model_hash),
                local_only=self._evaluations.local_only,
            ),
        )

    def _rounds(self) -> list[RoundReport]:
        reports: list[RoundReport] = []
        for certificate in self._journal.certificates:
            spent = self._spent_until(certificate.round)
            reports.append(
                RoundReport(
                    round=certificate.round,
                    attempt=certificate.attempt,
                    participants=[self._policy.name(u) for u in certificate.u3],
                    model_hash=certificate.model_hash.hex(),
                    epsilon_sum=spent.epsilon_sum if spent else None,
                    epsilon_own=spent.epsilon_own if spent else None,
                    accuracy=self._evaluations.of(certificate.model_hash),
                )
            )
        return reports

    def _spent_until(self, number: int) -> Spent | None:
        """What rounds up to a certified one have cost: that never changes any more."""
        if self._ledger is None:
            return None
        if number not in self._spent:
            self._spent[number] = self._ledger.spent_until(number)
        return self._spent[number]

    def _budget(self) -> BudgetReport | None:
        if self._ledger is None:
            return None
        budget = self._ledger.budget()
        total, used = float(budget.epsilon), budget.epsilon_spent()
        return BudgetReport(
            epsilon_total=total,
            epsilon_used=used,
            epsilon_remaining=max(0.0, total - used),
            delta=float(budget.delta),
        )
