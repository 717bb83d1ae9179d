"""With the masked inputs of U3 the sum is recomputed bit for bit; an altered one shows."""

from __future__ import annotations

import numpy as np
import pytest

from secagg import context
from secagg.checks import Check
from secagg.crypto.hashing import Label
from secagg.transcript.evidence import Evidence, EvidenceIntake
from secagg.transcript.recomputation import Recomputation
from secagg.transcript.record import Transcript
from secagg.transcript.verification import verify_transcript
from secagg.vector.aggregate import vector_digest
from secagg.vector.packing import pack
from secagg.vector.stream import CHUNK
from tests.cohorts import assembled, changed, flipped, refused, template, vectors
from tests.secagg.transcript.attempts import Attempt, certified_attempt, published_attempt


def recomputation(attempt: Attempt, transcript: Transcript | None = None) -> Recomputation:
    """With every masked input received."""
    found = Recomputation(transcript or attempt.transcript, attempt.policy)
    for u in attempt.transcript.u3:
        for start, data in attempt.masked_input(u):
            found.receive(u, start, data)
    return found


@pytest.mark.parametrize("attempt", [certified_attempt(), published_attempt()])
def test_the_sum_comes_out_again(attempt: Attempt) -> None:
    total = verify_transcript(attempt.transcript, attempt.policy).total
    assert total is not None
    assert recomputation(attempt).total().tolist() == total.tolist()


def test_an_altered_sum_is_found_though_everybody_signed_it() -> None:
    """The server lies to all alike: its own signature is good, only recomputing helps."""
    attempt = published_attempt()
    ring, facts = attempt.policy.ring, attempt.transcript.published
    assert facts is not None
    assert attempt.cohort.total is not None
    lie = attempt.cohort.total + np.array([1, 0, 0])
    moved = changed(facts, sum_digest=vector_digest(Label.SUM, lie, ring))
    signature = attempt.cohort.identity.sign(*context.published_sum(moved))
    altered = changed(
        attempt.transcript,
        published=changed(moved, server_signature=signature),
        total=pack(ring.encode(lie), ring.bits),
    )
    verify_transcript(altered, attempt.policy)  # nothing in it is inconsistent
    with refused(Check.SUM_RECOMPUTED):
        recomputation(attempt, altered).total()


def test_another_masked_input_is_laid_to_who_brings_it() -> None:
    attempt = published_attempt()
    found = Recomputation(attempt.transcript, attempt.policy)
    ((start, data),) = attempt.masked_input(1)
    with refused(Check.MASKED_INPUT_SIGNED, "hospital-1"):
        found.receive(1, start, bytes([data[0] ^ 1]) + data[1:])


def test_masked_inputs_of_several_chunks_are_recomputed() -> None:
    """Piece by piece through what a hospital receives, transcript included."""
    policy = template(3, dimension=CHUNK + 5, max_value=100 * CHUNK)
    cohort = assembled(policy)
    cohort.open(vectors(cohort.policy))
    cohort.run(dict.fromkeys(cohort.policy.members, "unmasking"))
    assert cohort.total is not None
    assert cohort.transcript is not None
    attempt = Attempt(cohort, cohort.transcript)
    assert len(list(attempt.masked_input(1))) == 2
    assert recomputation(attempt).total().tolist() == cohort.total.tolist()
    assert attempt.transcript.published is not None
    intake = EvidenceIntake(cohort.policy, attempt.transcript.published)
    for message in Evidence(attempt.transcript, attempt.masked_input):
        intake.receive(message)
    assert intake.recomputed().tolist() == cohort.total.tolist()


def test_order_and_completeness() -> None:
    attempt = published_attempt()
    found = Recomputation(attempt.transcript, attempt.policy)
    ((start, data),) = attempt.masked_input(2)
    with refused(Check.STREAM_IN_ORDER):
        found.receive(2, start, data)
    ((start, data),) = attempt.masked_input(1)
    with refused(Check.STREAM_IN_ORDER):
        found.receive(1, start + 8, data)
    with refused(Check.STREAM_IN_ORDER):
        found.receive(1, start, flipped(data) + b"\0")
    found.receive(1, start, data)
    assert found.expects == 2
    with refused(Check.STREAM_IN_ORDER):
        found.total()
