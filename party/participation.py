"""Whether this hospital takes part: a decision of its own, durable, and open to be taken back.

A hospital that has left goes through the round that it is in, since the others' sum may rest on
it, and enters no other one. What it has queued is erased at once, what is in that round when the
round ends. It stays connected, and goes on checking and signing what the others certify.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Final, final

from sqlalchemy import Boolean, Column, Connection, Engine, Table, insert, select

from party.append_only import append_only
from party.audit.events import OptedOut, Returned
from party.audit.log import AuditLog
from party.database import METADATA, WholeNumber, reading
from party.queue import Queue

DECISIONS: Final = append_only(
    Table(
        "participation",
        METADATA,
        Column("id", WholeNumber, primary_key=True),
        Column("decided_at", WholeNumber, nullable=False),
        Column("left", Boolean, nullable=False),
    )
)


@final
class Participation:
    """The newest decision. ``queue`` is None for a node that trains on a file of its own.

    Called in the client's thread. ``engaged`` everywhere: the sessions whose batches may still
    enter a sum.
    """

    def __init__(
        self,
        engine: Engine,
        queue: Queue | None = None,
        audit: AuditLog | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._queue = queue
        self._audit = audit
        self._clock = clock
        with reading(engine).connect() as connection:
            newest = select(DECISIONS.c.left).order_by(DECISIONS.c.id.desc()).limit(1)
            #: Whether this hospital has left.
            self.left: bool = connection.execute(newest).scalar_one_or_none() or False
        #: Whether something may be left over to erase when a round ends.
        self.unsettled = self.left

    def leave(self, engaged: Collection[bytes]) -> None:
        """Take part no more; durable when this returns. Nothing changes if it has left already."""
        if self.left:
            return
        with self._engine.begin() as connection:
            self._decide(connection, left=True)
            withdrawn = self._withdraw(connection, engaged)
            if self._audit is not None:
                self._audit.append(connection, OptedOut(withdrawn))
        self.left = self.unsettled = True
        self._committed()

    def return_(self) -> None:
        """Take part again; durable when this returns."""
        if not self.left:
            return
        with self._engine.begin() as connection:
            self._decide(connection, left=False)
            if self._audit is not None:
                self._audit.append(connection, Returned())
        self.left = self.unsettled = False
        self._committed()

    def settle(self, engaged: Collection[bytes]) -> None:
        """After leaving: erase the batches that have come out of a round unused."""
        if not self.unsettled:
            return
        with self._engine.begin() as connection:
            withdrawn = self._withdraw(connection, engaged)
            if withdrawn and self._audit is not None:
                self._audit.append(connection, OptedOut(withdrawn))
        self.unsettled = bool(engaged)
        self._committed()

    def _decide(self, connection: Connection, left: bool) -> None:
        row = {"decided_at": int(self._clock()), "left": left}
        connection.execute(insert(DECISIONS).values(row))

    def _withdraw(self, connection: Connection, engaged: Collection[bytes]) -> int:
        return 0 if self._queue is None else self._queue.withdraw(connection, engaged)

    def _committed(self) -> None:
        if self._queue is not None:
            self._queue.committed()
        if self._audit is not None:
            self._audit.committed()
