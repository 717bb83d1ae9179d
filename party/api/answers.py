"""What a submission is answered, as soon as there is something to say: a rule without a clock.

    used                            the round's result
    its number is over without it   that number's result, with a warning; the batch waits on
    replaced, outdated, withdrawn   409, 409, 403
    the node may take part no more  403 for the budget, 503 for what its operator has to mend
    the server out of reach         503, the batch kept
    out of time                     a warning and no hash: too few hospitals, or not finished
    else                            nothing yet

A warning says that the batch is kept: the same posted again asks anew, and is charged once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict

from party.client import View
from party.queue import State, Submission
from party.readiness import Word
from party.submission.waiting_update import StaleUpdate
from secagg.wire.messages import Certificate


class Answer(BaseModel):
    """The result of a round: its number, how many hospitals are in it, the hash of its model.

    With a ``warning`` it is not (yet) the result of what was posted; without ``model_hash`` nothing
    was released.
    """

    model_config = ConfigDict(
        protected_namespaces=(),
        json_schema_extra={
            "examples": [{"round": 5, "participants": 3, "model_hash": "9f" * 32}],
            "required": ["round", "participants"],
        },
    )

    round: int
    participants: int
    model_hash: str | None = None
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The submission got no result, and will get none unless somebody does what ``detail`` says."""

    status: int
    detail: str


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that an answer rests on.

    ``certificates``: all that this node has, by round, read before ``submission`` was. ``needed``:
    hospitals without which no sum is released. ``gathered``: those that have a batch ready; None if
    the server does not say. ``survivors``: in the sum that the submission has entered, if it is as
    far as that. ``unreachable``: the server was out of reach for as long as it may. ``over``:
    whoever posted has waited long enough.
    """

    submission: Submission
    certificates: Sequence[Certificate]
    view: View
    needed: int
    gathered: int | None = None
    survivors: int | None = None
    unreachable: bool = False
    over: bool = False

    @property
    def in_flight(self) -> bool:
        """Whether the batch may still enter the sum of a round that is open."""
        return self.view.in_flight_batch == self.submission.id


_KEPT: Final = "The batch is kept, and enters a round without being posted again."
_OPERATOR: Final = frozenset({Word.ATTEMPTS_EXHAUSTED, Word.BATCH_UNUSABLE, Word.DISPUTED})


def answer(now: Situation) -> Answer | Refusal | None:
    """What to say now; None to go on waiting."""
    submission = now.submission
    match submission.state:
        case State.USED:
            return _result(now)
        case State.REPLACED:
            return Refusal(
                409,
                f"another batch was posted for round {submission.number} and has replaced this "
                f"one, which entered no round: post each batch under a number of its own",
            )
        case State.WITHDRAWN:
            return Refusal(
                403,
                "this hospital has left the consortium's rounds, and the batch was erased: take "
                "part again (PUT /participation), then post it again",
            )
        case State.OUTDATED:
            return Refusal(409, f"a round was finished without this update: {StaleUpdate()}")
        case State.QUEUED:
            return _while_queued(now)


def _result(now: Situation) -> Answer | None:
    for certificate in reversed(now.certificates):
        if certificate.round == now.submission.round:
            return _answer(certificate)
    return None  # it was certified since the certificates were read


def _while_queued(now: Situation) -> Answer | Refusal | None:
    if not now.in_flight:
        missed = _missed(now) or _not_taking_part(now.view)
        if missed is not None:
            return missed
    if now.unreachable:
        return Refusal(
            503,
            f"the server cannot be reached. {_KEPT} Post the same again for the result; if this "
            f"lasts, see the node's log",
        )
    return _out_of_time(now) if now.over else None


def _missed(now: Situation) -> Answer | None:
    """The first result at or after the posted number: the batch is not in it."""
    number = now.submission.number
    at_or_after = [each for each in now.certificates if each.round >= number]
    if not at_or_after:
        return None
    first = min(at_or_after, key=lambda certificate: certificate.round)
    return _answer(
        first,
        f"Round {first.round} is finished, and this batch is not in its result. It waits for the "
        f"next round: go on with round number {now.view.closed + 1}.",
    )


def _not_taking_part(view: View) -> Refusal | None:
    if view.state == Word.BUDGET_EXHAUSTED:
        return Refusal(403, f"privacy budget exhausted: {view.problem}. {_KEPT}")
    if view.state in _OPERATOR:
        return Refusal(503, f"the node takes part in no round now: {view.problem}. {_KEPT}")
    return None


def _out_of_time(now: Situation) -> Answer:
    gathered = max(1, now.gathered or 0)
    if now.in_flight:
        return Answer(
            round=now.view.round,
            participants=now.survivors or gathered,
            warning=f"Round {now.view.round} is not finished: awaiting unmasking and certification "
            f"({now.view.state}). Post the same again for its result; it is charged once.",
        )
    if gathered < now.needed:
        hospitals = "1 hospital" if gathered == 1 else f"{gathered} hospitals"
        return Answer(
            round=now.submission.number,
            participants=gathered,
            warning=f"Only {hospitals} participated. Waiting for more.",
        )
    return Answer(
        round=now.submission.number,
        participants=gathered,
        warning=f"Round {now.submission.number} has not begun, although {gathered} hospitals are "
        f"ready. {_KEPT} Post the same again for its result.",
    )


def _answer(certificate: Certificate, warning: str | None = None) -> Answer:
    return Answer(
        round=certificate.round,
        participants=len(certificate.u3),
        model_hash=certificate.model_hash.hex(),
        warning=warning,
    )
