"""The client with a memory, against a server that is the core's own session."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import msgspec
import numpy as np
import pytest
from structlog.testing import capture_logs

from party.models import ModelStore
from secagg import context
from secagg.context import Attempt
from secagg.crypto import merkle
from secagg.crypto.signatures import verify
from secagg.errors import LocalMisuse
from secagg.model import apply, canonical_bytes, model_hash
from secagg.policy import NoiseSpec
from secagg.rounds.r1_share_keys import Dealt, Sharing, leaves
from secagg.rounds.r2_masked_input import Masking
from secagg.rounds.r3_consistency_check import Checking
from secagg.rounds.r4_unmasking import Unmasking
from secagg.rounds.r5_certification import Certifying, Concluded, abandonment
from secagg.wire.codec import encode
from secagg.wire.messages import (
    Abandonment,
    AbandonmentNotice,
    AbandonmentRequest,
    AbandonmentShare,
    AdvertiseKeys,
    Announcement,
    AttemptAborted,
    Certificate,
    CertificateNotice,
    CertificateShare,
    Complaint,
    Dealing,
    ModelChunk,
    ModelRequest,
    ModelStart,
    Ready,
    Refusal,
    ShareDelivery,
    Signed,
    SumAnnouncement,
    SurvivorSet,
    UnmaskingAnswer,
    VectorChunk,
    Wire,
)
from tests.party.consortium import SPEC, Consortium, Party, assemble


def refusal(replies: list[Wire]) -> str:
    """The reason of the one Refusal that ``replies`` are."""
    (only,) = replies
    assert isinstance(only, Refusal)
    return only.reason


def certificate_of(consortium: Consortium) -> Certificate:
    assert isinstance(consortium.server.state, Concluded)
    return consortium.server.state.certificate


def message_for(consortium: Consortium, u: int) -> Wire:
    """The one message that the server has for ``u`` in its present state."""
    (message,) = consortium.server.state.outbound(u)
    return message


def sent(party: Party) -> list[bytes]:
    """What the party's session sends after a reconnect."""
    return [encode(message) for message in party.client.repeat()]


# --- rounds ---------------------------------------------------------------------------------------


def test_all_hold_the_same_model_after_each_round(consortium: Consortium) -> None:
    for number in (1, 2, 3):
        consortium.round(number)
        for party in consortium.parties.values():
            assert party.chain.held.model == consortium.model
            assert party.journal.standing.closed == number
            assert party.chain.updates == number


def test_what_is_certified_is_the_sum_of_the_vectors(tmp_path: Path) -> None:
    plain = assemble(tmp_path, noise=NoiseSpec())
    plain.round(1)
    assert plain.total is not None
    vectors = [party.source.vector for party in plain.parties.values()]
    assert plain.total.tolist() == np.sum(vectors, axis=0).tolist()
    plain.close()


def test_every_attempt_that_masks_is_charged_once(consortium: Consortium) -> None:
    for number in (1, 2):
        consortium.round(number)
    for party in consortium.parties.values():
        assert party.ledger is not None
        budget = party.ledger.budget()
        assert budget.spent == party.ledger.cost.sum + party.ledger.cost.sum
        assert budget.affordable(party.ledger.cost.sum) == 8


def test_a_batch_is_offered_for_the_next_round(consortium: Consortium) -> None:
    party = consortium.parties[1]
    assert party.client.offer() == Ready(1)
    consortium.announce(1)
    consortium.until(Certifying)
    assert party.client.offer() is None  # it has answered: this round must end first
    consortium.run(consortium.policy.members)
    assert party.client.offer() == Ready(2)


def test_a_batch_posted_ahead_is_offered_for_its_own_number(consortium: Consortium) -> None:
    party = consortium.parties[1]
    party.source.since = 7
    assert party.client.offer() == Ready(7)
    consortium.announce(1)
    assert "CHK-007" in refusal(party.handle(message_for(consortium, 1)))
    consortium.announce(8)
    (reply,) = party.handle(message_for(consortium, 1))
    assert isinstance(reply, AdvertiseKeys)


