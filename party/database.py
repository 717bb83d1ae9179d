"""The node's one SQLite database: what is committed has reached the disk.

Every transaction that writes begins with BEGIN IMMEDIATE: SQLite's default would let two processes
read the same balance before either writes (ADR 0050).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    URL,
    BigInteger,
    Connection,
    Engine,
    Integer,
    MetaData,
    create_engine,
    event,
)

METADATA: Final = MetaData()
"""Every table of the node is declared on this."""

WholeNumber: Final = BigInteger().with_variant(Integer, "sqlite")
"""The type of every integer column: 64 bits, and a row number by itself as a primary key."""

BUSY_SECONDS: Final = 60
"""How long a transaction waits for another process's."""

_READING: Final = "reading"


def open_database(path: Path) -> Engine:
    """The engine of the database at ``path``, which is made with all its tables if need be."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)), connect_args={"timeout": BUSY_SECONDS}
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    path.touch(mode=0o600)
    with engine.begin() as connection:
        METADATA.create_all(connection)
    return engine


def reading(engine: Engine) -> Engine:
    """``engine`` for SELECTs alone: one snapshot per connection, waiting for no writer."""
    return engine.execution_options(**{_READING: True})


def empty_log(engine: Engine) -> None:
    """Copy the write-ahead log into the database and cut it to nothing.

    Together with ``secure_delete`` this makes what was deleted vanish from both files.
    """
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def _configure(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "secure_delete = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    deferred = connection.get_execution_options().get(_READING, False)
    connection.exec_driver_sql("BEGIN" if deferred else "BEGIN IMMEDIATE")
