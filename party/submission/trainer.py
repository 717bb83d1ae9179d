"""From a waiting payload to this hospital's contribution to one round."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from party.audit.events import KeyPurpose, KeyUsed
from party.audit.log import AuditLog
from party.batches import BatchError
from party.submission.keyring import Keyring
from party.submission.opening import OpeningError, open_batch
from party.submission.posted import tokens_of
from party.training.gradient import contribution
from secagg.errors import LocalMisuse
from secagg.model import Model, ModelSpec
from secagg.schema import FeatureSchema


@final
class Trainer:
    """Opens payloads and takes gradients. Blocking; called in the client's thread."""

    def __init__(
        self,
        keyring: Keyring,
        schema: FeatureSchema,
        spec: ModelSpec,
        audit: AuditLog | None = None,
    ) -> None:
        """``audit`` is told which keys were used."""
        self._keyring = keyring
        self._schema = schema
        self._spec = spec
        self._audit = audit

    def contribution(self, kind: str, payload: bytes, model: Model) -> NDArray[np.int64]:
        """The integer vector of a payload of ``kind`` at ``model``: clipped, not noised, (d,).

        The plaintext lives in this call alone. Raises BatchError.
        """
        if kind != "records":
            raise BatchError(
                f"a batch of the kind {kind!r} waits, and the policy protects patients (noise.unit "
                f"is patient): post records instead, under its number"
            )
        try:
            opened = open_batch(tokens_of(payload), self._keyring, self._schema)
        except OpeningError as error:
            raise BatchError(
                f"the waiting batch cannot be opened any more: {error}. Put the key that it was "
                f"encrypted with back into fernet_key_file and restart, or post the batch again"
            ) from None
        if self._audit is not None:
            self._audit.write(KeyUsed(KeyPurpose.TRAIN, " ".join(opened.keys)))
        try:
            return contribution(opened.batch, model, self._spec)
        except LocalMisuse as error:
            raise BatchError(f"the waiting batch: {error}") from None
