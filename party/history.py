"""This hospital's part in each training round: GET /rounds.

A round is here once a batch waits for it, this hospital has entered it, or its certificate is
known. What it knows comes from four places (queue, ledger, journal, the client's view), none of
which is written for this.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import final

from pydantic import BaseModel, ConfigDict

from party.accounts import statement
from party.journal import Journal
from party.ledger import Ledger
from party.node import Node
from party.queue import Queue, State, Submission
from secagg.context import attempt_of
from secagg.wire.messages import Certificate


class RoundStatus(StrEnum):
    """Where a round stands for this hospital.

    QUEUED       a batch waits for it
    IN_PROGRESS  entered, not closed: an attempt runs, or the next one is due
    CERTIFIED    closed, this hospital's batch is in its model
    MISSED       closed, certified without this hospital's batch
    ABANDONED    closed without a model that this hospital knows of
    """

    QUEUED = "queued"
    IN_PROGRESS = "in progress"
    CERTIFIED = "certified"
    MISSED = "missed"
    ABANDONED = "abandoned"


class RoundRecord(BaseModel):
    """One training round, as this hospital has seen it.

    What is about its batch is null for a node that trains on a file, and for a round without one:
    ``submission_time``, ``patients_submitted``, ``data_size_encrypted`` (bytes), and
    ``submission_latency`` (seconds from the post to the certificate, null until then).
    ``privacy_epsilon_used``: by how much all its attempts have raised the total; null without
    noise.
    """

    model_config = ConfigDict(protected_namespaces=())

    round: int
    submission_time: datetime | None
    patients_submitted: int | None
    data_size_encrypted: int | None
    submission_latency: float | None
    model_hash: str | None
    privacy_epsilon_used: float | None
    status: RoundStatus


@dataclass(slots=True)
class _Found:
    """What was found of one round so far. ``sessions``: of its attempts, the newest last."""

    sessions: list[bytes] = field(default_factory=list)
    epsilon: float = 0.0
    certificate: Certificate | None = None
    submission: Submission | None = None


@final
class History:
    """Makes the records of hospital ``u``; blocking, called in any worker thread."""

    def __init__(
        self, u: int, node: Node, journal: Journal, ledger: Ledger | None, queue: Queue | None
    ) -> None:
        self._u = u
        self._node = node
        self._journal = journal
        self._ledger = ledger
        self._queue = queue
        #: By session: the submission that entered it, which never changes.
        self._batches: dict[bytes, int] = {}

    def rounds(self) -> list[RoundRecord]:
        """All of them, the newest first."""
        view = self._node.view
        found: defaultdict[int, _Found] = defaultdict(_Found)
        for line in statement(self._ledger)[0] if self._ledger else ():
            entry = found[line.debit.round]
            entry.sessions.append(line.debit.session)
            entry.epsilon += line.spent
        for certificate in self._journal.certificates:
            entry = found[certificate.round]
            entry.sessions.append(attempt_of(certificate).session)
            entry.certificate = certificate
        if view.session is not None:
            found[view.round].sessions.append(view.session)
        self._find_submissions(found, view.closed)
        return [self._record(number, found[number], view.closed) for number in sorted(found)[::-1]]

    def round(self, number: int) -> RoundRecord | None:
        """One of them; None if there is none of this number."""
        return next((each for each in self.rounds() if each.round == number), None)

    def _find_submissions(self, found: defaultdict[int, _Found], closed: int) -> None:
        """The batch of each round: the one that entered it, or else the first that waits for it."""
        if self._queue is None:
            return
        submissions = {each.id: each for each in self._queue.submissions()}
        for entry in found.values():
            for session in entry.sessions:
                entry.submission = submissions.get(self._batch_in(session), entry.submission)
        for each in sorted(submissions.values(), key=lambda each: each.number):
            if each.state is not State.QUEUED:
                continue
            entry = found[max(each.number, closed + 1)]
            if entry.submission is None:
                entry.submission = each

    def _batch_in(self, session: bytes) -> int:
        """The id of the submission that entered ``session``; 0, which none has, without one."""
        if session not in self._batches and self._queue is not None:
            batch = self._queue.batch_in(session)
            if batch is None:
                return 0
            self._batches[session] = batch
        return self._batches[session]

    def _record(self, number: int, found: _Found, closed: int) -> RoundRecord:
        submission, certificate = found.submission, found.certificate
        return RoundRecord(
            round=number,
            submission_time=_time(submission),
            patients_submitted=submission.patients if submission else None,
            data_size_encrypted=submission.encrypted_bytes if submission else None,
            submission_latency=_latency(submission, number),
            model_hash=certificate.model_hash.hex() if certificate else None,
            privacy_epsilon_used=None if self._ledger is None else found.epsilon,
            status=self._status(number, found, closed),
        )

    def _status(self, number: int, found: _Found, closed: int) -> RoundStatus:
        if found.certificate is not None:
            if self._u in found.certificate.u3:
                return RoundStatus.CERTIFIED
            return RoundStatus.MISSED
        if number <= closed:
            return RoundStatus.ABANDONED
        return RoundStatus.IN_PROGRESS if found.sessions else RoundStatus.QUEUED


def _time(submission: Submission | None) -> datetime | None:
    return None if submission is None else datetime.fromtimestamp(submission.submitted_at, UTC)


def _latency(submission: Submission | None, number: int) -> float | None:
    """Seconds from the post to the certificate of round ``number``, if the batch is in it."""
    if submission is None or submission.finished_at is None or submission.state is not State.USED:
        return None
    return submission.finished_at - submission.submitted_at if submission.round == number else None
