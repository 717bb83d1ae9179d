"""The models that a row of transcripts makes, from the policy's first one on."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from secagg.checks import Check
from secagg.model import Model, ModelSpec, apply, initial, model_hash
from secagg.rounds.machine import SERVER, require
from secagg.transcript.record import Transcript


@final
class ModelChain:
    """Follows verified transcripts, given in the order of their rounds."""

    def __init__(self, spec: ModelSpec) -> None:
        first = initial(spec)
        self._spec = spec
        self._known: dict[bytes, Model] = {model_hash(first): first}

    def follow(self, transcript: Transcript, total: NDArray[np.int64]) -> bytes | None:
        """The hash of the model that ``total`` makes of the transcript's base model.

        None if that base is unknown: the transcript of the round that made it was not followed.
        Raises PeerViolation if a certificate names another model; LocalMisuse if ``total`` does not
        fit the model.
        """
        base = self._known.get(transcript.announcement.base_model_hash)
        if base is None:
            return None
        following = apply(base, total, self._spec)
        found = model_hash(following)
        certificate = transcript.certificate
        require(
            certificate is None or certificate.model_hash == found,
            Check.CERTIFICATE_HASH,
            SERVER,
            f"round {transcript.announcement.round}",
        )
        self._known[found] = following
        return found
