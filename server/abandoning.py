"""Hospitals' signatures that a training round ends without a model, until there are t of them."""

from __future__ import annotations

from typing import final

from secagg.policy import Policy
from secagg.rounds.r5_certification import abandonment, check_abandonment_share
from secagg.wire.messages import Abandonment, AbandonmentRequest, AbandonmentShare


@final
class Abandoning:
    """Round ``number``, which starts from the model with ``base_model_hash``."""

    def __init__(self, policy: Policy, number: int, base_model_hash: bytes, reason: str) -> None:
        self._policy = policy
        self._base_model_hash = base_model_hash
        self._reason = reason
        self._signatures: dict[int, bytes] = {}
        self.round = number

    @property
    def request(self) -> AbandonmentRequest:
        """What every connected party is asked."""
        return AbandonmentRequest(self.round, self._base_model_hash, self._reason)

    def collect(self, u: int, share: AbandonmentShare) -> Abandonment | None:
        """Take one signature; the abandonment once t have signed.

        A share for another round counts for nothing. Raises PeerViolation for a bad signature.
        """
        if share.round != self.round:
            return None
        check_abandonment_share(
            self._policy, u, share.round, self._base_model_hash, share.signature
        )
        self._signatures[u] = share.signature
        return abandonment(self._policy, self.round, self._base_model_hash, self._signatures)
