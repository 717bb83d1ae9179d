"""Round 3: one signature on one U3, and the sealed answer that a restart needs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from secagg import context
from secagg.checks import Check
from secagg.crypto.aead import AuthenticationFailure
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import verify
from secagg.rounds.journal import SurvivorSigned
from secagg.rounds.machine import Aborted, Hospital
from secagg.rounds.r2_masked_input import Masked, Masking
from secagg.rounds.r3_consistency_check import Checking, Confirmed, restore, unseal_answer
from secagg.rounds.r4_unmasking import Unmasking
from secagg.rounds.session import ClientSession
from secagg.simulate import Cohort
from secagg.wire.codec import encode
from secagg.wire.messages import SurvivorSignature
from tests.cohorts import (
    changed,
    delivered,
    flipped,
    message_for,
    opened,
    reach,
    refused,
    state_of,
    step,
    stranger,
)


@pytest.fixture
def checking() -> Cohort:
    """U3 = {1, 2, 3} is announced; hospital 4 has dropped."""
    cohort = opened()
    reach(cohort, Masking)
    reach(cohort, Checking, (1, 2, 3))
    return cohort


def entry_of(cohort: Cohort, u: int) -> SurvivorSigned:
    entry = cohort.journals[u][-1]
    assert isinstance(entry, SurvivorSigned)
    return entry


def test_the_signature_is_on_this_u3_in_this_session(checking: Cohort) -> None:
    state = reach(checking, Checking)
    (message,) = delivered(checking, 1, message_for(checking, 1))
    assert isinstance(message, SurvivorSignature)
    statement = context.survivor(state.attempt.session, state.u2_hash, 1, (1, 2, 3))
    assert verify(checking.policy.identity_key(1), message.signature, *statement)


def test_the_answer_is_durable_and_sealed_before_the_signature_leaves(checking: Cohort) -> None:
    next(iter(checking.deliver(1, message_for(checking, 1))))
    entry = entry_of(checking, 1)
    assert (entry.u3, entry.attempt) == ((1, 2, 3), checking.server.state.attempt)
    answer = unseal_answer(state_of(checking, 1, Confirmed))
    for opened_share in (*answer.self_mask_shares, *answer.mask_key_shares):
        assert opened_share.share not in entry.sealed_answer
        assert opened_share.salt not in entry.sealed_answer
    assert encode(answer) not in entry.sealed_answer


def test_the_secrets_that_an_answer_is_not_made_of_never_touch_disk(checking: Cohort) -> None:
    """Shares of the kind that U3 does not call for are nowhere in what the journal is given."""
    held = state_of(checking, 1, Masked).held
    delivered(checking, 1, message_for(checking, 1))
    answer = encode(unseal_answer(state_of(checking, 1, Confirmed)))
    for v in (1, 2, 3):
        assert held[v].self_mask.share in answer
        assert held[v].mask_key.share not in answer
    assert held[4].mask_key.share in answer
    assert held[4].self_mask.share not in answer


def test_a_client_restarts_from_its_journal_and_answers(checking: Cohort) -> None:
    (before,) = delivered(checking, 1, message_for(checking, 1))
    unsealed = unseal_answer(state_of(checking, 1, Confirmed))
    restored = restore(checking.hospitals[1], entry_of(checking, 1))
    checking.sessions[1] = ClientSession(restored)
    assert list(restored.outbound) == [before]
    checking.collect(1, before)
    reach(checking, Unmasking, (2, 3))
    assert delivered(checking, 1, message_for(checking, 1)) == [unsealed]


@pytest.mark.parametrize("damage", ["another journal key", "another session", "altered bytes"])
def test_a_sealed_answer_opens_with_its_own_key_and_context_only(
    checking: Cohort, damage: str
) -> None:
    delivered(checking, 1, message_for(checking, 1))
    hospital, entry = checking.hospitals[1], entry_of(checking, 1)
    match damage:
        case "another journal key":
            key = Secret(bytes(32))
            hospital = Hospital(hospital.policy, 1, hospital.identity, key)
        case "another session":
            entry = replace(entry, u2_hash=bytes(32))
        case _:
            entry = replace(entry, sealed_answer=flipped(entry.sealed_answer))
    with pytest.raises(AuthenticationFailure):
        unseal_answer(restore(hospital, entry))


def test_two_answers_are_never_sealed_alike(checking: Cohort) -> None:
    masked, message = checking.sessions[1].state, message_for(checking, 1)
    sealed = set()
    for _ in range(2):
        checking.sessions[1] = ClientSession(masked)
        delivered(checking, 1, message)
        sealed.add(entry_of(checking, 1).sealed_answer)
    assert len(sealed) == 2


def test_the_server_takes_signatures_on_its_own_u3_by_members_only(checking: Cohort) -> None:
    state = reach(checking, Checking)
    session = state.attempt.session
    (good,) = delivered(checking, 1, message_for(checking, 1))

    def signed(u: int, u3: tuple[int, ...], by: int = 0) -> SurvivorSignature:
        statement = context.survivor(session, state.u2_hash, u, u3)
        return SurvivorSignature(session, checking.hospitals[by or u].identity.sign(*statement))

    stranger_signed = SurvivorSignature(
        session, stranger(b"x").sign(*context.survivor(session, state.u2_hash, 1, state.u3))
    )
    for u, forged in (
        (1, changed(good, signature=flipped(good.signature))),
        (1, signed(1, (1, 2, 3, 4))),
        (1, signed(1, (1, 2, 3), by=2)),
        (1, stranger_signed),
        (2, good),
        (4, signed(4, (1, 2, 3))),
    ):
        with refused(Check.SURVIVOR_SIGNED, f"hospital-{u}"):
            checking.collect(u, forged)
    assert checking.server.state is state
    checking.collect(1, good)
    assert checking.server.state.awaited() == {2, 3}


def test_the_round_ends_with_t_signatures_or_in_an_abort() -> None:
    cohort = opened()
    reach(cohort, Checking)
    step(cohort, [1, 2, 4])
    assert cohort.server.close() == {1, 2, 4}
    assert reach(cohort, Unmasking).awaited() == {1, 2, 4}
    too_few = opened()
    reach(too_few, Checking)
    step(too_few, [1, 2])
    assert too_few.server.close() == {1, 2, 3, 4}
    state = too_few.server.state
    assert isinstance(state, Aborted)
    assert state.reason == "2 of at least 3 survivors signed U3"
