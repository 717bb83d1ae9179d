"""The node's memory: what it must not forget, or contradict, when it comes back after a crash.

Append-only rows of ``secagg.rounds.journal`` entries. Everything that one step makes durable,
its privacy charge and the model that it names included, is one transaction, committed before the
step sends anything.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, final

import msgspec
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    ForeignKey,
    LargeBinary,
    String,
    Table,
    delete,
    func,
    insert,
    select,
)

from party.append_only import append_only
from party.database import METADATA, WholeNumber, empty_log, reading
from party.ledger import Ledger
from party.models import ModelStore, StoredModel
from secagg.cli import CommandError, ExitCode
from secagg.context import Attempt
from secagg.rounds.journal import (
    Abandoned,
    AbandonmentSigned,
    AnswerReleased,
    CertificateSigned,
    Certified,
    Charged,
    Entered,
    Entry,
    Standing,
    SurvivorSigned,
)
from secagg.wire.messages import Abandonment, Certificate

ENTRIES: Final = append_only(
    Table(
        "entries",
        METADATA,
        Column("id", WholeNumber, primary_key=True),
        Column("written_at", WholeNumber, nullable=False),
        Column("kind", String, nullable=False),
        Column("body", LargeBinary, nullable=False),
    )
)

#: The answers stand apart from their entries, since they alone are erased.
SEALED_ANSWERS: Final = Table(
    "sealed_answers",
    METADATA,
    Column("entry", ForeignKey("entries.id"), primary_key=True),
    Column("round", WholeNumber, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

ABANDONMENTS: Final = append_only(
    Table(
        "abandonments",
        METADATA,
        Column("round", WholeNumber, primary_key=True),
        Column("body", LargeBinary, nullable=False),
    )
)

_KINDS: Final[dict[str, type[Any]]] = {
    kind.__name__: kind
    for kind in (
        Entered,
        Charged,
        SurvivorSigned,
        AnswerReleased,
        CertificateSigned,
        Certified,
        AbandonmentSigned,
        Abandoned,
    )
}


@dataclass(frozen=True, slots=True)
class Resumable:
    """What of an open round survives a restart.

    ``confirmed``: the newest attempt's signed U3 with the sealed answer, ``answered`` if that
    answer was released. ``signed``: the model hash signed in a round that is not closed.
    ``released``: the attempt whose answer was released in a round that is not closed; also when
    the answer itself is erased, since that round's abandonment is signed.
    """

    confirmed: SurvivorSigned | None = None
    answered: bool = False
    signed: CertificateSigned | None = None
    released: Attempt | None = None

    def after(self, entry: Entry) -> Resumable:
        """What survives once ``entry`` is durable too."""
        match entry:
            case Entered():
                return replace(self, confirmed=None, answered=False)
            case SurvivorSigned(sealed_answer=sealed):
                # Without the answer, which was erased meanwhile, nothing could be finished.
                return replace(self, confirmed=entry if sealed else None, answered=False)
            case AnswerReleased(attempt):
                return replace(self, answered=self.confirmed is not None, released=attempt)
            case CertificateSigned():
                return replace(self, signed=entry)
            case AbandonmentSigned(round=number):
                return self._without_answer(number)
            case Certified(certificate):
                return self._closed(certificate.round)
            case Abandoned(round=number):
                return self._closed(number)
            case Charged():
                return self

    def _without_answer(self, number: int) -> Resumable:
        if self.confirmed is None or self.confirmed.attempt.round > number:
            return self
        return replace(self, confirmed=None, answered=False)

    def _closed(self, number: int) -> Resumable:
        remaining = self._without_answer(number)
        if remaining.released is not None and remaining.released.round <= number:
            remaining = replace(remaining, released=None)
        if remaining.signed is not None and remaining.signed.published.round <= number:
            return replace(remaining, signed=None)
        return remaining


class Overtaken(CommandError):
    """Another process has written to this journal: what this one knows of it is out of date."""

    def __init__(self) -> None:
        super().__init__(
            "Another node has written to this node's journal.",
            "Two nodes over one database contradict each other. Find the other one and stop it; "
            "then start this one again.",
            ExitCode.USAGE,
        )


class Follower(Protocol):
    """Whoever writes in the journal's transactions, so that neither is without the other."""

    def follow(self, connection: Connection, entry: Entry, batch: int | None) -> None:
        """Write what ``entry`` means here, inside its transaction. ``batch``: the queued submission
        that its attempt is about, if one is.
        """
        ...

    def committed(self) -> None:
        """The transaction is on disk."""
        ...


