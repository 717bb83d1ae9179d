"""The audit log itself: written in the transaction of what it records, so neither is without the
other; signed line by line with the hospital's identity key; mirrored into files after each commit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final, final

import structlog
import trio
from sqlalchemy import Column, Connection, Engine, LargeBinary, String, Table, insert, select

from party.append_only import append_only
from party.audit.events import (
    AbandonmentSigned,
    AnswerReleased,
    Event,
    ModelSigned,
    PrivacyCharged,
    RoundAbandoned,
    RoundCertified,
    RoundEntered,
    Started,
    Stopped,
    SurvivorsSigned,
)
from party.audit.line import (
    MAX_LINE_BYTES,
    SALT_BYTES,
    Body,
    Head,
    Place,
    decode,
    encode,
    head_of,
    sealed,
)
from party.audit.mirror import Mirror
from party.database import METADATA, WholeNumber, reading
from party.ledger import Cost
from secagg.crypto.randomness import Randomness
from secagg.crypto.signatures import IdentityKey
from secagg.rounds import journal
from secagg.rounds.machine import Hospital

AUDIT: Final = append_only(
    Table(
        "audit",
        METADATA,
        Column("seq", WholeNumber, primary_key=True, autoincrement=False),
        Column("hash", String, nullable=False),
        Column("line", LargeBinary, nullable=False),
    )
)

#: After these the head is logged too, for those who send their logs to another machine.
_TOLD: Final = (Started, Stopped, RoundCertified, RoundAbandoned)

_log = structlog.get_logger("secagg.party")


def _now() -> datetime:
    return datetime.now(UTC)


@final
class AuditLog:
    """One hospital's audit log. From any thread; one process at a time, as the journal.

    It follows the journal: every entry there is an event here, in the same transaction.
    ``record`` and ``write`` are for decisions outside the journal, ``append`` for transactions of
    one's own, after whose commit ``committed`` is due.
    """

    def __init__(
        self,
        engine: Engine,
        directory: Path,
        hospital: Hospital,
        cost: Cost | None,
        randomness: Randomness,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """Open the log, complete the files in ``directory``, and record that the node started.

        ``cost``: of one attempt; None under a policy without noise. Raises CommandError if
        ``audit.jsonl`` contradicts the database.
        """
        self._engine = engine
        self._identity: IdentityKey = hospital.identity
        self._cost = cost
        self._randomness = randomness
        self._clock = clock
        self._mirroring = threading.Lock()
        self._mirror = Mirror(directory, self._lines)
        self._telling = False
        self._behind = False
        policy = hospital.policy
        self.write(
            Started(
                hospital=policy.name(hospital.u),
                identity_key=hospital.identity.public,
                policy_digest=policy.digest(),
                version=version("secagg"),
            )
        )

    # --- writing ---------------------------------------------------------------------------------

    def append(self, connection: Connection, event: Event) -> None:
        """Record ``event`` inside the caller's writing transaction."""
        place = _last(connection)
        body = Body(
            seq=place.seq + 1,
            time=self._clock().strftime("%Y-%m-%dT%H:%M:%SZ"),
            event=event.NAME,
            fields=event.fields(),
            salt=self._randomness.draw(SALT_BYTES).hex(),
            previous=place.hash,
        )
        line = sealed(body, self._identity)
        data = encode(line)
        if len(data) > MAX_LINE_BYTES:
            raise ValueError(f"an event of {len(data)} bytes: {MAX_LINE_BYTES} are allowed")
        row = {"seq": line.seq, "hash": line.hash, "line": data}
        connection.execute(insert(AUDIT).values(row))
        self._telling |= isinstance(event, _TOLD)

    def committed(self) -> None:
        """Bring the files up to what is committed.

        A disk that refuses them is logged: the database has the lines, and the next call, or the
        next start, writes them.
        """
        with self._mirroring:
            head = self.head()
            try:
                self._mirror.catch_up(head)
            except OSError as error:
                self._behind = True
                _log.error("audit log not written", reason=str(error), line=head.seq)
            else:
                self._behind = False
            if self._telling:
                self._telling = False
                _log.info("audit head", seq=head.seq, hash=head.hash, signature=head.signature)

    def write(self, event: Event) -> None:
        """Record ``event`` in a transaction of its own; blocking."""
        with self._engine.begin() as connection:
            self.append(connection, event)
        self.committed()

    async def record(self, event: Event) -> None:
        """Record ``event`` in a transaction of its own; when this returns, it is on disk."""
        await trio.to_thread.run_sync(self.write, event)

    def stopped(self) -> None:
        """Record that the node stops."""
        self.write(Stopped())

    # --- following the journal -------------------------------------------------------------------

    def follow(self, connection: Connection, entry: journal.Entry, batch: int | None) -> None:
        """Record a journal entry, inside its transaction. ``batch``: the submission it is about."""
        self.append(connection, self._event(entry, batch))

    def _event(self, entry: journal.Entry, batch: int | None) -> Event:
        match entry:
            case journal.Entered(it):
                return RoundEntered(it.round, it.attempt, it.session, batch)
            case journal.Charged(it):
                cost = self._cost
                return PrivacyCharged(
                    round=it.round,
                    attempt=it.attempt,
                    session=it.session,
                    rho_sum=cost.sum.rho if cost else None,
                    rho_own=cost.own.rho if cost else None,
                    samples=cost.sum.samples if cost else None,
                )
            case journal.SurvivorSigned(it, u3=survivors):
                return SurvivorsSigned(it.round, it.attempt, it.session, survivors)
            case journal.AnswerReleased(it):
                return AnswerReleased(it.round, it.attempt, it.session)
            case journal.CertificateSigned(published=published, model_hash=model_hash):
                return ModelSigned(published.round, published.attempt, model_hash)
            case journal.Certified(it):
                return RoundCertified(it.round, it.attempt, it.model_hash, it.u3)
            case journal.AbandonmentSigned(number):
                return AbandonmentSigned(number)
            case journal.Abandoned(number):
                return RoundAbandoned(number)

    # --- reading ---------------------------------------------------------------------------------

    def head(self) -> Head:
        """The newest committed line's number, hash and signature."""
        with reading(self._engine).connect() as connection:
            newest = connection.execute(
                select(AUDIT.c.line).order_by(AUDIT.c.seq.desc()).limit(1)
            ).scalar_one()
        return head_of(decode(newest), self._identity.public.hex())

    @property
    def behind(self) -> bool:
        """Whether the disk has refused the newest lines of ``audit.jsonl``."""
        return self._behind

    def _lines(self, after: int) -> Generator[bytes, None, None]:
        with reading(self._engine).connect() as connection:
            yield from connection.execute(
                select(AUDIT.c.line).where(AUDIT.c.seq > after).order_by(AUDIT.c.seq)
            ).scalars()


def _last(connection: Connection) -> Place:
    row = connection.execute(
        select(AUDIT.c.seq, AUDIT.c.hash).order_by(AUDIT.c.seq.desc()).limit(1)
    ).one_or_none()
    return Place() if row is None else Place(*row)
