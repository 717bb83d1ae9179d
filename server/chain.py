"""The chain of certified models as far as the server has it, and what is stored of it.

The server computes no model that counts: the hospitals' certificate says which one holds. It keeps
the bytes only to hand them to hospitals that have missed a round.

What blocks is called in a worker thread, one call at a time; the properties are for any thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

import numpy as np
import structlog
from numpy.typing import NDArray

from secagg.errors import DecodeError
from secagg.model import (
    Model,
    ModelSpec,
    apply,
    canonical_bytes,
    canonical_size,
    decode,
    initial,
    model_hash,
)
from secagg.policy import Policy
from secagg.rounds.r5_certification import check_abandonment, check_certificate
from secagg.wire.messages import (
    Abandonment,
    Certificate,
    ModelChunk,
    ModelStart,
    Refusal,
    Wire,
)
from server.store import Store

MODEL_CHUNK_BYTES: Final = 64 * 1024

_log = structlog.get_logger("secagg.server")


@final
class Chain:
    """``certificate`` and ``abandonment``: the newest ones, None before the first."""

    def __init__(self, policy: Policy, spec: ModelSpec, store: Store) -> None:
        """Take up what is stored; ``spec`` is the policy's model."""
        self._policy = policy
        self._spec = spec
        self._store = store
        self._initial_hash = model_hash(initial(spec))
        self.certificate = store.newest_certificate()
        self.abandonment = store.newest_abandonment()
        self._bytes = None if self.certificate is None else store.model(self.model_hash)

    @property
    def closed(self) -> int:
        """The highest round that is certified or abandoned."""
        return max(
            self.certificate.round if self.certificate else 0,
            self.abandonment.round if self.abandonment else 0,
        )

    @property
    def model_hash(self) -> bytes:
        """The model that the next round starts from."""
        return self.certificate.model_hash if self.certificate else self._initial_hash

    @property
    def model_size(self) -> int:
        """Length of the canonical bytes of every model of this policy."""
        return canonical_size(self._spec)

    @property
    def model_missing(self) -> bool:
        """Whether the bytes of the newest certified model have still to come from a party."""
        return self.certificate is not None and self._bytes is None

    def is_newer(self, certificate: Certificate) -> bool:
        """Whether ``certificate`` is of a later round than the newest one."""
        return self.certificate is None or certificate.round > self.certificate.round

    def serve(self, wanted: bytes) -> Iterator[Wire]:
        """The newest certified model, piece by piece, with the certificate that proves it."""
        certificate, data = self.certificate, self._bytes
        if certificate is None or data is None or certificate.model_hash != wanted:
            yield Refusal(f"the model {wanted.hex()} is not the newest certified one held here")
            return
        yield ModelStart(certificate, len(data))
        for start in range(0, len(data), MODEL_CHUNK_BYTES):
            yield ModelChunk(start, data[start : start + MODEL_CHUNK_BYTES])

    # --- what blocks -----------------------------------------------------------------------------

    def conclude(self, certificate: Certificate, total: NDArray[np.int64]) -> None:
        """Store the certificate of a round whose sum is ``total``, and the model it made."""
        following = self._next(total)
        if following is not None and model_hash(following) != certificate.model_hash:
            _log.error(
                "model differs",
                round=certificate.round,
                certified=certificate.model_hash.hex(),
                computed=model_hash(following).hex(),
            )
            following = None
        self._close_with(certificate, canonical_bytes(following) if following else None)

    def adopt(self, certificate: Certificate) -> None:
        """Store a certificate that a party has shown. Raises PeerViolation if it is not valid."""
        check_certificate(self._policy, certificate)
        self._close_with(certificate, self._store.model(certificate.model_hash))

    def adopt_abandonment(self, abandonment: Abandonment) -> None:
        """Store an abandonment. Raises PeerViolation if it is not valid."""
        check_abandonment(self._policy, abandonment)
        self._store.record_abandonment(abandonment)
        self.abandonment = abandonment

    def take_model(self, data: bytes) -> bool:
        """Keep the bytes of the newest certified model; False if they are not those."""
        try:
            received = model_hash(decode(data, self._spec))
        except DecodeError:
            return False
        if received != self.model_hash:
            return False
        self._store.store_model(received, data)
        self._bytes = data
        return True

    def _next(self, total: NDArray[np.int64]) -> Model | None:
        """The model that a sum makes of the newest one; None if the bytes of that are missing."""
        if self.certificate is None:
            return apply(initial(self._spec), total, self._spec)
        if self._bytes is None:
            return None
        return apply(decode(self._bytes, self._spec), total, self._spec)

    def _close_with(self, certificate: Certificate, data: bytes | None) -> None:
        self._store.record_certificate(certificate, data)
        self.certificate, self._bytes = certificate, data
