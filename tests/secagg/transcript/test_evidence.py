"""Under ``verification = "recompute"`` nobody signs a sum that its masked inputs do not give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from secagg import context
from secagg.checks import Check
from secagg.crypto.hashing import Label
from secagg.errors import DecodeError
from secagg.policy import MAX_RECOMPUTED, Policy, VectorSpec, checked
from secagg.rounds.machine import ServerStep
from secagg.rounds.r5_certification import Certifying, Concluded, SumReceived, sign_sum
from secagg.rounds.session import ServerSession
from secagg.simulate import Cohort
from secagg.transcript.evidence import (
    PIECE,
    Evidence,
    EvidenceIntake,
    EvidenceMessage,
    TranscriptIntake,
    in_pieces,
    longest,
)
from secagg.transcript.record import Transcript, encode
from secagg.vector.aggregate import vector_digest
from secagg.vector.packing import pack
from secagg.wire.messages import (
    MaskedInputChunk,
    SumAnnouncement,
    TranscriptChunk,
    TranscriptStart,
    VectorChunk,
)
from tests.cohorts import (
    assembled,
    changed,
    delivered,
    flipped,
    reach,
    refused,
    template,
    vectors,
)
from tests.secagg.transcript.attempts import Attempt, certified_attempt, published_attempt


def recomputing() -> Policy:
    return checked(msgspec.structs.replace(template(4), verification="recompute"))


def published_cohort() -> Cohort:
    """The sum is published under a policy that demands to recompute it; nobody has signed."""
    cohort = assembled(recomputing())
    cohort.open(vectors(cohort.policy))
    reach(cohort, Certifying)
    return cohort


def messages(cohort: Cohort, u: int = 1) -> list[Any]:
    return list(cohort.to_client(u))


def test_a_round_is_certified_by_hospitals_that_recomputed_its_sum() -> None:
    cohort = assembled(recomputing())
    cohort.open(vectors(cohort.policy))
    cohort.run({2: "share_keys"})
    assert isinstance(cohort.server.state, Concluded)
    kinds = [type(m) for m in messages(published_cohort())]
    assert kinds == [
        SumAnnouncement,
        TranscriptStart,
        TranscriptChunk,
        *[MaskedInputChunk] * 4,
        VectorChunk,
    ]


def test_without_such_a_policy_nothing_of_it_is_sent() -> None:
    cohort = published_attempt().cohort
    assert [type(m) for m in messages(cohort, 1)] == [SumAnnouncement, VectorChunk]


def test_a_sum_without_evidence_is_not_signed() -> None:
    cohort = published_cohort()
    announcement, *_, chunk = messages(cohort)
    assert delivered(cohort, 1, announcement) == []
    with refused(Check.SUM_RECOMPUTED):
        delivered(cohort, 1, chunk)


def test_attack_14_a_lie_told_to_everybody_alike() -> None:
    """Signed, bounded, with a consistent transcript: without recomputing all would sign it."""
    cohort = published_cohort()
    state, ring = cohort.server.state, cohort.policy.ring
    assert isinstance(state, Certifying)
    assert cohort.transcript is not None
    lie = state.total + np.array([1, 0, 0])
    facts = changed(state.published, sum_digest=vector_digest(Label.SUM, lie, ring))
    signature = cohort.identity.sign(*context.published_sum(facts))
    facts = changed(facts, server_signature=signature)
    transcript = changed(
        cohort.transcript, published=facts, total=pack(ring.encode(lie), ring.bits)
    )
    evidence = Evidence(transcript, Attempt(cohort, transcript).masked_input)
    cohort.server = ServerSession(
        ServerStep(replace(state, published=facts, total=lie, evidence=evidence))
    )
    *before, last = messages(cohort)
    for message in before:
        assert delivered(cohort, 1, message) == []
    with refused(Check.SUM_RECOMPUTED):
        delivered(cohort, 1, last)


def test_a_missing_masked_input_is_noticed() -> None:
    cohort = published_cohort()
    announcement, start, chunk, *masked, last = messages(cohort)
    for message in (announcement, start, chunk, *masked[:-1]):
        delivered(cohort, 1, message)
    with refused(Check.STREAM_IN_ORDER):
        delivered(cohort, 1, last)


# --- out of turn ---------------------------------------------------------------------------------


def test_evidence_of_another_sum_is_refused() -> None:
    other = certified_attempt()
    facts = published_attempt().transcript.published
    assert facts is not None
    intake = EvidenceIntake(other.policy, facts)
    start, chunk = in_pieces(1, encode(other.transcript))
    intake.receive(start)
    with refused(Check.SUM_RECOMPUTED):
        intake.receive(chunk)


def evidence() -> tuple[EvidenceIntake, Iterator[EvidenceMessage]]:
    attempt = published_attempt()
    assert attempt.transcript.published is not None
    intake = EvidenceIntake(attempt.policy, attempt.transcript.published)
    return intake, iter(Evidence(attempt.transcript, attempt.masked_input))


def test_order() -> None:
    intake, sent = evidence()
    start, chunk, masked, *_ = sent
    for early in (chunk, masked):
        with refused(Check.STREAM_IN_ORDER):
            intake.receive(early)
    intake.receive(start)
    with refused(Check.STREAM_IN_ORDER):
        intake.receive(start)
    intake.receive(chunk)
    with refused(Check.STREAM_IN_ORDER):
        intake.receive(chunk)
    assert isinstance(masked, MaskedInputChunk)
    with refused(Check.SESSION_MATCHES):
        intake.receive(changed(masked, session=bytes(32)))
    assert intake.transcript == published_attempt().transcript


# --- in pieces -----------------------------------------------------------------------------------


def test_a_transcript_comes_back_from_its_pieces() -> None:
    attempt = certified_attempt()
    data = encode(attempt.transcript)
    start = TranscriptStart(7, len(data))
    intake = TranscriptIntake(attempt.policy, start)
    found: Transcript | None = None
    for place in range(0, len(data), 1000):
        assert found is None
        found = intake.receive(TranscriptChunk(7, place, data[place : place + 1000]))
    assert found == attempt.transcript
    assert next(in_pieces(7, data)) == start
    assert [*in_pieces(7, b"")] == [TranscriptStart(7, 0)]
    chunks = [m for m in in_pieces(7, bytes(2 * PIECE + 1)) if isinstance(m, TranscriptChunk)]
    assert [chunk.start for chunk in chunks] == [0, PIECE, 2 * PIECE]


@pytest.mark.parametrize(
    "chunk",
    [
        TranscriptChunk(8, 0, b"x"),
        TranscriptChunk(7, 1, b"x"),
        TranscriptChunk(7, 0, bytes(101)),
        TranscriptChunk(7, 0, bytes(100)),
    ],
    ids=["another round", "not in order", "too much", "no transcript"],
)
def test_bad_pieces(chunk: TranscriptChunk) -> None:
    intake = TranscriptIntake(template(4), TranscriptStart(7, 100))
    with refused(Check.STREAM_IN_ORDER):
        intake.receive(chunk)


def test_no_transcript_is_longer_than_what_is_let_in() -> None:
    attempt = certified_attempt()
    assert len(encode(attempt.transcript)) <= longest(attempt.policy)
    with refused(Check.STREAM_IN_ORDER):
        TranscriptIntake(attempt.policy, TranscriptStart(1, longest(attempt.policy) + 1))


def test_the_longest_transcript_fits() -> None:
    """Every list full, every field at its longest."""
    policy = template(40, dropouts=10)
    attempt = certified_attempt().transcript
    n = policy.n
    assert attempt.published is not None
    assert attempt.certificate is not None
    signatures = tuple(changed(attempt.survivor_signatures[0], u=u) for u in policy.members)
    seeds = tuple(flipped(bytes(32)) for _ in range(n))
    longest_one = changed(
        attempt,
        advertisements=tuple(changed(attempt.advertisements[0], u=u) for u in policy.members),
        dealings=tuple(changed(attempt.dealings[0], u=u) for u in policy.members),
        masked_inputs=tuple(changed(attempt.masked_inputs[0], u=u) for u in policy.members),
        survivor_signatures=signatures,
        answers=tuple(
            changed(attempt.answers[0], u=u, surplus_seeds=seeds) for u in policy.members
        ),
        self_mask_seeds=tuple(changed(attempt.self_mask_seeds[0], u=u) for u in policy.members),
        mask_keys=tuple(changed(attempt.mask_keys[0], u=u) for u in policy.members),
        published=changed(attempt.published, survivor_signatures=signatures),
        certificate=changed(attempt.certificate, signatures=signatures),
        total=bytes(8 * policy.vector.dimension),
        ended="x" * 2000,
    )
    assert len(encode(longest_one)) <= longest(policy)


def test_a_policy_that_would_have_everybody_download_too_much_is_refused() -> None:
    large = VectorSpec(dimension=MAX_RECOMPUTED // 4 + 1, max_value=1)
    with pytest.raises(DecodeError, match="recompute"):
        checked(msgspec.structs.replace(recomputing(), vector=large))
    checked(msgspec.structs.replace(template(4), vector=large))


def test_signing_itself_demands_the_recomputed_sum() -> None:
    """Whatever the shell around it does: without the sum, or with another one, nobody signs."""
    cohort = published_cohort()
    state = cohort.server.state
    assert isinstance(state, Certifying)
    announcement = SumAnnouncement(state.attempt.session, state.published)
    for recomputed in (None, state.total + 1):
        with refused(Check.SUM_RECOMPUTED):
            sign_sum(
                cohort.hospitals[1],
                SumReceived(announcement, state.total),
                standing=cohort.standings[1],
                base_model_hash=cohort.base_model_hash,
                next_model_hash=cohort.next_model_hash,
                recomputed=recomputed,
            )
