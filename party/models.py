"""The models that this node holds: canonical bytes under their own hash, in the journal's database.

They are kept in pieces, so that a model is sent without being whole in memory, and stored in the
transaction of the entry that names them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final, final

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    LargeBinary,
    Table,
    delete,
    func,
    insert,
    select,
)

from party.database import METADATA, WholeNumber, reading

PIECE: Final = 64 * 1024

PIECES: Final = Table(
    "model_pieces",
    METADATA,
    Column("model_hash", LargeBinary, primary_key=True),
    Column("start", WholeNumber, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model as it is stored: canonical bytes, and the hash that they are known to have."""

    model_hash: bytes
    data: bytes = field(repr=False)


@final
class ModelStore:
    """Model bytes by hash."""

    def __init__(self, engine: Engine) -> None:
        self._reading = reading(engine)

    def put(self, connection: Connection, model: StoredModel) -> None:
        """Store ``model`` inside the caller's transaction, unless it is there already."""
        if self._size(connection, model.model_hash) is not None:
            return
        for start in range(0, len(model.data), PIECE):
            piece = model.data[start : start + PIECE]
            row = {"model_hash": model.model_hash, "start": start, "data": piece}
            connection.execute(insert(PIECES).values(row))

    def keep_only(self, connection: Connection, model_hashes: Collection[bytes]) -> None:
        """Remove every other model, inside the caller's transaction."""
        connection.execute(delete(PIECES).where(PIECES.c.model_hash.not_in(list(model_hashes))))

    def size(self, model_hash: bytes) -> int | None:
        """The length of the model's bytes; None if it is not held."""
        with self._reading.connect() as connection:
            return self._size(connection, model_hash)

    def get(self, model_hash: bytes) -> bytes | None:
        """The model's bytes; None if it is not held."""
        return b"".join(data for _, data in self.pieces(model_hash)) or None

    def pieces(self, model_hash: bytes) -> Iterator[tuple[int, bytes]]:
        """(start, bytes) of each piece, in order; read one at a time."""
        start = 0
        while True:
            piece = select(PIECES.c.data).where(
                PIECES.c.model_hash == model_hash, PIECES.c.start == start
            )
            with self._reading.connect() as connection:
                data: bytes | None = connection.execute(piece).scalar_one_or_none()
            if data is None:
                return
            yield start, data
            start += len(data)

    @staticmethod
    def _size(connection: Connection, model_hash: bytes) -> int | None:
        lengths = select(func.sum(func.length(PIECES.c.data)))
        size: int | None = connection.execute(
            lengths.where(PIECES.c.model_hash == model_hash)
        ).scalar_one()
        return size
