"""Attack 4: the server chooses what only the policy may: session id, policy, threshold, graph."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from secagg.checks import Check
from secagg.context import Attempt
from secagg.policy import Policy, checked
from secagg.rounds.journal import Entered
from secagg.rounds.r1_share_keys import Sharing
from secagg.rounds.r2_masked_input import Masking
from secagg.rounds.r3_consistency_check import Checking
from secagg.rounds.r4_unmasking import Unmasking
from secagg.simulate import Cohort
from secagg.wire.messages import Announcement, FromServer
from tests.cohorts import (
    changed,
    delivered,
    flipped,
    message_for,
    opened,
    reach,
    refused,
    stranger,
    template,
    without,
)


def announced_under(cohort: Cohort, policy: Policy, base_model_hash: bytes) -> Announcement:
    """An announcement of another policy or model, properly signed by the server."""
    original = message_for(cohort, 1)
    attempt = Attempt(
        policy.digest(),
        original.round,
        original.attempt,
        base_model_hash,
        original.server_nonce,
    )
    return Announcement(
        policy_digest=attempt.policy_digest,
        round=attempt.round,
        attempt=attempt.attempt,
        base_model_hash=base_model_hash,
        server_nonce=attempt.server_nonce,
        signature=cohort.identity.sign(*attempt.statement()),
    )


def lower_floor(policy: Policy) -> Policy:
    return checked(msgspec.structs.replace(policy, min_survivors=policy.min_survivors - 1))


def smaller_quorum(policy: Policy) -> Policy:
    return checked(msgspec.structs.replace(policy, corrupt=1))


def another_ring(policy: Policy) -> Policy:
    vector = msgspec.structs.replace(policy.vector, max_value=policy.vector.max_value * 1000)
    return checked(msgspec.structs.replace(policy, vector=vector))


@pytest.mark.parametrize("change", [lower_floor, smaller_quorum, another_ring])
def test_a_changed_policy_is_refused(change: Callable[[Policy], Policy]) -> None:
    cohort = opened(template(7, corrupt=2, dropouts=0, min_survivors=7))
    announcement = announced_under(cohort, change(cohort.policy), cohort.base_model_hash)
    with refused(Check.POLICY_PINNED):
        delivered(cohort, 1, announcement)


def test_without_that_check_the_session_still_is_the_pinned_policys() -> None:
    """The client recomputes the session from its own policy: the signature is on another one."""
    cohort = opened(template(4))
    announcement = announced_under(cohort, another_ring(cohort.policy), cohort.base_model_hash)
    with without(Check.POLICY_PINNED), refused(Check.ANNOUNCEMENT_SIGNED):
        delivered(cohort, 1, announcement)


def test_an_announcement_that_the_pinned_server_did_not_sign_is_refused() -> None:
    cohort = opened()
    original = message_for(cohort, 1)
    statement = cohort.server.state.attempt.statement()
    for signature in (
        stranger(b"server").sign(*statement),
        cohort.hospitals[2].identity.sign(*statement),
        flipped(original.signature),
    ):
        with refused(Check.ANNOUNCEMENT_SIGNED):
            delivered(cohort, 1, changed(original, signature=signature))


@pytest.mark.parametrize("field", ["round", "attempt", "server_nonce"])
def test_every_part_of_the_session_is_signed(field: str) -> None:
    cohort = opened()
    original = message_for(cohort, 1)
    value = getattr(original, field)
    other = flipped(value) if isinstance(value, bytes) else value + 1
    with refused(Check.ANNOUNCEMENT_SIGNED):
        delivered(cohort, 1, changed(original, **{field: other}))


def test_without_that_check_a_stranger_makes_the_journal_advance() -> None:
    cohort = opened()
    announcement = changed(message_for(cohort, 1), attempt=1000)
    with without(Check.ANNOUNCEMENT_SIGNED):
        delivered(cohort, 1, announcement)
    (entry,) = cohort.journals[1]
    assert isinstance(entry, Entered)
    assert cohort.standings[1].entered == (1, 1000)  # the highest attempt: the round is spoilt


@pytest.mark.parametrize("attempt", [0, 1001])
def test_attempts_are_bounded(attempt: int) -> None:
    cohort = opened()
    cohort.open(cohort.vectors, 1, attempt)
    with refused(Check.ATTEMPT_BOUNDED):
        delivered(cohort, 1, message_for(cohort, 1))


@pytest.mark.parametrize("number", [0, 10_002])
def test_only_rounds_that_the_batch_counts_for_are_entered(number: int) -> None:
    cohort = opened()
    cohort.open(cohort.vectors, number, 1)
    check = Check.ROUND_WANTED if number else Check.ROUND_OPEN
    with refused(check):
        delivered(cohort, 1, message_for(cohort, 1))


@pytest.mark.parametrize("stage", [Sharing, Masking, Checking, Unmasking])
def test_a_message_of_another_session_is_refused(stage: type) -> None:
    cohort = opened()
    reach(cohort, stage)
    with refused(Check.SESSION_MATCHES):
        delivered(cohort, 1, changed(message_for(cohort, 1), session=bytes(32)))


@pytest.mark.parametrize("stage", [Sharing, Checking, Unmasking])
def test_a_clients_message_of_another_session_is_refused(stage: type) -> None:
    cohort = opened()
    reach(cohort, stage)
    reply = delivered(cohort, 1, message_for(cohort, 1))[-1]
    with refused(Check.SESSION_MATCHES, "hospital-1"):
        cohort.collect(1, changed(reply, session=bytes(32)))


def test_no_message_of_the_server_carries_a_threshold_a_modulus_or_a_graph() -> None:
    """What is not on the wire cannot be believed: fields are told by name."""
    terms = {"threshold", "quorum", "modulus", "bits", "graph", "neighbours", "min_survivors"}
    carried = {name for message in FromServer.__args__ for name in message.__struct_fields__}
    assert carried
    assert not carried & terms
