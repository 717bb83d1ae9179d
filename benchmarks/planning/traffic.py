"""How many bytes one hospital sends and receives in one round, counted on real messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from secagg.crypto.randomness import SeededRandomness
from secagg.policy import Policy
from secagg.simulate import Cohort
from secagg.vector.packing import packed_size
from secagg.wire.codec import encode
from secagg.wire.messages import Wire

MOST_SIMULATED: Final = 24
"""With more hospitals, messages are counted for two smaller rosters and extrapolated: what a
hospital sends and receives besides vectors grows by about the same with each other hospital."""

_FRAME: Final = 4
_SMALLER: Final = 12


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes of one hospital in a round in which nobody drops out, frames included, TLS not.

    vector: the packed vector, which is sent once (masked) and received once (the sum).
    sent, received: everything, the vector included.
    """

    vector: int
    sent: int
    received: int


def traffic(policy: Policy) -> Traffic:
    """What a hospital under ``policy`` sends and receives in one round."""
    vector = packed_size(policy.vector.dimension, policy.ring.bits)
    small = msgspec.structs.replace(
        policy,
        vector=msgspec.structs.replace(policy.vector, dimension=1),
        noise=msgspec.structs.replace(policy.noise, sensitivity=1000, rho_units=10**6),
        model=None,
        features=None,
    )
    if policy.n <= MOST_SIMULATED:
        sent, received = _besides_vectors(small)
    else:
        few, many = (_besides_vectors(_with(n, small)) for n in (_SMALLER, MOST_SIMULATED))
        further = (policy.n - MOST_SIMULATED) / (MOST_SIMULATED - _SMALLER)
        sent, received = (round(b + further * (b - a)) for a, b in zip(few, many, strict=True))
    return Traffic(vector, vector + sent, vector + received)


def _with(hospitals: int, policy: Policy) -> Policy:
    """The same with fewer hospitals, and thresholds in about the same proportion."""
    corrupt = max(1, hospitals * policy.corrupt // policy.n)
    threshold = (hospitals + corrupt) // 2 + 1
    survivors = max(threshold, corrupt + 2, hospitals * policy.min_survivors // policy.n)
    return msgspec.structs.replace(
        policy,
        roster=policy.roster[:hospitals],
        corrupt=corrupt,
        dropouts=0,
        min_survivors=survivors,
    )


def _besides_vectors(policy: Policy) -> tuple[int, int]:
    """Bytes that the first hospital sends and receives besides the vectors of one coordinate."""
    cohort = Cohort.assembled(policy, SeededRandomness(bytes(32)))
    cohort.open({u: np.zeros(1, np.int64) for u in policy.members})
    sent = received = 0
    recipients = frozenset(policy.members)
    while recipients:
        replies: list[tuple[int, Wire]] = []
        for u in sorted(recipients):
            for message in cohort.to_client(u):
                received += _size(message) if u == 1 else 0
                replies += [(u, reply) for reply in cohort.deliver(u, message)]
        recipients = frozenset()
        for u, reply in replies:
            sent += _size(reply) if u == 1 else 0
            recipients |= cohort.collect(u, reply)
    one = packed_size(1, policy.ring.bits)
    return sent - one, received - one


def _size(message: Wire) -> int:
    return _FRAME + len(encode(message))
