"""The node's one database: what is committed has reached the disk, and writers take turns.

A SQLite file in the state directory, or a PostgreSQL database (party.postgresql); the code above
does not see which. Every transaction that writes locks out every other one from its very beginning:
a database's default would let two processes read the same balance before either writes (ADR 0050).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import (
    URL,
    BigInteger,
    Connection,
    Engine,
    Integer,
    MetaData,
    NullPool,
    create_engine,
    event,
)

from party import postgresql

METADATA: Final = MetaData()
"""Every table of the node is declared on this."""

WholeNumber: Final = BigInteger().with_variant(Integer, "sqlite")
"""The type of every integer column: 64 bits; as a primary key it numbers the rows by itself."""

BUSY_SECONDS: Final = 60
"""How long a transaction waits for another process's."""

CLAIM_SECONDS: Final = 10
"""How long a node waits for the end of the one that had the database before."""

_READING: Final = "reading"


def open_database(place: Path | URL) -> Engine:
    """The engine of the database at ``place``, which is given all its tables if need be.

    A path is a SQLite file, made if it is not there; a URL names a PostgreSQL database, which must
    be there. Raises OperationalError, or CommandError for one that keeps no promises.
    """
    with ExitStack() as failed:
        if isinstance(place, URL):
            engine = postgresql.postgresql_engine(place, _READING, BUSY_SECONDS)
            failed.callback(engine.dispose)
            postgresql.check_durable(engine)
        else:
            engine = _sqlite_engine(place)
            failed.callback(engine.dispose)
        with engine.begin() as connection:
            METADATA.create_all(connection)
        failed.pop_all()
    return engine


def open_for_reading(place: Path | URL) -> Engine:
    """The engine of a database that is there already, for SELECTs alone: nothing in it is changed.

    Beside a node that runs on it, it waits for nobody.
    """
    if isinstance(place, URL):
        return reading(postgresql.postgresql_engine(place, _READING, BUSY_SECONDS))
    url = URL.create(
        "sqlite", database=f"file:{quote(str(place))}", query={"mode": "ro", "uri": "true"}
    )
    return create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS})


def reading(engine: Engine) -> Engine:
    """``engine`` for SELECTs alone: one snapshot per connection, waiting for no writer."""
    return engine.execution_options(**{_READING: True})


@contextmanager
def claimed(engine: Engine, patience: float = CLAIM_SECONDS) -> Iterator[None]:
    """Be the only node on the database. A SQLite file is claimed with its state directory.

    Raises CommandError if another node is there.
    """
    if engine.dialect.name == "postgresql":
        with postgresql.claimed(engine, patience):
            yield
    else:
        yield


def empty_log(engine: Engine) -> None:
    """Copy SQLite's write-ahead log into the file and cut it to nothing.

    Together with ``secure_delete`` this makes what was deleted vanish from both files. PostgreSQL
    has no such promise to make: what is erased there is gone from the tables, and from its files
    in its own time; what the node stores is ciphertext of the hospital's own keys for that reason.
    """
    if engine.dialect.name != "sqlite":
        return
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def _sqlite_engine(path: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        hide_parameters=True,  # what is stored stands in no error, and so in no log
        connect_args={"timeout": BUSY_SECONDS},
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    path.touch(mode=0o600)
    return engine


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