def test_without_a_batch_no_attempt_is_entered(consortium: Consortium) -> None:
    party = consortium.parties[2]
    party.source.since = None
    assert party.client.offer() is None
    assert party.client.view().state == "no batch waits"
    consortium.announce(1)
    assert "cannot be used now" in refusal(party.handle(message_for(consortium, 2)))
    assert party.journal.standing.entered == (0, 0)


def test_nothing_is_trained_for_an_attempt_that_is_not_acceptable(consortium: Consortium) -> None:
    party = consortium.parties[1]
    consortium.announce(1)
    announcement = message_for(consortium, 1)
    assert isinstance(announcement, Announcement)
    forged = msgspec.structs.replace(announcement, signature=bytes(64))
    assert "CHK-001" in refusal(party.handle(forged))
    assert party.source.trained == []


def test_an_unusable_batch_is_explained_here_and_not_to_the_server(consortium: Consortium) -> None:
    party = consortium.parties[1]
    party.source.broken = True
    consortium.announce(1)
    reason = refusal(party.handle(message_for(consortium, 1)))
    assert "age" not in reason
    assert "record 3, age" in (party.client.view().problem or "")
    assert party.journal.standing.entered == (0, 0)


def test_an_unusable_batch_is_not_offered_until_something_changes(consortium: Consortium) -> None:
    party = consortium.parties[1]
    party.source.broken = True
    consortium.announce(1)
    refusal(party.handle(message_for(consortium, 1)))
    assert party.client.offer() is None
    assert party.client.view().state == "batch unusable"
    party.source.broken = False
    party.client.batches_changed()
    assert party.client.offer() == Ready(1)


def test_an_attempt_announced_twice_leaves_the_session_as_it_is(consortium: Consortium) -> None:
    party = consortium.parties[1]
    consortium.announce(1)
    announcement = message_for(consortium, 1)
    (entered,) = party.handle(announcement)
    assert "CHK-004" in refusal(party.handle(announcement))
    assert sent(party) == [encode(entered)]


def test_a_violation_ends_its_session_and_no_later_one(consortium: Consortium) -> None:
    party = consortium.parties[1]
    consortium.announce(1)
    consortium.until(Checking)
    shrunk = SurvivorSet(consortium.server.state.attempt.session, (1, 2))
    assert "CHK-302" in refusal(party.handle(shrunk))
    assert "in no session" in refusal(party.handle(message_for(consortium, 1)))
    consortium.round(1, attempt=2)
    assert isinstance(consortium.server.state, Concluded)
    assert party.chain.held.model == consortium.model


def test_bad_shares_end_in_a_complaint_and_nothing_masked(consortium: Consortium) -> None:
    party = consortium.parties[1]
    consortium.announce(1)
    consortium.until(Masking)
    state, delivery = consortium.server.state, message_for(consortium, 1)
    assert isinstance(state, Masking)
    assert isinstance(delivery, ShareDelivery)
    # hospital-2 signs, as its shares for hospital-1, a ciphertext that was made for hospital-3.
    dealt, roster = state.dealt[2], state.roster_digest
    shares = {**dealt.shares, 1: msgspec.structs.replace(dealt.shares[3], v=1)}
    tree = merkle.Tree(list(leaves(roster, 2, dealt.own, list(shares.values())).values()))
    commitment = dealt.dealing.seed_commitment
    statement = context.share_keys(roster, 2, tree.root, commitment)
    signature = consortium.parties[2].hospital.identity.sign(*statement)
    bad = Dealt(Dealing(2, tree.root, commitment, signature), tree, dealt.own, shares)
    delivered = tuple(
        bad.delivered_to(1) if each.dealing.u == 2 else each for each in delivery.delivered
    )
    (complaint,) = party.handle(ShareDelivery(delivery.session, delivered))
    assert isinstance(complaint, Complaint)
    assert complaint.dealer == 2
    assert party.client.view().state == "withdrawn"
    assert "hospital-2" in (party.client.view().problem or "")
    assert party.journal.standing.charged == 0


