"""The queue of batches that the hospital's EHR has posted: durable, and its own ciphertext only.

A batch counts for the round that it was posted for and, while unused, for every later one. It is
*in flight* while a session may still carry it into a sum, and *used* once a certificate has this
hospital among its survivors: in one transaction with that certificate's journal entry. What ends
an attempt without a sum leaves the batch as it was. If a round was closed while this hospital was
away, so that it does not know, the batch waits until the server has shown what became of it.
ADR 0056 goes through the crash points.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Protocol, final

import numpy as np
import trio
from numpy.typing import NDArray
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    LargeBinary,
    Row,
    Select,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)

from party.append_only import append_only
from party.audit.events import SubmissionAccepted
from party.audit.log import AuditLog
from party.batches import BatchError, Progress, SetAside, Taken
from party.database import METADATA, WholeNumber, empty_log, reading
from party.submission.posted import Posted
from secagg.context import attempt_of
from secagg.model import Model
from secagg.rounds.journal import Abandoned, Certified, Charged, Entered, Entry
from secagg.rounds.r0_advertise_keys import MAX_ROUND_GAP
from secagg.wire.messages import Certificate


class State(StrEnum):
    """What has become of a submission."""

    QUEUED = "queued"
    USED = "used"
    REPLACED = "replaced"
    WITHDRAWN = "withdrawn"
    OUTDATED = "outdated"
    """An update, computed from a model that a newer one has followed."""


SUBMISSIONS: Final = Table(
    "submissions",
    METADATA,
    Column("id", WholeNumber, primary_key=True),
    Column("number", WholeNumber, nullable=False),
    Column("kind", String, nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("patients", WholeNumber, nullable=False),
    Column("encrypted_bytes", WholeNumber, nullable=False),
    Column("submitted_at", Float, nullable=False),
    Column("finished_at", Float),
    Column("state", String, nullable=False),
    Column("round", WholeNumber),
    Column("session", LargeBinary),
    Column("masked", Boolean, nullable=False),
)
_WAITING: Final = SUBMISSIONS.c.state == State.QUEUED
Index(
    "one_queued_submission_for_each_number",
    SUBMISSIONS.c.number,
    unique=True,
    sqlite_where=_WAITING,
    postgresql_where=_WAITING,
)

#: A submission that is posted again is the same one, unless it was taken out of the queue unused.
_THERE: Final = frozenset({State.QUEUED, State.USED})

#: The ciphertext stands apart from its submission, since it alone is erased.
PAYLOADS: Final = Table(
    "submission_payloads",
    METADATA,
    Column("submission", ForeignKey("submissions.id"), primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

#: Which submission entered which session. A certificate may come long after its attempt was given
#: up for dead, and then says of a batch what nobody here knew.
SESSIONS: Final = append_only(
    Table(
        "submission_sessions",
        METADATA,
        Column("session", LargeBinary, primary_key=True),
        Column("submission", ForeignKey("submissions.id"), nullable=False),
    )
)


@dataclass(frozen=True, slots=True)
class Submission:
    """What has become of a batch that was posted.

    ``number``: as posted. ``round``, ``session``: the newest attempt that it entered; once used,
    the one whose certificate has it. Times in seconds of Unix time. ``repeated``, ``replaced``: of
    a call of ``submit``, whether it was there already, and whether another one made room for it.
    """

    id: int
    number: int
    kind: str
    digest: bytes = field(repr=False)
    patients: int
    encrypted_bytes: int
    submitted_at: float
    finished_at: float | None
    state: State
    round: int | None
    session: bytes | None
    repeated: bool = False
    replaced: bool = False


class SubmissionRefused(Exception):
    """A submission cannot be queued. The text says why and what to do."""


class InFlight(SubmissionRefused):
    """Another batch of this number is in a round that is being computed."""


class QueueFull(SubmissionRefused):
    """As many batches wait as the operator allows."""


class NumberTooFar(SubmissionRefused):
    """The number is so far ahead that no round could reach it."""


class HasLeft(SubmissionRefused):
    """This hospital has left the consortium."""


class NoQueue(SubmissionRefused):
    """This node trains on a file of its own in every round."""


class Training(Protocol):
    """What makes a contribution of a kept payload; ``party.submission.trainer`` does."""

    def contribution(self, kind: str, payload: bytes, model: Model) -> NDArray[np.int64]:
        """Clipped, not noised, int64 (d,). Raises BatchError."""
        ...


@final
class Queue:
    """A source of batches, and a follower of the journal that learns from it what is used.

    ``u``: this hospital's number. ``limit``: how many batches may wait. Writing methods are called
    in the client's thread, between its other steps, so that nothing runs beside an attempt;
    ``submission``, ``knows`` and ``submissions`` by anybody.
    """

    def __init__(
        self,
        engine: Engine,
        training: Training,
        u: int,
        limit: int,
        audit: AuditLog | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._training = training
        self._u = u
        self._limit = limit
        self._audit = audit
        self._clock = clock
        #: Batches that could not be opened; tried again by the next process, or when posted again.
        self._set_aside: set[int] = set()
        #: Closed rounds whose certificates would come late, and bring no new model.
        self._doubted: set[int] = set()
        self._erased = False

    # --- a source of batches ---------------------------------------------------------------------

    def waiting(self, progress: Progress) -> int | None:
        """The lowest round for which a batch counts, above what is closed; None without one."""
        lowest = select(func.min(SUBMISSIONS.c.number)).where(self._usable(progress))
        with reading(self._engine).connect() as connection:
            number: int | None = connection.execute(lowest).scalar_one()
        return None if number is None else max(number, progress.closed + 1)

    def take(self, number: int, progress: Progress, model: Model) -> Taken:
        """Open the batch with the lowest number that counts for round ``number``, and train.

        Raises SetAside for a batch that cannot be used; another one is taken the next time.
        """
        with reading(self._engine).connect() as connection:
            row = connection.execute(
                select(SUBMISSIONS.c.id, SUBMISSIONS.c.number, SUBMISSIONS.c.kind, PAYLOADS.c.body)
                .join_from(SUBMISSIONS, PAYLOADS)
                .where(self._usable(progress), SUBMISSIONS.c.number <= number)
                .order_by(SUBMISSIONS.c.number)
                .limit(1)
            ).one_or_none()
        if row is None:
            raise BatchError(f"no batch in the queue counts for round {number}")
        try:
            vector = self._training.contribution(row.kind, row.body, model)
        except BatchError as error:
            self._set_aside.add(row.id)
            raise SetAside(f"the batch posted for round {row.number}: {error}") from None
        return Taken(max(row.number, progress.closed + 1), vector, row.id)

    def batch_in(self, session: bytes) -> int | None:
        """The id of the submission that entered this session."""
        with reading(self._engine).connect() as connection:
            return _batch_in(connection, session)

    def undecided(self, progress: Progress) -> tuple[int, ...]:
        """The closed rounds whose sums may have a batch of which this hospital does not know it."""
        rounds = select(SUBMISSIONS.c.round).where(_in_doubt(progress)).distinct()
        with reading(self._engine).connect() as connection:
            self._doubted = set(connection.execute(rounds).scalars())
        return tuple(sorted(self._doubted))

    def settle(self, number: int) -> None:
        """No certificate is to be had of this round: what entered it is free."""
        with self._engine.begin() as connection:
            _decide(connection, number)

    async def changed(self) -> None:
        """Never: batches come through the node, which knows."""
        await trio.sleep_forever()

    # --- submissions -----------------------------------------------------------------------------

    def submit(self, posted: Posted, closed: int, engaged: Collection[bytes]) -> Submission:
        """Queue a batch, unless the same one is there already; durable when this returns.

        ``closed``: the highest round that is certified or abandoned. ``engaged``: the sessions
        whose batches are in flight. A batch that waits under the same number with other data, and
        is not in flight, is replaced. Raises SubmissionRefused; nothing has then changed.
        """
        with self._engine.begin() as connection:
            known = _one(connection, SUBMISSIONS.c.digest == posted.digest)
            if known is not None and known.state in _THERE:
                self._renew(connection, known, posted)
                return replace(known, repeated=True)
            if posted.number > closed + MAX_ROUND_GAP:
                raise NumberTooFar(
                    f"round {posted.number} is too far ahead: the last finished one is {closed}, "
                    f"and a number may be at most {MAX_ROUND_GAP} above it. Take a lower one"
                )
            replaced = self._make_room(connection, posted.number, engaged)
            submission = replace(
                self._written(connection, known, posted), replaced=replaced is not None
            )
            if self._audit is not None:
                self._audit.append(connection, _accepted(submission))
        self.committed()
        if self._audit is not None:
            self._audit.committed()
        return submission

    def withdraw(self, connection: Connection, engaged: Collection[bytes]) -> int:
        """Remove every waiting batch that is not in flight, inside the caller's transaction.

        Returns how many. ``committed`` is due after the commit.
        """
        in_flight = _batches_in(connection, engaged)
        waiting = connection.execute(select(SUBMISSIONS.c.id).where(_WAITING)).scalars()
        removed = [each for each in waiting if each not in in_flight]
        for each in removed:
            self._end(connection, each, State.WITHDRAWN)
        return len(removed)

    def submission(self, submission: int) -> Submission | None:
        """What has become of the one with this id; from any thread."""
        with reading(self._engine).connect() as connection:
            return _one(connection, SUBMISSIONS.c.id == submission)

    def knows(self, digest: bytes) -> bool:
        """Whether a submission with this digest waits, or was used; from any thread."""
        with reading(self._engine).connect() as connection:
            known = _one(connection, SUBMISSIONS.c.digest == digest)
        return known is not None and known.state in _THERE

    def submissions(self) -> tuple[Submission, ...]:
        """All of them, as they were first posted; from any thread."""
        with reading(self._engine).connect() as connection:
            rows = connection.execute(_SUBMISSION.order_by(SUBMISSIONS.c.id)).all()
        return tuple(map(_submission, rows))

    # --- following the journal -------------------------------------------------------------------

    def follow(self, connection: Connection, entry: Entry, batch: int | None) -> None:
        """Note which session a batch enters, that a certified one is used, and that what was
        computed from the model before it is so no more.
        """
        match entry:
            case Entered(attempt) if batch is not None:
                connection.execute(
                    insert(SESSIONS).values(session=attempt.session, submission=batch)
                )
                connection.execute(
                    update(SUBMISSIONS)
                    .where(SUBMISSIONS.c.id == batch)
                    .values(round=attempt.round, session=attempt.session, masked=False)
                )
            case Charged(attempt):
                connection.execute(
                    update(SUBMISSIONS)
                    .where(SUBMISSIONS.c.session == attempt.session)
                    .values(masked=True)
                )
            case Abandoned(number):
                _decide(connection, number)
            case Certified(certificate):
                if self._u in certificate.u3:
                    self._used(connection, certificate)
                _decide(connection, certificate.round)
                if certificate.round not in self._doubted:
                    self._outdate(connection)
            case _:
                pass

    def committed(self) -> None:
        """What was erased vanishes from the database's files, too."""
        if self._erased:
            self._erased = False
            empty_log(self._engine)

    # --- rows ------------------------------------------------------------------------------------

    def _usable(self, progress: Progress) -> Any:
        return _WAITING & ~_in_doubt(progress) & SUBMISSIONS.c.id.not_in(self._set_aside)

    def _renew(self, connection: Connection, known: Submission, posted: Posted) -> None:
        """The same batch, posted anew, and so encrypted anew: one that could not be opened may be
        opened now.
        """
        if known.id in self._set_aside and known.state is State.QUEUED:
            connection.execute(
                update(PAYLOADS)
                .where(PAYLOADS.c.submission == known.id)
                .values(body=posted.payload)
            )
            self._set_aside.discard(known.id)
            self._erased = True

    def _make_room(
        self, connection: Connection, number: int, engaged: Collection[bytes]
    ) -> int | None:
        """The id of the batch that makes room for another one of the same number, if one did."""
        other: int | None = connection.execute(
            select(SUBMISSIONS.c.id).where(_WAITING, SUBMISSIONS.c.number == number)
        ).scalar_one_or_none()
        if other is None:
            count = select(func.count()).select_from(SUBMISSIONS).where(_WAITING)
            if connection.execute(count).scalar_one() >= self._limit:
                raise QueueFull(
                    f"{self._limit} batches wait already: post this one again when a round has "
                    f"used one, or raise queued_batches in [ehr] of party.toml"
                )
            return None
        if other in _batches_in(connection, engaged):
            raise InFlight(
                f"another batch for round {number} is in a round that is being computed now: post "
                f"this one again when that is finished, or under a later number"
            )
        self._end(connection, other, State.REPLACED)
        return other

    def _written(
        self, connection: Connection, known: Submission | None, posted: Posted
    ) -> Submission:
        """The row of ``posted``: a new one, or the one that it had before it was taken out."""
        values: dict[str, Any] = {
            "number": posted.number,
            "kind": posted.kind,
            "digest": posted.digest,
            "patients": posted.patients,
            "encrypted_bytes": posted.encrypted_bytes,
            "submitted_at": self._clock(),
            "finished_at": None,
            "state": State.QUEUED,
        }
        if known is None:
            row = connection.execute(insert(SUBMISSIONS).values(masked=False, **values))
            (number,) = row.inserted_primary_key or (None,)
            written = Submission(id=int(number or 0), round=None, session=None, **values)
        else:
            connection.execute(
                update(SUBMISSIONS).where(SUBMISSIONS.c.id == known.id).values(values)
            )
            written = replace(known, **values)
        connection.execute(insert(PAYLOADS).values(submission=written.id, body=posted.payload))
        return written

    def _used(self, connection: Connection, certificate: Certificate) -> None:
        """Also a batch that was taken out of the queue when its attempt seemed dead."""
        session = attempt_of(certificate).session
        batch = _batch_in(connection, session)
        if batch is not None:
            self._end(connection, batch, State.USED, round=certificate.round, session=session)

    def _outdate(self, connection: Connection) -> None:
        """There is a new model, so updates that wait belong to an old one."""
        stale = select(SUBMISSIONS.c.id).where(_WAITING, SUBMISSIONS.c.kind == "update")
        for batch in connection.execute(stale).scalars().all():
            self._end(connection, batch, State.OUTDATED)

    def _end(self, connection: Connection, batch: int, state: State, **where: Any) -> None:
        connection.execute(
            update(SUBMISSIONS)
            .where(SUBMISSIONS.c.id == batch)
            .values(state=state, finished_at=self._clock(), **where)
        )
        connection.execute(delete(PAYLOADS).where(PAYLOADS.c.submission == batch))
        self._set_aside.discard(batch)
        self._erased = True


