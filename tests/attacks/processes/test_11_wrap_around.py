"""Attack 11 on a real node: a sum that no hospitals can add up to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from secagg import context
from secagg.checks import Check
from secagg.crypto.hashing import Label
from secagg.rounds.r5_certification import Certifying
from secagg.vector.aggregate import packed_chunks, vector_digest
from secagg.wire.messages import CertificateShare, SumAnnouncement, VectorChunk
from tests.attacks.processes.siege import Siege, besieged
from tests.cohorts import changed, reach, refused


def beyond_the_bound(siege: Siege) -> list[Any]:
    """The replies to a published sum of which one coordinate has wrapped around."""
    state = reach(siege.cohort, Certifying)
    policy, session = siege.policy, state.attempt.session
    total = np.zeros(policy.vector.dimension, np.int64)
    total[0] = policy.n * policy.max_coordinate + 1
    unsigned = changed(state.published, sum_digest=vector_digest(Label.SUM, total, policy.ring))
    signature = siege.cohort.identity.sign(*context.published_sum(unsigned))
    siege.tell(SumAnnouncement(session, changed(unsigned, server_signature=signature)))
    return [
        reply
        for start, data in packed_chunks(total, policy.ring)
        for reply in siege.tell(VectorChunk(session, start, data))
    ]


def test_a_node_signs_no_sum_beyond_the_bound(tmp_path: Path) -> None:
    with besieged(tmp_path) as siege, refused(Check.SUM_BOUNDED):
        beyond_the_bound(siege)


def test_without_that_check_it_makes_a_model_of_it(tmp_path: Path) -> None:
    with besieged(tmp_path, removed=[Check.SUM_BOUNDED]) as siege:
        (share,) = beyond_the_bound(siege)
        assert isinstance(share, CertificateShare)