def test_a_refusal_of_the_server_is_logged_and_not_answered(consortium: Consortium) -> None:
    with capture_logs() as logs:
        assert consortium.parties[1].handle(Refusal("not today")) == []
    assert [(entry["event"], entry["reason"]) for entry in logs] == [
        ("refused by the server", "not today")
    ]


def test_an_aborted_attempt_is_left_and_another_one_is_not(consortium: Consortium) -> None:
    party = consortium.parties[1]
    consortium.announce(1)
    consortium.until(Sharing)
    assert party.handle(AttemptAborted(bytes(32), "of somebody else")) == []
    assert party.client.view().state == "advertised"
    session = consortium.server.state.attempt.session
    assert party.handle(AttemptAborted(session, "too few")) == []
    assert party.client.view().state == "ready"
    assert sent(party) == []


# --- reconnecting and restarting ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server_state", "awaiting"),
    [
        (Sharing, "KeyRoster"),
        (Masking, "ShareDelivery"),
        (Checking, "SurvivorSet"),
        (Unmasking, "SurvivorSignatures"),
        (Certifying, None),
    ],
)
def test_after_a_reconnect_the_same_bytes_are_sent_again(
    consortium: Consortium, server_state: type, awaiting: str | None
) -> None:
    party = consortium.parties[1]
    consortium.announce(1)
    consortium.until(server_state)
    first, again = sent(party), sent(party)
    assert first
    assert first == again
    hello = party.client.hello(consortium.challenge())
    assert hello.session == consortium.server.state.attempt.session
    assert hello.awaiting == awaiting


def test_hello_is_signed_and_says_where_the_hospital_stands(consortium: Consortium) -> None:
    consortium.round(1)
    consortium.announce(2, attempt=5)
    consortium.until(Sharing)
    challenge = consortium.challenge()
    hello = consortium.parties[3].client.hello(challenge)
    statement = context.hello(challenge.nonce, hello)
    assert verify(consortium.policy.identity_key(3), hello.signature, *statement)
    assert (hello.entered_round, hello.entered_attempt) == (2, 5)
    assert hello.certificate is not None
    assert hello.certificate.round == 1
    assert hello.model_hash == model_hash(consortium.model)
    assert hello.policy_digest == consortium.policy.digest()


@pytest.mark.parametrize("server_state", [Sharing, Masking, Checking])
def test_restarted_before_it_signed_u3_a_client_is_out_of_the_attempt(
    consortium: Consortium, server_state: type
) -> None:
    party = consortium.parties[1]
    consortium.announce(1)
    consortium.until(server_state)
    message = message_for(consortium, 1)
    party.restart()
    assert sent(party) == []
    assert party.client.hello(consortium.challenge()).session is None
    assert "in no session" in refusal(party.handle(message))
    # The attempt ends without it, and certification has it back.
    consortium.gone = {1}
    consortium.run(consortium.policy.members)
    assert isinstance(consortium.server.state, Concluded)
    assert 1 not in certificate_of(consortium).u3 or server_state is Checking


def test_restarted_before_it_signed_u3_a_client_cannot_enter_the_attempt_again(
    consortium: Consortium,
) -> None:
    party = consortium.parties[1]
    consortium.announce(1)
    announcement = message_for(consortium, 1)
    party.handle(announcement)
    party.restart()
    assert "CHK-004" in refusal(party.handle(announcement))


def test_restarted_after_it_signed_u3_a_client_answers(consortium: Consortium) -> None:
    party = consortium.parties[1]
    consortium.announce(1)
    consortium.until(Unmasking)
    before = sent(party)
    party.restart()
    assert party.client.hello(consortium.challenge()).awaiting == "SurvivorSignatures"
    assert sent(party) == before
    (answer,) = party.handle(message_for(consortium, 1))
    assert isinstance(answer, UnmaskingAnswer)
    consortium.collect([(1, answer)])
    consortium.run(consortium.policy.members)
    assert party.chain.held.model == consortium.model


