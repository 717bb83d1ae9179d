"""What waits of an update: its clipped vector and the model that it was computed from, sealed.

Until it is masked, an update is this hospital's alone, so it is not written to disk in clear. What
is sealed, under a key that only this node has, is the vector as it will enter a round: nothing that
clipping has removed is kept.
"""

from __future__ import annotations

from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from party.batches import BatchError
from party.submission.posted import Posted, content_digest, digest_key
from party.submission.update import UpdateKind, read_update
from secagg.crypto import aead
from secagg.crypto.hashing import Label, digest
from secagg.crypto.kdf import derive
from secagg.crypto.randomness import Randomness
from secagg.crypto.secret import Secret
from secagg.model import Model, ModelSpec, model_hash
from secagg.vector.packing import pack, unpack
from secagg.vector.ring import Integers, Ring

_HASH_BYTES: Final = 32


class StaleUpdate(ValueError):
    """The update was computed from another model than the one that the next round starts from."""

    def __init__(self) -> None:
        super().__init__(
            "the update was computed from a model that is not the newest one: fetch GET "
            "/models/latest (/models/initial before the first certified round), compute the update "
            "from it, and post that with its hash as base_model_hash"
        )


@final
class Updates:
    """Admits updates, and opens them again when their round has come. Blocking.

    Everything sealed is bound to the policy (by its digest) and to the model it was computed from:
    under other bounds, or from another model, it would be another contribution.
    """

    def __init__(
        self, journal_key: Secret, policy_digest: bytes, spec: ModelSpec, randomness: Randomness
    ) -> None:
        self._key = derive(journal_key, Label.UPDATE_KEY)
        self._digest_key = digest_key(journal_key)
        self._policy_digest = policy_digest
        self._spec = spec
        self._randomness = randomness
        rule = spec.contribution
        self._ring = Ring.for_bound(max(rule.gradient_bound, rule.count_weight))

    def admit(self, number: int, base: bytes, kind: UpdateKind, data: bytes) -> Posted:
        """The update in the safetensors ``data``, relative to the model with the hash ``base``.

        Raises UpdateError. Whether ``base`` is the newest model is for the caller to say.
        """
        packed = pack(self._ring.encode(read_update(data, kind, self._spec)), self._ring.bits)
        payload = self._seal(base, packed)
        content = digest(Label.UPDATE, base, packed)
        return Posted(
            number=number,
            kind="update",
            digest=content_digest(self._digest_key, "update", number, [content]),
            payload=payload,
            patients=0,
            encrypted_bytes=len(payload),
        )

    def contribution(self, kind: str, payload: bytes, model: Model) -> NDArray[np.int64]:
        """The integer vector of a payload of the kind ``update``: clipped, not noised, (d,).

        Raises BatchError, also if ``model`` is not the one that it was computed from.
        """
        if kind != "update":
            raise BatchError(
                "patients' records wait, and the policy protects each hospital as a whole: post "
                "an update to /submit-update, or agree on a policy whose noise.unit is patient"
            )
        base, vector = self._open(payload)
        if base != model_hash(model):
            raise BatchError(str(StaleUpdate()))
        return vector

    def _seal(self, base: bytes, packed: bytes) -> bytes:
        nonce = self._randomness.draw(aead.NONCE_BYTES)
        return nonce + aead.seal(self._key, base + packed, self._policy_digest, nonce)

    def _open(self, payload: bytes) -> tuple[bytes, Integers]:
        nonce, sealed = payload[: aead.NONCE_BYTES], payload[aead.NONCE_BYTES :]
        try:
            plaintext = aead.open_sealed(self._key, sealed, self._policy_digest, nonce)
        except ValueError:
            raise BatchError(
                "the waiting update was sealed under another journal key or another policy, or "
                "was altered; post it again"
            ) from None
        words = unpack(plaintext[_HASH_BYTES:], self._ring.bits, self._spec.dimension)
        return plaintext[:_HASH_BYTES], self._ring.decode(words)
