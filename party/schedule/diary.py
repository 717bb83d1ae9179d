"""What the next process has to know of scheduled runs, in the node's database.

One row: up to when runs are done with, under which cron expression, and the round number that the
run in hand has taken. So a run that was due while the node was down is made up for, once, and one
that was cut off goes on under the number that it had.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, final

from sqlalchemy import Column, Connection, Engine, Float, Row, String, Table, delete, insert, select

from party.database import METADATA, WholeNumber

SCHEDULE: Final = Table(
    "schedule",
    METADATA,
    Column("cron", String, primary_key=True),
    Column("done_until", Float, nullable=False),
    Column("number", WholeNumber),
)


@final
class Diary:
    """Of the runs under one cron expression. Blocking."""

    def __init__(self, engine: Engine, cron: str) -> None:
        self._engine = engine
        self._cron = cron

    def done_until(self, now: datetime) -> datetime:
        """The instant after which runs are still to be made.

        It is ``now``, from now on, for a cron expression that is new, and for a clock that was
        ahead when it was noted.
        """
        with self._engine.begin() as connection:
            row = self._row(connection)
            if row is not None and row.done_until <= now.timestamp():
                return datetime.fromtimestamp(row.done_until, UTC)
            self._write(connection, now, None)
        return now

    def number(self, fresh: int) -> int:
        """The number of the run in hand: ``fresh``, unless it has taken one before it was cut off.

        Durable when this returns.
        """
        with self._engine.begin() as connection:
            row = self._row(connection)
            if row is None:
                raise LookupError("done_until comes first: no run is in hand")
            if row.number is not None:
                return int(row.number)
            done_until = datetime.fromtimestamp(row.done_until, UTC)
            self._write(connection, done_until, fresh)
        return fresh

    def finish(self, now: datetime) -> None:
        """The run in hand is over, and with it all that were due before ``now``."""
        with self._engine.begin() as connection:
            self._write(connection, now, None)

    def _row(self, connection: Connection) -> Row[tuple[str, float, int | None]] | None:
        return connection.execute(
            select(SCHEDULE).where(SCHEDULE.c.cron == self._cron)
        ).one_or_none()

    def _write(self, connection: Connection, done_until: datetime, number: int | None) -> None:
        connection.execute(delete(SCHEDULE))
        row = {"cron": self._cron, "done_until": done_until.timestamp(), "number": number}
        connection.execute(insert(SCHEDULE).values(row))
