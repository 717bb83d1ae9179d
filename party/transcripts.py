"""The transcripts that this hospital has verified: by its own recomputation, or since it asked."""

from __future__ import annotations

from typing import Final, final

from sqlalchemy import Column, Engine, LargeBinary, Table, delete, insert, select

from party.database import METADATA, WholeNumber, reading
from secagg.transcript.record import Transcript, decode, encode

TRANSCRIPTS: Final = Table(
    "transcripts",
    METADATA,
    Column("round", WholeNumber, primary_key=True),
    Column("attempt", WholeNumber, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)


@final
class Transcripts:
    """Verified transcripts by round and attempt. Blocking."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, transcript: Transcript) -> None:
        """Keep a verified transcript, in the place of an earlier one of the same attempt."""
        number, attempt = transcript.announcement.round, transcript.announcement.attempt
        row = {"round": number, "attempt": attempt, "body": encode(transcript)}
        with self._engine.begin() as connection:
            connection.execute(
                delete(TRANSCRIPTS).where(
                    TRANSCRIPTS.c.round == number, TRANSCRIPTS.c.attempt == attempt
                )
            )
            connection.execute(insert(TRANSCRIPTS).values(row))

    def of_round(self, number: int) -> Transcript | None:
        """The newest attempt's at a training round; None if none is held."""
        newest = (
            select(TRANSCRIPTS.c.body)
            .where(TRANSCRIPTS.c.round == number)
            .order_by(TRANSCRIPTS.c.attempt.desc())
            .limit(1)
        )
        with reading(self._engine).connect() as connection:
            body: bytes | None = connection.execute(newest).scalar_one_or_none()
        return None if body is None else decode(body)