def test_restarted_after_its_answer_a_client_sends_the_same_answer(consortium: Consortium) -> None:
    party = consortium.parties[1]
    consortium.announce(1)
    consortium.until(Unmasking)
    (answer,) = party.handle(message_for(consortium, 1))
    party.restart()
    assert sent(party) == [encode(answer)]
    assert party.client.view().state == "answered"
    consortium.announce(1, attempt=2)
    assert "CHK-005" in refusal(party.handle(message_for(consortium, 1)))
    assert sent(party) == [encode(answer)]


def test_restarted_after_signing_the_sum_a_client_is_certified(consortium: Consortium) -> None:
    party = consortium.parties[1]
    consortium.announce(1)
    consortium.until(Certifying)
    replies = [
        reply for message in consortium.server.state.outbound(1) for reply in party.handle(message)
    ]
    (share,) = replies
    assert isinstance(share, CertificateShare)
    party.restart()
    assert sent(party) == [encode(share)]
    assert party.client.view().state == "sum signed"
    assert party.client.hello(consortium.challenge()).awaiting == "CertificateNotice"
    consortium.collect([(1, share)])
    consortium.run(consortium.policy.members)
    assert party.chain.held.model == consortium.model


def test_an_answer_sealed_under_another_journal_key_is_lost_and_said_so(
    consortium: Consortium,
) -> None:
    party = consortium.parties[1]
    consortium.announce(1)
    consortium.until(Unmasking)
    stranger = consortium.parties[2].hospital
    party.hospital = replace(party.hospital, journal_key=stranger.journal_key)
    with capture_logs() as logs:
        party.restart()
    assert [entry["event"] for entry in logs] == ["sealed answer lost"]
    assert sent(party) == []


def test_a_later_attempt_ends_the_earlier_one_for_good(consortium: Consortium) -> None:
    party = consortium.parties[1]
    consortium.announce(1)
    consortium.until(Unmasking)
    signatures = message_for(consortium, 1)
    consortium.announce(1, attempt=2)
    party.handle(message_for(consortium, 1))
    party.restart()
    assert "in no session" in refusal(party.handle(signatures))


# --- the budget -----------------------------------------------------------------------------------


def allow_one_attempt(party: Party) -> None:
    """Restart the party with a budget that pays for one attempt."""
    assert party.ledger is not None
    delta = party.budget[1]
    party.budget = (Fraction(party.ledger.cost.sum.epsilon(delta)) * Fraction(1001, 1000), delta)
    party.restart()


def test_an_exhausted_budget_keeps_the_node_out_and_useful(consortium: Consortium) -> None:
    poor = consortium.parties[4]
    allow_one_attempt(poor)
    consortium.round(1)
    assert 4 in certificate_of(consortium).u3
    assert poor.client.offer() is None
    assert poor.client.view().state == "budget exhausted"
    consortium.round(2)
    assert consortium.refusals == {
        4: ["this hospital's privacy budget does not allow this attempt"]
    }
    assert 4 not in certificate_of(consortium).u3
    assert 4 in {signed.u for signed in certificate_of(consortium).signatures}
    assert poor.chain.held.model == consortium.model
    assert poor.source.trained == [1]


def test_a_charge_refused_at_the_last_moment_lets_nothing_masked_out(
    consortium: Consortium,
) -> None:
    poor = consortium.parties[4]
    allow_one_attempt(poor)
    consortium.announce(1)
    consortium.until(Masking)
    assert poor.ledger is not None
    # Another process spends what is left between AdvertiseKeys and the masked input.
    with poor.engine.begin() as connection:
        poor.ledger.charge(connection, Attempt(bytes(32), 1, 9, bytes(32), bytes(32)))
    with capture_logs() as logs:
        reason = refusal(poor.handle(message_for(consortium, 4)))
    assert reason == "this hospital's privacy budget does not allow this attempt"
    assert "budget refused" in [entry["event"] for entry in logs]
    assert sent(poor) == []
    assert poor.journal.standing.charged == 0
    poor.restart()
    assert poor.journal.standing.charged == 0
    consortium.run(set(consortium.policy.members) - {4})
    assert certificate_of(consortium).u3 == (1, 2, 3)
    assert poor.chain.held.model == consortium.model