@final
class Journal:
    """One hospital's journal: what stands in it, and what that amounts to.

    ``standing``, ``resumable``, ``certificates`` (by round), ``abandonment`` (the newest) are kept
    in memory beside the rows. One process at a time (``party.state_dir``, ``database.claimed``;
    ``Overtaken`` finds what those cannot), one thread at a time.
    ``ledger`` is None under a policy without noise, where there is nothing to charge.
    ``kept_models``: how many certified ones, the newest, stay in ``models``.
    """

    def __init__(
        self,
        engine: Engine,
        ledger: Ledger | None,
        models: ModelStore,
        followers: Sequence[Follower] = (),
        kept_models: int = 1,
    ) -> None:
        """Read the whole journal."""
        self._engine = engine
        self._ledger = ledger
        self._models = models
        self._followers = tuple(followers)
        self._kept_models = kept_models
        self.standing = Standing()
        self.resumable = Resumable()
        self.certificates: tuple[Certificate, ...] = ()
        self.abandonment: Abandonment | None = None
        with reading(engine).connect() as connection:
            self._newest = _newest(connection)
            for entry in _entries(connection):
                self._remember(entry)
            newest = connection.execute(
                select(ABANDONMENTS.c.body).order_by(ABANDONMENTS.c.round.desc()).limit(1)
            ).scalar_one_or_none()
        if newest is not None:
            self.abandonment = msgspec.msgpack.decode(newest, type=Abandonment)

    @property
    def certificate(self) -> Certificate | None:
        """The newest certificate."""
        return self.certificates[-1] if self.certificates else None

    def record(
        self,
        entries: Sequence[Entry],
        *,
        model: StoredModel | None = None,
        abandonment: Abandonment | None = None,
        batch: int | None = None,
    ) -> None:
        """Make one step durable; when this returns, it is on disk.

        ``model``: the one that the entries name. ``abandonment``: the document behind an
        ``Abandoned``. ``batch``: the queued submission of the attempt that the entries are about.
        Raises BudgetExceeded for a ``Charged`` that the ledger refuses, Overtaken if another
        process has written here; nothing of the step is then recorded, by nobody.
        """
        erased = False
        with self._engine.begin() as connection:
            if _newest(connection) != self._newest:
                raise Overtaken
            for entry in entries:
                erased |= self._write(connection, entry)
                for follower in self._followers:
                    follower.follow(connection, entry, batch)
            if model is not None:
                self._models.put(connection, model)
            if abandonment is not None:
                row = {"round": abandonment.round, "body": msgspec.msgpack.encode(abandonment)}
                connection.execute(insert(ABANDONMENTS).values(row))
            newest = _newest(connection)
        self._newest = newest
        for entry in entries:
            self._remember(entry)
        if abandonment is not None:
            self.abandonment = abandonment
        if erased:
            empty_log(self._engine)
        for follower in self._followers:
            follower.committed()

    def erase_answers(self) -> None:
        """Erase the sealed answers of an open round: no attempt of it will be finished here."""
        with self._engine.begin() as connection:
            erased = connection.execute(delete(SEALED_ANSWERS)).rowcount > 0
        self.resumable = replace(self.resumable, confirmed=None, answered=False)
        if erased:
            empty_log(self._engine)

    def _write(self, connection: Connection, entry: Entry) -> bool:
        """Insert one entry with all that belongs to it; returns whether an answer was erased."""
        row = connection.execute(
            insert(ENTRIES).values(
                written_at=int(time.time()),
                kind=type(entry).__name__,
                body=msgspec.msgpack.encode(_without_answer(entry)),
            )
        )
        (number,) = row.inserted_primary_key or (None,)
        match entry:
            case Charged(attempt):
                if self._ledger is not None:
                    self._ledger.charge(connection, attempt)
            case SurvivorSigned(attempt):
                connection.execute(
                    insert(SEALED_ANSWERS).values(
                        entry=number, round=attempt.round, body=entry.sealed_answer
                    )
                )
            case Entered(attempt):
                # Attempts strictly increase, so every answer that is here is of an earlier one.
                return _erase_answers(connection, attempt.round)
            case Certified(certificate):
                self._models.keep_only(connection, self._models_after(certificate))
                return _erase_answers(connection, certificate.round)
            case AbandonmentSigned(round=closing) | Abandoned(round=closing):
                return _erase_answers(connection, closing)
            case _:
                pass
        return False

    def _models_after(self, certificate: Certificate) -> set[bytes]:
        """Which models stay once ``certificate`` is held: the newest, and one that is signed."""
        newest = _by_round((*self.certificates, certificate))[-self._kept_models :]
        kept = {each.model_hash for each in newest}
        signed = self.resumable.signed
        if signed is not None and signed.published.round > certificate.round:
            kept.add(signed.model_hash)
        return kept

    def _remember(self, entry: Entry) -> None:
        self.standing = self.standing.after(entry)
        self.resumable = self.resumable.after(entry)
        if isinstance(entry, Certified):
            self.certificates = _by_round((*self.certificates, entry.certificate))


def _newest(connection: Connection) -> int:
    """The number of the newest entry; 0 if there is none."""
    return connection.scalar(select(func.coalesce(func.max(ENTRIES.c.id), 0))) or 0


def _by_round(certificates: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
    """In order: one that this hospital had missed may come after later ones."""
    return tuple(sorted(certificates, key=lambda certificate: certificate.round))


def _erase_answers(connection: Connection, until: int) -> bool:
    erased = connection.execute(delete(SEALED_ANSWERS).where(SEALED_ANSWERS.c.round <= until))
    return erased.rowcount > 0


def _without_answer(entry: Entry) -> Entry:
    return replace(entry, sealed_answer=b"") if isinstance(entry, SurvivorSigned) else entry


def _entries(connection: Connection) -> Iterable[Entry]:
    """All entries in the order in which they were written; an erased answer is empty."""
    rows = connection.execute(
        select(ENTRIES.c.kind, ENTRIES.c.body, SEALED_ANSWERS.c.body)
        .join_from(ENTRIES, SEALED_ANSWERS, isouter=True)
        .order_by(ENTRIES.c.id)
    )
    for kind, body, sealed in rows:
        entry: Entry = msgspec.msgpack.decode(body, type=_KINDS[kind])
        if isinstance(entry, SurvivorSigned):
            entry = replace(entry, sealed_answer=sealed or b"")
        yield entry
