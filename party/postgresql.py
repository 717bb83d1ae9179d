"""The node's database on PostgreSQL, with the promises that SQLite's file keeps (ADR 0069).

What is committed has reached the disk; transactions that write take turns, wherever the processes
run that make them; and one node at a time works on the database.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event

from secagg.cli import CommandError, ExitCode

#: Keys of PostgreSQL's advisory locks, which one database has for all its clients.
_WRITERS: Final = int.from_bytes(b"secagg w", "big")
_NODE: Final = int.from_bytes(b"secagg n", "big")

_DRIVER: Final = "postgresql+psycopg"

#: Of every session. A node that vanished from the network holds its locks for a minute at most.
_SETTINGS: Final = {
    "synchronous_commit": "on",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}


def postgresql_engine(url: URL, reading: str, busy_seconds: int) -> Engine:
    """An engine on the database at ``url``.

    ``reading``: the execution option of a connection that only reads. ``busy_seconds``: how long a
    transaction waits for another one's end. Raises CommandError if the driver is not installed.
    """
    settings = {**_SETTINGS, "lock_timeout": f"{busy_seconds}s"}
    try:
        engine = create_engine(
            url.set(drivername=_DRIVER),
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={
                "application_name": "secagg party",
                "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
            },
        )
    except ModuleNotFoundError:
        raise CommandError(
            "[database] names a PostgreSQL server, and its driver psycopg is not installed.",
            "Install secagg[postgresql].",
            ExitCode.USAGE,
        ) from None

    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get(reading, False):
            statement = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
        else:
            # Whatever is read after this was committed before it, and stays so until the end.
            statement = f"SELECT pg_advisory_xact_lock({_WRITERS})"
        connection.exec_driver_sql(statement)

    event.listen(engine, "begin", begin)
    return engine


def check_durable(engine: Engine) -> None:
    """Raise CommandError for a server that does not wait for its disk."""
    with engine.connect() as connection:
        if connection.exec_driver_sql("SHOW fsync").scalar_one() != "on":
            raise CommandError(
                "The PostgreSQL server does not wait for its disk (fsync = off), so it may forget "
                "what this hospital has spent and signed.",
                "Set fsync = on in postgresql.conf, and restart the server.",
                ExitCode.USAGE,
            )


@contextmanager
def claimed(engine: Engine, patience: float) -> Iterator[None]:
    """Be the only node on this database, for as long as the process and its connection live.

    Waits ``patience`` seconds for one that has just ended. Raises CommandError if another one is
    there. The journal itself notices a node that came in after the connection was lost, so this is
    for the operator, who learns of a mistake at once.
    """
    pooled = engine.raw_connection()
    held: Any = pooled.driver_connection
    pooled.detach()
    with closing(held):
        held.autocommit = True
        held.execute(f"SET lock_timeout = {max(1, round(patience * 1000))}")
        try:
            held.execute(f"SELECT pg_advisory_lock({_NODE})")
        except engine.dialect.loaded_dbapi.OperationalError:
            raise CommandError(
                f"Another node is running on the database {engine.url.database!r}.",
                "Stop it first, or give this node a database of its own.",
                ExitCode.USAGE,
            ) from None
        yield
