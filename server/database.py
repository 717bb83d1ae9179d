"""The server's one SQLite database: what is committed has reached the disk.

Every transaction begins with BEGIN IMMEDIATE, so that nothing is decided on what another process
is about to change.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, MetaData, create_engine, event

METADATA: Final = MetaData()
"""Every table of the server is declared on this."""

BUSY_SECONDS: Final = 60
"""How long a transaction waits for another process's."""


def open_database(path: Path) -> Engine:
    """The engine of the database at ``path``, which is made with all its tables if need be.

    The file gets mode 0600 and its directory, if it is made here, 0700.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = create_engine(
        URL.create("sqlite", database=str(path)), connect_args={"timeout": BUSY_SECONDS}
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    path.touch(mode=0o600)
    with engine.begin() as connection:
        METADATA.create_all(connection)
    return engine


def _configure(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
