"""The sum once more, from the masked inputs of U3: what the server may have altered shows here.

O(d) memory, whatever the number of hospitals. No share and no input is needed: masked inputs and
the transcript's opened secrets are what the server itself had.
"""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from secagg import context
from secagg.checks import Check
from secagg.crypto.hashing import Label
from secagg.crypto.secret import Secret
from secagg.errors import PeerViolation
from secagg.policy import Policy
from secagg.rounds.machine import SERVER, require
from secagg.rounds.r4_unmasking import removal, surplus_noise
from secagg.transcript.record import Transcript
from secagg.vector.aggregate import Aggregate, vector_digest
from secagg.vector.stream import StreamError, VectorReceiver


@final
class Recomputation:
    """Takes the masked inputs of U3, one after the other, each in chunks in order.

    ``transcript`` must have been verified, and have a sum.
    """

    def __init__(self, transcript: Transcript, policy: Policy) -> None:
        self._transcript = transcript
        self._policy = policy
        self._aggregate = Aggregate(policy.ring, policy.vector.dimension)
        self._expected = list(transcript.masked_inputs)
        self._receiver = self._fresh()

    @property
    def expects(self) -> int | None:
        """Whose masked input continues or comes next; None if all have come."""
        return self._expected[0].u if self._expected else None

    def receive(self, u: int, start: int, data: bytes) -> None:
        """Take the next chunk of client ``u``'s masked input, bit-packed.

        Raises PeerViolation if it is not the one that is expected, or if a finished masked input
        is not the one that its hospital signed.
        """
        name = self._policy.name(u)
        require(u == self.expects, Check.STREAM_IN_ORDER, SERVER, f"masked input of {name}")
        try:
            words = self._receiver.receive(start, data)
        except StreamError as error:
            raise PeerViolation(Check.STREAM_IN_ORDER, SERVER, f"{name}: {error}") from None
        self._aggregate.add(start, words)
        if self._receiver.complete:
            signed = self._expected.pop(0).masked_digest
            matches = self._receiver.finish() == signed
            require(matches, Check.MASKED_INPUT_SIGNED, name, "other bytes than it signed")
            self._receiver = self._fresh()

    def total(self) -> NDArray[np.int64]:
        """The sum of U3's inputs, surplus noise removed: int64, shape (d,).

        Raises PeerViolation unless all masked inputs have come and this is the published sum.
        """
        policy, transcript = self._policy, self._transcript
        missing = self.expects
        require(
            missing is None,
            Check.STREAM_IN_ORDER,
            SERVER,
            f"the masked input of {policy.name(missing or 0)} is missing",
        )
        session = transcript.attempt.session
        roster = context.roster_digest(session, transcript.advertisements)
        self._aggregate.unmask(
            removal(
                policy,
                {a.u: a for a in transcript.advertisements},
                context.u2_hash(roster, transcript.dealings),
                {each.u: Secret(each.secret) for each in transcript.self_mask_seeds},
                {each.u: Secret(each.secret) for each in transcript.mask_keys},
            )
        )
        total = self._aggregate.total() - surplus_noise(
            policy,
            (record.surplus_seeds for record in transcript.answers),
            len(transcript.dealings),
            len(transcript.u3),
        )
        published = transcript.published
        require(
            published is not None
            and vector_digest(Label.SUM, total, policy.ring) == published.sum_digest,
            Check.SUM_RECOMPUTED,
            SERVER,
        )
        return total

    def _fresh(self) -> VectorReceiver:
        policy = self._policy
        return VectorReceiver(Label.MASKED_INPUT, policy.ring, policy.vector.dimension)