def test_wasted_attempts_are_limited_until_the_operator_allows_more(
    consortium: Consortium,
) -> None:
    party = consortium.parties[1]
    for attempt in (1, 2, 3):
        consortium.announce(1, attempt)
        consortium.until(Checking)
        consortium.parties[1].handle(
            AttemptAborted(consortium.server.state.attempt.session, "a test wastes it")
        )
    assert party.client.offer() is None
    assert "extra_charged_attempts" in (party.client.view().problem or "")
    consortium.announce(1, attempt=4)
    assert "CHK-008" in refusal(party.handle(message_for(consortium, 1)))
    party.extra_attempts = 1
    party.restart()
    assert party.client.offer() == Ready(1)
    consortium.announce(1, attempt=5)
    (reply,) = party.handle(message_for(consortium, 1))
    assert isinstance(reply, AdvertiseKeys)


def test_without_noise_there_is_no_ledger(tmp_path: Path) -> None:
    plain = assemble(tmp_path, noise=NoiseSpec())
    plain.round(1)
    assert plain.parties[1].ledger is None
    assert plain.parties[1].client.offer() == Ready(2)
    plain.close()


# --- certificates and models ----------------------------------------------------------------------


def catch_up(stale: Party, holder: Party, certificate: Certificate) -> list[Wire]:
    """Bring ``stale`` the model of ``certificate`` from ``holder``, as the server relays it."""
    (request,) = stale.handle(CertificateNotice(certificate))
    assert request == ModelRequest(certificate.model_hash)
    return [reply for message in holder.handle(request) for reply in stale.handle(message)]


def test_a_stale_hospital_catches_up_from_another_one(consortium: Consortium) -> None:
    consortium.gone = {4}
    for number in (1, 2):
        consortium.round(number)
    stale = consortium.parties[4]
    assert catch_up(stale, consortium.parties[1], certificate_of(consortium)) == []
    assert stale.chain.held.model == consortium.model
    assert stale.client.offer() == Ready(3)
    stale.restart()
    assert stale.chain.held.model == consortium.model
    consortium.gone = set()
    consortium.round(3)
    assert 4 in certificate_of(consortium).u3


def test_a_certificate_without_a_quorum_changes_nothing(consortium: Consortium) -> None:
    consortium.gone = {4}
    consortium.round(1)
    good, stale = certificate_of(consortium), consortium.parties[4]
    few = msgspec.structs.replace(good, signatures=good.signatures[:2])
    other = msgspec.structs.replace(good, model_hash=bytes(32))
    for forged in (few, other):
        assert "CHK-508" in refusal(stale.handle(CertificateNotice(forged)))
        assert "CHK-508" in refusal(stale.handle(ModelStart(forged, 1)))
    assert stale.journal.certificate is None


def test_a_model_that_is_not_the_certified_one_is_not_adopted(consortium: Consortium) -> None:
    consortium.gone = {4}
    consortium.round(1)
    certificate, stale = certificate_of(consortium), consortium.parties[4]
    data = canonical_bytes(apply(consortium.model, np.ones(SPEC.dimension, np.int64), SPEC))
    assert stale.handle(ModelStart(certificate, len(data))) == []
    assert "CHK-509" in refusal(stale.handle(ModelChunk(0, data)))
    assert stale.handle(ModelChunk(0, data)) == []  # the rest of a refused model passes by
    assert stale.journal.certificate is None


@pytest.mark.parametrize("size", [1, 2**40])
def test_a_model_of_another_length_is_refused_before_its_bytes(
    consortium: Consortium, size: int
) -> None:
    consortium.gone = {4}
    consortium.round(1)
    start = ModelStart(certificate_of(consortium), size)
    assert "CHK-603" in refusal(consortium.parties[4].handle(start))


