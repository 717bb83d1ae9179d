"""From the spool of U3 to the sum: the one place where masked inputs come together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secagg.rounds.r4_unmasking import Unmasked
from secagg.vector.aggregate import Aggregate
from server.spool import Spool


def unmasked_sum(state: Unmasked, spool: Spool) -> NDArray[np.int64]:
    """The sum of the inputs of U3, surplus noise removed: int64, shape (d,). Blocks."""
    aggregate = Aggregate(state.policy.ring, state.policy.vector.dimension)
    for u in state.u3:
        for start, words in spool.chunks(u):
            aggregate.add(start, words)
    aggregate.unmask(state.masks)
    return aggregate.total() - state.surplus_noise()
