"""Where the node's contributions come from.

A *batch* is a set of patients' records that may enter one training round. The node asks its source
for which round a batch waits, and takes the vector that it contributes to a given model. Whoever
keeps the batches (a file, the queue of what an EHR has posted) is a source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, final

import numpy as np
import trio
from numpy.typing import NDArray

from party.training.features import Batch, read_batch
from party.training.gradient import contribution
from party.training.records import MAX_RECORD_BYTES, Record, RecordError, decode_record
from secagg.errors import LocalMisuse
from secagg.model import Model, ModelSpec
from secagg.schema import FeatureSchema

#: The last line of a file may lack its end; every other one has it.
_LONGEST_LINE: Final = MAX_RECORD_BYTES + 2


class BatchError(Exception):
    """A batch cannot be used. The text says why and how to mend it, and quotes no record."""


class SetAside(BatchError):
    """One batch cannot be used; its source keeps it, and goes on with the others meanwhile."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the consortium is, as this node knows it.

    ``closed``: the highest training round that is certified or abandoned. ``updates``: how many
    certified rounds have gone into the model that the node holds.
    """

    closed: int
    updates: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What enters an attempt. ``number``: the round from which on it counts. ``vector``: clipped,
    not noised, int64 (d,). ``batch``: the id of the queued submission, None for a standing batch.
    """

    number: int
    vector: NDArray[np.int64] = field(repr=False)
    batch: int | None = None


class BatchSource(Protocol):
    """A source of batches. Blocking methods are called in a worker thread, one call at a time."""

    def waiting(self, progress: Progress) -> int | None:
        """The round for which a batch waits; it counts for that one and, unused, for later ones.

        None if no batch waits. Cheap: it reads no records.
        """
        ...

    def take(self, number: int, progress: Progress, model: Model) -> Taken:
        """The batch that counts for training round ``number``, as its contribution to ``model``.

        Records are read, mapped, used and dropped before this returns. The batch goes on waiting:
        what becomes of it depends on the attempt. Raises BatchError.
        """
        ...

    def batch_in(self, session: bytes) -> int | None:
        """The id of the batch that entered this session, if the source gives its batches ids."""
        ...

    def undecided(self, progress: Progress) -> Sequence[int]:
        """The closed rounds whose sums may have one of its batches, unbeknown to this hospital."""
        ...

    def settle(self, number: int) -> None:
        """No certificate is to be had of this round: what entered it is free."""
        ...

    async def changed(self) -> None:
        """Return when ``waiting`` may have a new answer, beyond what follows from progress and
        from what the node itself was asked to do.
        """
        ...


@final
class StandingFile:
    """A file of records that enters every round until the model has had ``rounds`` updates.

    It counts for the round after the last one that is closed, again and again.
    """

    def __init__(self, path: Path, schema: FeatureSchema, spec: ModelSpec, rounds: int) -> None:
        self._path = path
        self._schema = schema
        self._spec = spec
        self._rounds = rounds

    def waiting(self, progress: Progress) -> int | None:
        """The next round, while the model has had fewer updates than wanted."""
        return progress.closed + 1 if progress.updates < self._rounds else None

    def take(self, number: int, progress: Progress, model: Model) -> Taken:
        """Read the file and take the gradient at ``model``. Raises BatchError."""
        try:
            vector = contribution(read_file(self._path, self._schema), model, self._spec)
        except LocalMisuse as error:
            raise BatchError(f"{self._path.name}: {error}") from None
        return Taken(progress.closed + 1, vector)

    def batch_in(self, session: bytes) -> int | None:
        """None: the file is the same batch each time."""
        return None

    def undecided(self, progress: Progress) -> tuple[int, ...]:
        """None: the same batch may be in every sum."""
        return ()

    def settle(self, number: int) -> None:
        """Nothing is held back."""

    async def changed(self) -> None:
        """Never: what a file counts for follows from progress alone."""
        await trio.sleep_forever()


def read_file(path: Path, schema: FeatureSchema) -> Batch:
    """The records in ``path``, one JSON object a line, as rows of numbers.

    Raises BatchError for a file that cannot be read, or naming the first record and field that
    does not fit; never with a value.
    """
    try:
        return read_batch(_records(path), schema)
    except RecordError as error:
        raise BatchError(f"{path.name}: {error}") from None
    except OSError as error:
        raise BatchError(
            f"{path.name} cannot be read: {error.strerror}. Correct [data] in party.toml"
        ) from None


def _records(path: Path) -> list[Record]:
    records: list[Record] = []
    with path.open("rb") as lines:
        while line := lines.readline(_LONGEST_LINE):
            if line.strip():
                records.append(decode_record(line.rstrip(b"\r\n"), len(records)))
    return records