def test_a_certificate_seen_again_is_ignored(consortium: Consortium) -> None:
    consortium.round(1)
    party, certificate = consortium.parties[1], certificate_of(consortium)
    assert party.handle(CertificateNotice(certificate)) == []
    assert party.handle(ModelStart(certificate, 1)) == []
    assert party.handle(ModelChunk(0, b"x")) == []
    assert len(party.journal.certificates) == 1


def test_a_model_that_is_not_held_is_not_served(consortium: Consortium) -> None:
    assert "not the newest" in refusal(consortium.parties[1].handle(ModelRequest(bytes(32))))


def test_a_model_in_small_pieces_is_adopted_when_it_is_whole(consortium: Consortium) -> None:
    consortium.gone = {4}
    consortium.round(1)
    certificate, stale = certificate_of(consortium), consortium.parties[4]
    data = canonical_bytes(consortium.model)
    assert stale.handle(ModelStart(certificate, len(data))) == []
    for start in range(0, len(data), 10):
        assert stale.journal.certificate is None
        assert stale.handle(ModelChunk(start, data[start : start + 10])) == []
    assert stale.chain.held.model == consortium.model


@pytest.mark.parametrize(("start", "extra"), [(1, 0), (0, 1)])
def test_pieces_of_a_model_out_of_place_are_refused(
    consortium: Consortium, start: int, extra: int
) -> None:
    consortium.gone = {4}
    consortium.round(1)
    certificate, stale = certificate_of(consortium), consortium.parties[4]
    data = canonical_bytes(consortium.model)
    stale.handle(ModelStart(certificate, len(data)))
    assert "CHK-603" in refusal(stale.handle(ModelChunk(start, data + bytes(extra))))
    assert stale.journal.certificate is None


def test_a_model_that_was_certified_meanwhile_is_not_adopted_twice(consortium: Consortium) -> None:
    party = consortium.parties[1]
    consortium.announce(1)
    consortium.until(Certifying)
    for message in consortium.server.state.outbound(1):
        party.handle(message)
    consortium.gone = {1}
    consortium.run(consortium.policy.members)
    certificate, data = certificate_of(consortium), canonical_bytes(consortium.model)
    assert party.handle(ModelStart(certificate, len(data))) == []
    assert party.handle(CertificateNotice(certificate)) == []
    assert party.handle(ModelChunk(0, data)) == []
    assert len(party.journal.certificates) == 1


def test_a_database_without_its_model_is_not_started_on(consortium: Consortium) -> None:
    consortium.round(1)
    party = consortium.parties[1]
    with party.engine.begin() as connection:
        ModelStore(party.engine).keep_only(connection, [])
    with pytest.raises(LocalMisuse, match="restore the state directory"):
        party.restart()


def test_an_attempt_waits_for_the_model_that_it_starts_from(consortium: Consortium) -> None:
    consortium.gone = {4}
    consortium.round(1)
    stale, certificate = consortium.parties[4], certificate_of(consortium)
    (request,) = stale.handle(CertificateNotice(certificate))
    stale.handle(Refusal("this server does not have it yet"))
    consortium.announce(2)
    assert stale.handle(message_for(consortium, 4)) == [request]
    start, *chunks = consortium.parties[1].handle(request)
    assert stale.handle(start) == []
    assert stale.handle(message_for(consortium, 4)) == []
    (reply,) = [reply for chunk in chunks for reply in stale.handle(chunk)]
    assert isinstance(reply, AdvertiseKeys)
    assert reply.round == 2


def other_certificate(consortium: Consortium, certificate: Certificate) -> Certificate:
    """The same certificate for another model hash, truly signed by everybody but party 1."""
    other = msgspec.structs.replace(certificate, model_hash=bytes(32), signatures=())
    statement = context.certificate(other, other.model_hash)
    return msgspec.structs.replace(
        other,
        signatures=tuple(
            Signed(u, party.hospital.identity.sign(*statement))
            for u, party in consortium.parties.items()
            if u != 1
        ),
    )


