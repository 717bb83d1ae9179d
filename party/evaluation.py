"""How well each model predicts on this hospital's own test records: a number for its own eyes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, final

import structlog
from sqlalchemy import Column, Engine, Float, LargeBinary, Select, Table, insert, select

from party.batches import BatchError, read_file
from party.database import METADATA, reading
from party.training.evaluate import accuracy, train_locally
from secagg.errors import LocalMisuse
from secagg.model import Model, ModelSpec
from secagg.schema import FeatureSchema

EVALUATIONS: Final = Table(
    "evaluations",
    METADATA,
    Column("model_hash", LargeBinary, primary_key=True),
    Column("accuracy", Float, nullable=False),
)

_log = structlog.get_logger("secagg.party")


@final
class Evaluations:
    """Accuracies on the ``test`` file, by model, kept across restarts. Without a file: none.

    ``train``, ``rounds``: the standing batch, if there is one. ``schema`` is None where nodes take
    no records.

    Blocking; called in a worker thread.
    """

    def __init__(
        self,
        engine: Engine,
        schema: FeatureSchema | None,
        spec: ModelSpec,
        train: Path | None,
        test: Path | None,
        rounds: int | None,
    ) -> None:
        self._engine = engine
        self._schema = schema
        self._spec = spec
        self._train = train
        self._test = test
        self._rounds = rounds
        #: Of the model that this hospital would have trained alone, in as many rounds.
        self.local_only: float | None = None

    def evaluate(self, model_hash: bytes, model: Model) -> None:
        """Measure ``model`` unless that has been done. A file that does not fit is logged."""
        if self._schema is None or self._test is None or self.of(model_hash) is not None:
            return
        try:
            measured = accuracy(read_file(self._test, self._schema), model)
        except (BatchError, LocalMisuse, ValueError) as error:
            _log.error("test records unusable", reason=str(error))
            return
        with self._engine.begin() as connection:
            if connection.scalar(_measured(model_hash)) is None:
                connection.execute(
                    insert(EVALUATIONS).values(model_hash=model_hash, accuracy=measured)
                )

    def train_alone(self) -> None:
        """Measure what this hospital could have had without the others, of a standing batch."""
        if self._schema is None or self._test is None:
            return
        if self._train is None or self._rounds is None:
            return
        try:
            model = train_locally(read_file(self._train, self._schema), self._spec, self._rounds)
            self.local_only = accuracy(read_file(self._test, self._schema), model)
        except (BatchError, LocalMisuse, ValueError) as error:
            _log.error("test records unusable", reason=str(error))

    def of(self, model_hash: bytes) -> float | None:
        """The accuracy of a model, 0 to 1; None if it was not measured."""
        with reading(self._engine).connect() as connection:
            found: float | None = connection.scalar(_measured(model_hash))
        return found


def _measured(model_hash: bytes) -> Select[Any]:
    return select(EVALUATIONS.c.accuracy).where(EVALUATIONS.c.model_hash == model_hash)
