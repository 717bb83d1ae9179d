"""Whatever state an attempt ends in, its transcript says how far it got, and verifies."""

from __future__ import annotations

from typing import Any

import pytest

from secagg.rounds.machine import ServerState, abort
from secagg.rounds.r0_advertise_keys import Advertising
from secagg.rounds.r1_share_keys import Sharing
from secagg.rounds.r2_masked_input import Masking
from secagg.rounds.r3_consistency_check import Checking
from secagg.rounds.r4_unmasking import Unmasking
from secagg.transcript.record import decode, encode
from secagg.transcript.recording import aborted
from secagg.transcript.verification import Outcome, verify_transcript
from tests.cohorts import opened, reach
from tests.secagg.transcript.attempts import certified_attempt, published_attempt

STATES: list[type[ServerState]] = [Advertising, Sharing, Masking, Checking, Unmasking]
REASON = "the hospitals went home"


@pytest.mark.parametrize("state", STATES)
def test_an_aborted_attempt_leaves_what_there_was(state: Any) -> None:
    cohort = opened()
    transcript = aborted(reach(cohort, state), REASON)
    verified = verify_transcript(decode(encode(transcript)), cohort.policy)
    reached = STATES.index(state)
    sets = (verified.u1, verified.u2, verified.u3, verified.u4)
    everybody = tuple(cohort.policy.members)
    assert sets == tuple(everybody if reached > place else () for place in range(4))
    assert verified.outcome is Outcome.ABORTED
    assert verified.total is None
    assert transcript.ended == REASON


def test_of_an_attempt_that_has_ended_the_announcement_is_left() -> None:
    cohort = opened()
    transcript = aborted(abort(reach(cohort, Masking), "somebody cheated"), REASON)
    assert verify_transcript(transcript, cohort.policy).u1 == ()
    assert transcript.announcement == aborted(reach(opened(), Advertising), REASON).announcement


def test_a_long_reason_is_cut() -> None:
    cohort = opened()
    transcript = aborted(cohort.server.state, "x" * 5000)
    assert len(decode(encode(transcript)).ended) == 2000


def test_a_published_sum_is_in_it() -> None:
    attempt = published_attempt()
    verified = verify_transcript(attempt.transcript, attempt.policy)
    assert verified.outcome is Outcome.PUBLISHED
    assert verified.total is not None
    assert attempt.cohort.total is not None
    assert verified.total.tolist() == attempt.cohort.total.tolist()


def test_a_certified_attempt_with_dropouts() -> None:
    attempt = certified_attempt()
    verified = verify_transcript(attempt.transcript, attempt.policy)
    assert verified.outcome is Outcome.CERTIFIED
    assert verified.u2 == (1, 2, 3, 4, 5, 6, 7)
    assert verified.u3 == (1, 3, 4, 5, 6, 7)
    assert [each.u for each in attempt.transcript.mask_keys] == [2]
    assert 5 not in [each.u for each in attempt.transcript.answers]


def test_no_share_is_in_it() -> None:
    """Not one of those that the server received in answers."""
    from secagg.rounds.r2_masked_input import Masked

    cohort = opened()
    reach(cohort, Masking)
    held = [s.state.held for s in cohort.sessions.values() if isinstance(s.state, Masked)]
    reach(cohort, Unmasking)
    cohort.run()
    assert cohort.transcript is not None
    data = encode(cohort.transcript)
    for shares in held:
        for each in shares.values():
            assert each.self_mask.share not in data
            assert each.mask_key.share not in data
