"""Whether a batch of this hospital may enter a round now, and if not, why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from party.batches import BatchSource, Progress
from party.ledger import Ledger
from secagg.policy import Policy
from secagg.rounds.journal import Standing

_DISPUTED: Final = (
    "the newest certificate names another model than this hospital computed from the published "
    "sum (CHK-509). This node's journal holds that sum with the server's signature: compare it "
    "with another hospital's"
)


class Word(StrEnum):
    """Readiness in a word: ``state`` of GET /status while the node is in no session."""

    READY = "ready"
    HAS_LEFT = "has left"
    DISPUTED = "disputed"
    BATCH_UNUSABLE = "batch unusable"
    NO_BATCH = "no batch waits"
    ROUND_UNFINISHED = "awaiting the end of the round"
    ATTEMPTS_EXHAUSTED = "attempts exhausted"
    BUDGET_EXHAUSTED = "budget exhausted"


@dataclass(frozen=True, slots=True)
class Readiness:
    """``number``: the lowest round that a waiting batch counts for; None if none may enter now.

    ``state`` says it in a word; ``problem`` in a sentence, if an operator has something to mend.
    """

    number: int | None
    state: Word
    problem: str | None = None


def readiness(
    policy: Policy,
    standing: Standing,
    progress: Progress,
    source: BatchSource,
    ledger: Ledger | None,
    disputed: bool,
    left: bool = False,
) -> Readiness:
    """Judge by everything that would refuse an announced attempt, before anybody announces one."""
    if left:
        return Readiness(None, Word.HAS_LEFT)
    if disputed:
        return Readiness(None, Word.DISPUTED, _DISPUTED)
    number = source.waiting(progress)
    if number is None:
        return Readiness(None, Word.NO_BATCH)
    if standing.answered is not None or standing.signed is not None:
        return Readiness(None, Word.ROUND_UNFINISHED)
    if standing.charged >= policy.max_charged_attempts:
        return Readiness(
            None,
            Word.ATTEMPTS_EXHAUSTED,
            f"{standing.charged} attempts were charged since the last certificate, and "
            f"{policy.max_charged_attempts} are allowed: find out why they failed, then raise "
            f"extra_charged_attempts in [limits] of party.toml",
        )
    if ledger is not None:
        budget = ledger.budget()
        if not budget.allows(ledger.cost.sum):
            return Readiness(
                None,
                Word.BUDGET_EXHAUSTED,
                f"epsilon {budget.epsilon_spent():.6g} of {float(budget.epsilon):g} is spent, and "
                f"one more attempt does not fit: raise [budget] in party.toml, or stop",
            )
    ended = max(standing.closed, standing.abandoning or 0)
    return Readiness(max(number, ended + 1), Word.READY)