def test_a_certificate_against_ones_own_computation_is_disputed(consortium: Consortium) -> None:
    party = consortium.parties[1]
    consortium.announce(1)
    consortium.until(Certifying)
    for message in consortium.server.state.outbound(1):
        party.handle(message)
    consortium.gone = {1}
    consortium.run(consortium.policy.members)
    disputed = other_certificate(consortium, certificate_of(consortium))
    assert "CHK-509" in refusal(party.handle(CertificateNotice(disputed)))
    assert "CHK-509" in refusal(party.handle(ModelStart(disputed, 1)))
    assert party.journal.certificate is None
    assert party.client.offer() is None
    assert party.client.view().state == "sum signed"
    assert "CHK-509" in (party.client.view().problem or "")
    # The others go on; with their next certificate this hospital follows.
    consortium.round(2)
    assert catch_up(party, consortium.parties[2], certificate_of(consortium)) == []
    assert party.chain.held.model == consortium.model
    assert party.client.offer() == Ready(3)


# --- the published sum ----------------------------------------------------------------------------


def published(consortium: Consortium) -> list[Wire]:
    """The announcement and the chunks of the sum, in a consortium that is certifying."""
    consortium.announce(1)
    consortium.until(Certifying)
    return list(consortium.server.state.outbound(1))


def test_a_sum_published_again_gets_the_same_signature(consortium: Consortium) -> None:
    party, messages = consortium.parties[1], published(consortium)
    first = [reply for message in messages for reply in party.handle(message)]
    again = [reply for message in messages for reply in party.handle(message)]
    assert first == again
    assert isinstance(first[0], CertificateShare)


def test_a_second_sum_of_the_round_is_refused(consortium: Consortium) -> None:
    party, messages = consortium.parties[1], published(consortium)
    for message in messages:
        party.handle(message)
    announcement, *chunks = messages
    assert isinstance(announcement, SumAnnouncement)
    facts = msgspec.structs.replace(announcement.published, sum_digest=bytes(32))
    other = SumAnnouncement(announcement.session, facts)
    assert "CHK-507" in refusal(party.handle(other))
    assert [reply for chunk in chunks for reply in party.handle(chunk)] == []


def test_an_altered_sum_is_not_signed(consortium: Consortium) -> None:
    party, (announcement, chunk) = consortium.parties[1], published(consortium)
    assert isinstance(chunk, VectorChunk)
    party.handle(announcement)
    altered = bytes([chunk.data[0] ^ 1]) + chunk.data[1:]
    assert "CHK-502" in refusal(party.handle(VectorChunk(chunk.session, chunk.start, altered)))
    assert party.handle(chunk) == []
    assert party.journal.standing.signed is None


def test_chunks_of_nothing_and_a_second_greeting_are_violations(consortium: Consortium) -> None:
    party = consortium.parties[1]
    strays: list[Wire] = [
        VectorChunk(bytes(32), 0, b"x"),
        ModelChunk(0, b"x"),
        consortium.challenge(),
    ]
    for stray in strays:
        assert "CHK-601" in refusal(party.handle(stray))


def test_a_chunk_out_of_order_is_a_violation(consortium: Consortium) -> None:
    party, (announcement, chunk) = consortium.parties[1], published(consortium)
    assert isinstance(chunk, VectorChunk)
    party.handle(announcement)
    assert "CHK-603" in refusal(party.handle(VectorChunk(chunk.session, 8, chunk.data)))
    party.handle(announcement)
    assert "CHK-602" in refusal(party.handle(VectorChunk(bytes(32), 0, chunk.data)))


# --- abandonment ----------------------------------------------------------------------------------


def request_of(consortium: Consortium, number: int) -> AbandonmentRequest:
    return AbandonmentRequest(number, model_hash(consortium.model), "answers are missing")


def abandon(consortium: Consortium, number: int) -> Abandonment:
    """Have everybody sign the abandonment of a round; the server's document."""
    signatures: dict[int, bytes] = {}
    for u, replies in consortium.notify(request_of(consortium, number)).items():
        (share,) = replies
        assert isinstance(share, AbandonmentShare)
        signatures[u] = share.signature
    document = abandonment(consortium.policy, number, model_hash(consortium.model), signatures)
    assert document is not None
    return document


