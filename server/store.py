"""The server's memory: attempts opened, sums not yet certified, certificates, abandonments, models.

Nothing here protects a hospital, whose own journal does: it lets a restarted server go on where it
was. Sums and models are kept in pieces, for SQLite holds no value as long as the largest of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, final

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    Column,
    Connection,
    Integer,
    LargeBinary,
    Table,
    delete,
    func,
    select,
)
from sqlalchemy.dialects.sqlite import insert

from secagg.context import Attempt, attempt_of
from secagg.errors import LocalMisuse
from secagg.wire.messages import Abandonment, Certificate, PublishedSum
from server.database import METADATA, open_database

PIECE: Final = 2**20
"""Bytes of one row of a sum or a model."""


def _pieces(name: str) -> Table:
    """A table of byte strings, each under a key of 32 bytes, in pieces."""
    return Table(
        name,
        METADATA,
        Column("key", LargeBinary, primary_key=True),
        Column("start", Integer, primary_key=True),
        Column("data", LargeBinary, nullable=False),
    )


ATTEMPTS: Final = Table(
    "attempts",
    METADATA,
    Column("round", Integer, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("session", LargeBinary, nullable=False),
    Column("server_nonce", LargeBinary, nullable=False),
    Column("opened_at", Integer, nullable=False),
)

SUMS: Final = Table(
    "sums",
    METADATA,
    Column("round", Integer, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("session", LargeBinary, nullable=False),
    Column("published", LargeBinary, nullable=False),
)

CERTIFICATES: Final = Table(
    "certificates",
    METADATA,
    Column("round", Integer, primary_key=True),
    Column("model_hash", LargeBinary, nullable=False),
    Column("certificate", LargeBinary, nullable=False),
)

ABANDONMENTS: Final = Table(
    "abandonments",
    METADATA,
    Column("round", Integer, primary_key=True),
    Column("abandonment", LargeBinary, nullable=False),
)

#: Keyed by session: int64, little-endian.
TOTALS: Final = _pieces("totals")

#: Keyed by model hash: canonical bytes.
MODELS: Final = _pieces("models")


@final
class Store:
    """The database at ``path``. Blocking; any thread may call it, one call runs at a time.

    When a method that records returns, what it was given is on disk. Recording the same again
    changes nothing. Raises sqlalchemy's OperationalError if the disk fails.
    """

    def __init__(self, path: Path) -> None:
        self._engine = open_database(path)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._engine.dispose()

    def record_attempt(self, attempt: Attempt) -> None:
        """Before it is announced: the attempt's number is taken.

        Raises LocalMisuse if another attempt has that number already.
        """
        row = {
            "round": attempt.round,
            "attempt": attempt.attempt,
            "session": attempt.session,
            "server_nonce": attempt.server_nonce,
            "opened_at": int(time.time()),
        }
        with self._transaction() as connection:
            connection.execute(insert(ATTEMPTS).values(row).on_conflict_do_nothing())
            taken = select(ATTEMPTS.c.session).where(
                ATTEMPTS.c.round == attempt.round, ATTEMPTS.c.attempt == attempt.attempt
            )
            if connection.execute(taken).scalar_one() != attempt.session:
                raise LocalMisuse(
                    f"attempt {attempt.attempt} of round {attempt.round} was opened already"
                )

    def open_attempts(self) -> dict[int, int]:
        """The highest number of an attempt at each round above the last closed one."""
        with self._transaction() as connection:
            rows = connection.execute(
                select(ATTEMPTS.c.round, func.max(ATTEMPTS.c.attempt))
                .where(ATTEMPTS.c.round > _last_closed(connection))
                .group_by(ATTEMPTS.c.round)
            )
            return {int(number): int(attempt) for number, attempt in rows}

    def record_sum(
        self, attempt: Attempt, published: PublishedSum, total: NDArray[np.int64]
    ) -> None:
        """Before it is sent to anybody: the sum of ``attempt``.

        Raises LocalMisuse if ``published`` is about another attempt.
        """
        if attempt_of(published) != attempt:
            raise LocalMisuse("the published sum is not of the attempt it is recorded for")
        row = {
            "round": attempt.round,
            "attempt": attempt.attempt,
            "session": attempt.session,
            "published": msgspec.msgpack.encode(published),
        }
        with self._transaction() as connection:
            new = connection.execute(insert(SUMS).values(row).on_conflict_do_nothing())
            if new.rowcount:
                words = np.ascontiguousarray(total, dtype="<i8")
                _put(connection, TOTALS, attempt.session, words.view(np.uint8).data)

    def pending_sum(self) -> tuple[Attempt, PublishedSum, NDArray[np.int64]] | None:
        """The newest sum that still waits for its certificate; None if there is none.

        A certificate or an abandonment ends its own round and all earlier ones.
        """
        with self._transaction() as connection:
            found = connection.execute(
                select(SUMS.c.published)
                .order_by(SUMS.c.round.desc(), SUMS.c.attempt.desc())
                .limit(1)
            ).scalar_one_or_none()
            if found is None:
                return None
            published = msgspec.msgpack.decode(found, type=PublishedSum)
            attempt = attempt_of(published)
            if attempt.round <= _last_closed(connection):
                return None
            data = _get(connection, TOTALS, attempt.session)
        return attempt, published, np.frombuffer(data, dtype="<i8").astype(np.int64)

    def record_certificate(self, certificate: Certificate, model_bytes: bytes | None) -> None:
        """A certificate, with the model that it names if its bytes are at hand.

        Sums of the rounds that it ends are removed. Of two certificates of one round the first
        one stays.
        """
        row = {
            "round": certificate.round,
            "model_hash": certificate.model_hash,
            "certificate": msgspec.msgpack.encode(certificate),
        }
        with self._transaction() as connection:
            connection.execute(insert(CERTIFICATES).values(row).on_conflict_do_nothing())
            if model_bytes is not None:
                _put(connection, MODELS, certificate.model_hash, memoryview(model_bytes))
            _drop_sums(connection, certificate.round)

    def newest_certificate(self) -> Certificate | None:
        """The certificate of the highest round."""
        with self._transaction() as connection:
            found = connection.execute(
                select(CERTIFICATES.c.certificate).order_by(CERTIFICATES.c.round.desc()).limit(1)
            ).scalar_one_or_none()
        return None if found is None else msgspec.msgpack.decode(found, type=Certificate)

    def history(self) -> list[Certificate]:
        """Every certificate, by round."""
        with self._transaction() as connection:
            rows = connection.execute(
                select(CERTIFICATES.c.certificate).order_by(CERTIFICATES.c.round)
            ).scalars()
            return [msgspec.msgpack.decode(row, type=Certificate) for row in rows]

    def record_abandonment(self, abandonment: Abandonment) -> None:
        """An abandonment. Sums of the rounds that it ends are removed."""
        row = {
            "round": abandonment.round,
            "abandonment": msgspec.msgpack.encode(abandonment),
        }
        with self._transaction() as connection:
            connection.execute(insert(ABANDONMENTS).values(row).on_conflict_do_nothing())
            _drop_sums(connection, abandonment.round)

    def newest_abandonment(self) -> Abandonment | None:
        """The abandonment of the highest round."""
        with self._transaction() as connection:
            found = connection.execute(
                select(ABANDONMENTS.c.abandonment).order_by(ABANDONMENTS.c.round.desc()).limit(1)
            ).scalar_one_or_none()
        return None if found is None else msgspec.msgpack.decode(found, type=Abandonment)

    def store_model(self, model_hash: bytes, data: bytes) -> None:
        """The canonical bytes of the model with this hash, which the caller has checked."""
        with self._transaction() as connection:
            _put(connection, MODELS, model_hash, memoryview(data))

    def model(self, model_hash: bytes) -> bytes | None:
        """The canonical bytes of the model with this hash; None if it is not held."""
        with self._transaction() as connection:
            return _get(connection, MODELS, model_hash) or None

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._lock, self._engine.begin() as connection:
            yield connection


def _last_closed(connection: Connection) -> int:
    """The highest round that is certified or abandoned; 0 if none is."""
    highest = [
        connection.execute(select(func.max(table.c.round))).scalar_one() or 0
        for table in (CERTIFICATES, ABANDONMENTS)
    ]
    return max(highest)


def _drop_sums(connection: Connection, until: int) -> None:
    ended = SUMS.c.round <= until
    connection.execute(delete(TOTALS).where(TOTALS.c.key.in_(select(SUMS.c.session).where(ended))))
    connection.execute(delete(SUMS).where(ended))


def _put(connection: Connection, table: Table, key: bytes, data: memoryview) -> None:
    """Store ``data`` unless something is there under its key."""
    for start in range(0, len(data), PIECE):
        row = {"key": key, "start": start, "data": bytes(data[start : start + PIECE])}
        connection.execute(insert(table).values(row).on_conflict_do_nothing())


def _get(connection: Connection, table: Table, key: bytes) -> bytes:
    """What stands under ``key``; empty if nothing does."""
    rows = connection.execute(
        select(table.c.data).where(table.c.key == key).order_by(table.c.start)
    )
    return b"".join(rows.scalars())