_SUBMISSION: Final[Select[Any]] = select(
    SUBMISSIONS.c.id,
    SUBMISSIONS.c.number,
    SUBMISSIONS.c.kind,
    SUBMISSIONS.c.digest,
    SUBMISSIONS.c.patients,
    SUBMISSIONS.c.encrypted_bytes,
    SUBMISSIONS.c.submitted_at,
    SUBMISSIONS.c.finished_at,
    SUBMISSIONS.c.state,
    SUBMISSIONS.c.round,
    SUBMISSIONS.c.session,
)


def _submission(row: Row[Any]) -> Submission:
    return Submission(**{**row._mapping, "state": State(row.state)})


def _one(connection: Connection, condition: Any) -> Submission | None:
    row = connection.execute(_SUBMISSION.where(condition)).one_or_none()
    return None if row is None else _submission(row)


def _batch_in(connection: Connection, session: bytes) -> int | None:
    found: int | None = connection.execute(
        select(SESSIONS.c.submission).where(SESSIONS.c.session == session)
    ).scalar_one_or_none()
    return found


def _batches_in(connection: Connection, sessions: Collection[bytes]) -> set[int]:
    found = connection.execute(
        select(SESSIONS.c.submission).where(SESSIONS.c.session.in_(list(sessions)))
    )
    return set(found.scalars())


def _in_doubt(progress: Progress) -> Any:
    """Something masked has left for a round that was closed, and how was not seen here."""
    return SUBMISSIONS.c.masked & (SUBMISSIONS.c.round <= progress.closed)


def _decide(connection: Connection, number: int) -> None:
    """What became of the batches of round ``number`` is known."""
    connection.execute(
        update(SUBMISSIONS).where(SUBMISSIONS.c.round == number).values(masked=False)
    )


def _accepted(submission: Submission) -> SubmissionAccepted:
    return SubmissionAccepted(
        submission=submission.id,
        round=submission.number,
        kind=submission.kind,
        batch=submission.digest,
        patients=submission.patients,
        encrypted_bytes=submission.encrypted_bytes,
        replaced=submission.replaced,
    )