def test_after_an_abandonment_the_next_round_starts_from_the_same_model(
    consortium: Consortium,
) -> None:
    consortium.announce(1)
    consortium.until(Unmasking)
    consortium.parties[2].handle(message_for(consortium, 2))  # it has answered
    document = abandon(consortium, 1)
    for party in consortium.parties.values():
        assert party.handle(AbandonmentNotice(document)) == []
        assert party.journal.standing.closed == 1
        assert party.client.offer() == Ready(2)
    consortium.round(2)
    assert certificate_of(consortium).u3 == (1, 2, 3, 4)
    for party in consortium.parties.values():
        assert party.chain.held.model == consortium.model
        assert party.journal.standing.charged == 0


@pytest.mark.parametrize("restarting", [False, True])
def test_whoever_signed_an_abandonment_does_nothing_more_in_that_round(
    consortium: Consortium, restarting: bool
) -> None:
    party = consortium.parties[1]
    consortium.announce(1)
    consortium.until(Unmasking)
    signatures = message_for(consortium, 1)
    (share,) = party.handle(request_of(consortium, 1))
    if restarting:
        party.restart()
    assert "in no session" in refusal(party.handle(signatures))
    consortium.announce(1, attempt=2)
    assert "CHK-005" in refusal(party.handle(message_for(consortium, 1)))
    assert party.handle(request_of(consortium, 1)) == [share]


def test_a_round_that_has_not_begun_here_is_not_abandoned(consortium: Consortium) -> None:
    assert "CHK-510" in refusal(consortium.parties[1].handle(request_of(consortium, 2)))


def test_a_round_whose_sum_is_signed_is_not_abandoned(consortium: Consortium) -> None:
    party = consortium.parties[1]
    for message in published(consortium):
        party.handle(message)
    assert "CHK-510" in refusal(party.handle(request_of(consortium, 1)))


def test_an_abandonment_without_a_quorum_changes_nothing(consortium: Consortium) -> None:
    document = abandon(consortium, 1)
    few = msgspec.structs.replace(document, signatures=document.signatures[:2])
    party = consortium.parties[1]
    assert "CHK-511" in refusal(party.handle(AbandonmentNotice(few)))
    assert party.journal.standing.closed == 0
    assert party.handle(AbandonmentNotice(document)) == []
    assert party.handle(AbandonmentNotice(document)) == []
    assert party.client.hello(consortium.challenge()).abandonment == document


def test_an_abandonment_does_not_hide_an_older_certificate_that_is_missing(
    consortium: Consortium,
) -> None:
    consortium.gone = {4}
    consortium.round(1)
    document = abandon(consortium, 2)
    stale = consortium.parties[4]
    stale.handle(AbandonmentNotice(document))
    assert catch_up(stale, consortium.parties[1], certificate_of(consortium)) == []
    assert stale.chain.held.model == consortium.model
    assert stale.client.offer() == Ready(3)


# --- what is never said ---------------------------------------------------------------------------


def test_logs_hold_no_keys_shares_or_vectors(consortium: Consortium) -> None:
    party = consortium.parties[1]
    party.source.vector = np.array([577, -733, 911, 0, 1, 16], np.int64)
    with capture_logs() as logs:
        consortium.round(1)
        consortium.round(2)
    assert {entry["event"] for entry in logs} >= {"advertised", "answered", "certified"}
    for entry in logs:
        assert not any(isinstance(value, bytes | np.ndarray) for value in entry.values())
        assert not any(number in str(entry) for number in ("577", "733", "911"))
        hexadecimal = {
            value for value in entry.values() if isinstance(value, str) and len(value) == 64
        }
        assert hexadecimal <= {model.hex() for model in [party.chain.held.model_hash]} | {
            certificate.model_hash.hex() for certificate in party.journal.certificates
        }
