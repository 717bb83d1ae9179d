"""Attack 14 on real nodes: a sum that is not the signed one; one lie told to everybody alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from secagg.checks import Check
from secagg.rounds.machine import ServerStep
from secagg.rounds.r5_certification import Certifying
from secagg.rounds.session import ServerSession
from secagg.transcript.evidence import Evidence
from secagg.vector.aggregate import packed_chunks
from secagg.vector.packing import pack
from secagg.wire.messages import CertificateShare, SumAnnouncement, VectorChunk
from tests.attacks.processes.siege import Siege, besieged, siege_policy
from tests.attacks.test_14_altered_sum import published_by
from tests.cohorts import changed, reach, refused
from tests.secagg.transcript.attempts import Attempt


def given_another_sum(siege: Siege) -> list[Any]:
    """The replies to chunks that are not those of the signed sum."""
    state = reach(siege.cohort, Certifying)
    session, ring = state.attempt.session, siege.policy.ring
    siege.tell(SumAnnouncement(session, state.published))
    return [
        reply
        for start, data in packed_chunks(state.total + 1, ring)
        for reply in siege.tell(VectorChunk(session, start, data))
    ]


def test_a_sum_that_is_not_the_signed_one_is_refused(tmp_path: Path) -> None:
    with besieged(tmp_path) as siege, refused(Check.SUM_MATCHES):
        given_another_sum(siege)


def test_without_that_check_this_node_has_a_model_of_its_own(tmp_path: Path) -> None:
    with besieged(tmp_path, removed=[Check.SUM_MATCHES]) as siege:
        (share,) = given_another_sum(siege)
        assert isinstance(share, CertificateShare)


def lied_to(siege: Siege) -> list[Any]:
    """The server signs a lie, with a transcript to match, and tells it to everybody."""
    cohort = siege.cohort
    state = reach(cohort, Certifying)
    assert cohort.transcript is not None
    lie = state.total + np.eye(1, state.total.size, dtype=np.int64)[0]
    facts = published_by(cohort, lie)
    ring = siege.policy.ring
    transcript = changed(
        cohort.transcript, published=facts, total=pack(ring.encode(lie), ring.bits)
    )
    evidence = Evidence(transcript, Attempt(cohort, transcript).masked_input)
    cohort.server = ServerSession(
        ServerStep(replace(state, published=facts, total=lie, evidence=evidence))
    )
    return [reply for message in cohort.to_client(siege.real) for reply in siege.tell(message)]


def test_a_node_that_recomputes_does_not_sign_a_lie(tmp_path: Path) -> None:
    policy = siege_policy(verification="recompute")
    with besieged(tmp_path, policy=policy) as siege, refused(Check.SUM_RECOMPUTED):
        lied_to(siege)


def test_one_that_does_not_recompute_signs_it(tmp_path: Path) -> None:
    with besieged(tmp_path) as siege:
        (share,) = lied_to(siege)
        assert isinstance(share, CertificateShare)
