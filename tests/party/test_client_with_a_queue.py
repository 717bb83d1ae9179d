"""The client of a hospital whose EHR posts: what becomes of a batch, wherever its process dies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from party.journal import SEALED_ANSWERS
from party.ledger import CHARGES
from party.queue import HasLeft, InFlight, NoQueue, State, Submission
from secagg.rounds.r0_advertise_keys import Advertising
from secagg.rounds.r1_share_keys import Sharing
from secagg.rounds.r2_masked_input import Masking
from secagg.rounds.r3_consistency_check import Checking
from secagg.rounds.r4_unmasking import Unmasking
from secagg.rounds.r5_certification import Certifying, Concluded, abandonment
from secagg.transcript.evidence import in_pieces
from secagg.transcript.record import Transcript
from secagg.transcript.record import encode as encode_transcript
from secagg.transcript.recording import certified
from secagg.wire.codec import decode_from_server, encode
from secagg.wire.messages import (
    AbandonmentNotice,
    AbandonmentRequest,
    AbandonmentShare,
    AttemptAborted,
    CertificateNotice,
    GatheringNotice,
    Ready,
    Refusal,
    TranscriptRequest,
    TranscriptStart,
    Wire,
)
from tests.party.consortium import SPEC, Consortium, Party, assemble, posted

WEIGHT = SPEC.contribution.count_weight


def post(consortium: Consortium, number: int, *us: int) -> dict[int, Submission]:
    """Each of these hospitals posts a batch of its own for round ``number``."""
    return {
        u: consortium.parties[u].client.submit(posted(number, (u, -u, 2 * u, 0, 1, WEIGHT)))
        for u in us or consortium.policy.members
    }


def state(party: Party, submission: Submission) -> State:
    assert party.queue is not None
    found = party.queue.submission(submission.id)
    assert found is not None
    return found.state


def charged(party: Party) -> list[bytes]:
    """The sessions that were charged, in order."""
    with party.engine.connect() as connection:
        return list(connection.execute(select(CHARGES.c.session).order_by(CHARGES.c.id)).scalars())


def advance(consortium: Consortium, number: int, attempt: int, reached: type) -> bytes:
    """Announce an attempt and go on until the server is in ``reached``; the session's id."""
    consortium.announce(number, attempt)
    consortium.until(reached)
    return consortium.server.state.attempt.session


# --- posting and taking part ----------------------------------------------------------------------


def test_a_posted_batch_is_offered_used_and_erased(posting: Consortium) -> None:
    party = posting.parties[1]
    assert party.client.offer() is None
    assert party.client.view().state == "no batch waits"
    batches = post(posting, 3)
    assert party.client.offer() == Ready(3)
    posting.round(3)
    for u, batch in batches.items():
        assert state(posting.parties[u], batch) is State.USED
        assert posting.parties[u].chain.held.model == posting.model
    assert party.client.offer() is None
    assert posting.refusals == {}


def test_rounds_go_through_the_queue_in_order(posting: Consortium) -> None:
    later, sooner = post(posting, 8), post(posting, 2)
    assert posting.parties[1].client.offer() == Ready(2)
    posting.round(2)
    assert state(posting.parties[1], sooner[1]) is State.USED
    assert state(posting.parties[1], later[1]) is State.QUEUED
    assert posting.parties[1].client.offer() == Ready(8)
    posting.round(8)
    assert state(posting.parties[1], later[1]) is State.USED


def test_a_round_before_the_batchs_number_is_not_entered(posting: Consortium) -> None:
    post(posting, 5)
    posting.announce(4)
    (message,) = posting.server.state.outbound(1)
    (reply,) = posting.parties[1].handle(message)
    assert isinstance(reply, Refusal)
    assert "CHK-007" in reply.reason
    assert posting.parties[1].journal.standing.entered == (0, 0)


def test_what_is_in_flight_is_in_view(posting: Consortium) -> None:
    party, batches = posting.parties[1], post(posting, 1)
    before = party.client.view()
    assert (before.session, before.in_flight_batch, before.gathered) == (None, None, None)
    session = advance(posting, 1, 1, Masking)
    view = party.client.view()
    assert (view.session, view.in_flight_batch) == (session, batches[1].id)
    party.handle(GatheringNotice(3))
    assert party.client.view().gathered == 3
    party.client.hello(posting.challenge())  # another connection, of which nothing is known yet
    assert party.client.view().gathered is None
    posting.run(posting.policy.members)
    assert party.client.view().in_flight_batch is None


def test_a_hospital_that_dropped_keeps_its_batch(posting: Consortium) -> None:
    batches = post(posting, 1)
    advance(posting, 1, 1, Masking)
    posting.gone = {4}
    posting.run(posting.policy.members)
    late = posting.parties[4]
    assert isinstance(posting.server.state, Concluded)
    certificate = posting.server.state.certificate
    assert certificate.u3 == (1, 2, 3)
    (request,) = late.handle(CertificateNotice(certificate))
    for message in posting.parties[1].handle(request):
        late.handle(message)
    assert late.journal.standing.closed == 1
    assert state(late, batches[4]) is State.QUEUED
    assert late.client.offer() == Ready(2)
    assert state(posting.parties[1], batches[1]) is State.USED


def test_a_batch_that_cannot_be_opened_is_set_aside(posting: Consortium) -> None:
    party, batches = posting.parties[1], post(posting, 1)
    assert party.posting is not None
    party.posting.broken = True
    posting.announce(1)
    (message,) = posting.server.state.outbound(1)
    with capture_logs() as logs:
        (reply,) = party.handle(message)
    assert isinstance(reply, Refusal)
    assert "no key" not in reply.reason  # the server is told nothing of it
    assert logs[-1]["event"] == "batch set aside"
    view = party.client.view()
    assert view.state == "no batch waits"
    assert view.problem == "the batch posted for round 1: no key of this node opens it"
    assert state(party, batches[1]) is State.QUEUED
    party.posting.broken = False
    party.restart()
    assert party.client.offer() == Ready(1)


def test_a_node_with_a_standing_batch_takes_no_posts(consortium: Consortium) -> None:
    with pytest.raises(NoQueue, match=r"add \[ehr\]"):
        consortium.parties[1].client.submit(posted(1))


def test_what_the_budget_refuses_stays_queued_and_is_on_record(tmp_path: Path) -> None:
    poor = assemble(tmp_path, epsilon="0.000001", posting=True)
    batches, party = post(poor, 1), poor.parties[1]
    assert party.client.view().state == "budget exhausted"
    poor.announce(1)
    (message,) = poor.server.state.outbound(1)
    party.handle(message)
    assert state(party, batches[1]) is State.QUEUED
    assert b'"charge refused"' in (tmp_path / "1" / "audit.jsonl").read_bytes()
    poor.close()


# --- death at every point -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Point:
    """Where the process dies: the server is in ``reached``; ``told``: the hospital has made what it
    was told there durable, and nothing of its reply has left. By then it is charged, or in flight.
    """

    reached: type
    told: bool
    charged: bool = False
    in_flight: bool = False

    def __str__(self) -> str:
        return f"{self.reached.__name__}-{'told' if self.told else 'untold'}"


POINTS = [
    Point(Advertising, told=True),
    Point(Sharing, told=False),
    Point(Sharing, told=True),
    Point(Masking, told=False),
    Point(Masking, told=True, charged=True),
    Point(Checking, told=False, charged=True),
    Point(Checking, told=True, charged=True, in_flight=True),
    Point(Unmasking, told=False, charged=True, in_flight=True),
    Point(Unmasking, told=True, charged=True, in_flight=True),
    Point(Certifying, told=False, charged=True, in_flight=True),
    Point(Certifying, told=True, charged=True, in_flight=True),
    Point(Concluded, told=False, charged=True, in_flight=True),
]


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_wherever_it_dies_a_batch_is_used_once(posting: Consortium, point: Point) -> None:
    """The budget shows the charge; no session is charged twice, and of none that was charged is
    anything ever sent but what was sent before.
    """
    party, batches = posting.parties[1], post(posting, 1)
    first = advance(posting, 1, 1, point.reached)
    if point.told:
        for message in posting.server.state.outbound(1):
            party.client.handle(decode_from_server(encode(message)))
    party.restart()
    assert charged(party) == ([first] if point.charged else [])
    assert state(party, batches[1]) is State.QUEUED
    assert party.client.view().in_flight_batch == (batches[1].id if point.in_flight else None)
    again = party.client.submit(posted(1, (1, -1, 2, 0, 1, WEIGHT)))
    assert (again.id, again.repeated) == (batches[1].id, True)
    if point.in_flight:
        with pytest.raises(InFlight):
            party.client.submit(posted(1, (9, 9, 9, 9, 9, WEIGHT)))
        reached = posting.collect([(1, message) for message in party.client.repeat()])
        posting.run(reached | frozenset(posting.policy.members))
        expected = [first]
    else:
        assert list(party.client.repeat()) == []
        posting.notify(AttemptAborted(first, "a hospital is lost"))
        posting.round(1, 2)
        second = posting.server.state.attempt.session
        expected = [first, second] if point.charged else [second]
    assert isinstance(posting.server.state, Concluded)
    assert 1 in posting.server.state.certificate.u3
    assert state(party, batches[1]) is State.USED
    assert charged(party) == expected
    masked = {session: found for (u, session), found in posting.masked.items() if u == 1}
    assert all(len(digests) == 1 for digests in masked.values())
    assert masked.keys() <= set(expected)
    assert party.ledger is not None
    assert party.ledger.budget().spent.rho == len(expected) * party.ledger.cost.sum.rho
    assert party.client.offer() is None


def test_a_batch_in_an_answered_round_is_in_flight_until_that_closes(posting: Consortium) -> None:
    party, batches = posting.parties[1], post(posting, 1)
    session = advance(posting, 1, 1, Unmasking)
    posting.run(frozenset({1}))  # party 1 answers, and the server never goes on
    party.handle(AttemptAborted(session, "says the server"))
    assert party.client.view().session is None
    assert party.client.view().in_flight_batch == batches[1].id
    with pytest.raises(InFlight):
        party.client.submit(posted(1))
    party.restart()
    assert party.client.view().in_flight_batch == batches[1].id
    held = party.chain.held.model_hash
    shares = {}
    for u, each in posting.parties.items():
        (share,) = each.handle(AbandonmentRequest(1, held, "stuck"))
        assert isinstance(share, AbandonmentShare)
        shares[u] = share.signature
    assert party.client.view().in_flight_batch == batches[1].id  # signed, and not closed yet
    closing = abandonment(posting.policy, 1, held, shares)
    assert closing is not None
    party.handle(AbandonmentNotice(closing))
    assert party.client.view().in_flight_batch is None
    assert state(party, batches[1]) is State.QUEUED
    assert party.client.offer() == Ready(2)
    assert party.client.submit(posted(1)).replaced


def test_a_dead_attempt_that_is_certified_after_all_has_used_its_batch(
    posting: Consortium,
) -> None:
    """The hospital's process died after its masked input had left; the others finished."""
    party, batches = posting.parties[1], post(posting, 1)
    advance(posting, 1, 1, Checking)
    party.restart()
    other = party.client.submit(posted(1, (9, 9, 9, 9, 9, WEIGHT)))
    assert other.replaced
    assert state(party, batches[1]) is State.REPLACED
    posting.gone = {1}
    posting.run(posting.policy.members)
    posting.gone = set()
    assert isinstance(posting.server.state, Concluded)
    certificate = posting.server.state.certificate
    assert 1 in certificate.u3
    (request,) = party.handle(CertificateNotice(certificate))
    for message in posting.parties[2].handle(request):
        party.handle(message)
    assert state(party, batches[1]) is State.USED
    assert state(party, other) is State.QUEUED
    assert len(charged(party)) == 1
    assert party.client.offer() == Ready(2)


# --- a round that ended elsewhere -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Missed:
    """A hospital died after its masked input of round 1 had left; the others closed rounds 1 and 2.

    Its process is back, and has the newest model. ``shown``: the transcript of round 1.
    """

    party: Party
    batch: Submission
    shown: Transcript


def missed(posting: Consortium) -> Missed:
    party, batches = posting.parties[1], post(posting, 1)
    advance(posting, 1, 1, Checking)
    party.restart()
    posting.gone = {1}
    posting.run(posting.policy.members)
    assert isinstance(posting.server.state, Concluded)
    assert posting.transcript is not None
    shown = certified(posting.transcript, posting.server.state.certificate)
    post(posting, 2, 2, 3, 4)
    posting.round(2)
    posting.gone = set()
    (request,) = party.handle(CertificateNotice(posting.server.state.certificate))
    replies = [
        reply for message in posting.parties[2].handle(request) for reply in party.handle(message)
    ]
    assert replies == [TranscriptRequest(1)]  # it knows of the gap, and asks
    assert party.client.inquire() == ()  # once
    assert party.journal.standing.closed == 2
    return Missed(party, batches[1], shown)


def test_a_batch_is_held_back_until_it_is_known_what_became_of_it(posting: Consortium) -> None:
    found = missed(posting)
    assert found.party.client.offer() is None
    assert found.party.client.submit(posted(7)).number == 7
    assert found.party.client.offer() == Ready(7)
    found.party.restart()
    found.party.client.hello(posting.challenge())
    assert found.party.client.inquire() == (TranscriptRequest(1),)


def test_the_rounds_transcript_shows_that_it_was_used(posting: Consortium) -> None:
    found = missed(posting)
    for message in in_pieces(1, encode_transcript(found.shown)):
        assert found.party.handle(message) == []
    assert state(found.party, found.batch) is State.USED
    assert [held.round for held in found.party.journal.certificates] == [1, 2]
    assert len(charged(found.party)) == 1
    assert found.party.client.inquire() == ()
    assert found.party.client.offer() is None
    held = found.party.chain.held
    found.party.restart()
    assert found.party.chain.held.model_hash == held.model_hash
    assert found.party.journal.standing.closed == 2


def nothing(found: Missed) -> list[Wire]:
    return [TranscriptStart(1, 0)]


def uncertified(found: Missed) -> list[Wire]:
    shown = msgspec.structs.replace(found.shown, certificate=None)
    return list(in_pieces(1, encode_transcript(shown)))


def spoiled(found: Missed) -> list[Wire]:
    total = bytes([found.shown.total[0] ^ 1]) + found.shown.total[1:]
    shown = msgspec.structs.replace(found.shown, total=total)
    return list(in_pieces(1, encode_transcript(shown)))


@pytest.mark.parametrize("answer", [nothing, uncertified, spoiled])
def test_without_a_certificate_it_is_free(
    posting: Consortium, answer: Callable[[Missed], list[Wire]]
) -> None:
    found = missed(posting)
    for message in answer(found):
        found.party.handle(message)
    assert state(found.party, found.batch) is State.QUEUED
    assert found.party.client.offer() == Ready(3)
    assert found.party.client.inquire() == ()


# --- leaving --------------------------------------------------------------------------------------


def left(party: Party) -> None:
    view = party.client.view()
    assert (view.left, view.state) == (True, "has left")
    assert party.client.offer() is None
    with pytest.raises(HasLeft, match="has left the consortium"):
        party.client.submit(posted(9))


def test_who_leaves_withdraws_what_is_queued_and_is_no_part_of_rounds(
    posting: Consortium,
) -> None:
    batches, leaver = post(posting, 1), posting.parties[4]
    leaver.client.leave()
    left(leaver)
    assert state(leaver, batches[4]) is State.WITHDRAWN
    leaver.restart()
    left(leaver)
    posting.round(1)
    assert posting.refusals == {4: ["this hospital takes part no more"]}
    assert isinstance(posting.server.state, Concluded)
    assert posting.server.state.certificate.u3 == (1, 2, 3)
    # It goes on checking and signing what the others certify.
    assert 4 in {signed.u for signed in posting.server.state.certificate.signatures}
    assert leaver.chain.held.model == posting.model
    assert charged(leaver) == []


def test_who_leaves_in_a_round_finishes_it(posting: Consortium) -> None:
    batches, leaver = post(posting, 1), posting.parties[4]
    later = leaver.client.submit(posted(2))
    advance(posting, 1, 1, Masking)
    leaver.client.leave()
    assert state(leaver, later) is State.WITHDRAWN
    assert leaver.client.view().in_flight_batch == batches[4].id
    # The same again is told what becomes of it; anything else is refused.
    again = post(posting, 1, 4)[4]
    assert (again.id, again.state, again.repeated) == (batches[4].id, State.QUEUED, True)
    with pytest.raises(HasLeft):
        leaver.client.submit(posted(2))
    posting.run(posting.policy.members)
    assert isinstance(posting.server.state, Concluded)
    assert 4 in posting.server.state.certificate.u3
    assert state(leaver, batches[4]) is State.USED
    assert post(posting, 1, 4)[4].state is State.USED
    left(leaver)


def test_what_comes_out_of_a_round_unused_is_withdrawn_then(posting: Consortium) -> None:
    batches, leaver = post(posting, 1), posting.parties[4]
    session = advance(posting, 1, 1, Unmasking)
    leaver.client.leave()
    with leaver.engine.connect() as connection:
        assert connection.execute(select(SEALED_ANSWERS)).all() != []
    assert state(leaver, batches[4]) is State.QUEUED
    leaver.handle(AttemptAborted(session, "says the server"))
    assert state(leaver, batches[4]) is State.WITHDRAWN
    with leaver.engine.connect() as connection:
        assert connection.execute(select(SEALED_ANSWERS)).all() == []
    leaver.restart()
    left(leaver)
    assert leaver.client.repeat() == ()


def test_a_crash_while_leaving_leaves_nothing_behind(posting: Consortium) -> None:
    batches, leaver = post(posting, 1), posting.parties[4]
    advance(posting, 1, 1, Checking)
    leaver.client.leave()
    assert state(leaver, batches[4]) is State.QUEUED
    leaver.restart()  # what it had masked is lost with its process
    assert state(leaver, batches[4]) is State.WITHDRAWN
    left(leaver)


def test_who_returns_takes_part_again(posting: Consortium) -> None:
    batches, leaver = post(posting, 1), posting.parties[4]
    leaver.client.leave()
    leaver.client.leave()  # no other decision
    leaver.client.return_()
    leaver.client.return_()
    assert not leaver.client.view().left
    back = post(posting, 1, 4)
    assert back[4].id == batches[4].id
    assert leaver.client.offer() == Ready(1)
    posting.round(1)
    assert state(leaver, batches[4]) is State.USED
    log = (leaver.path.with_suffix("") / "audit.jsonl").read_text()
    assert log.count('"opted out"') == log.count('"returned"') == 1


def test_a_hospital_with_a_standing_batch_leaves_too(consortium: Consortium) -> None:
    leaver = consortium.parties[4]
    leaver.client.leave()
    assert leaver.client.offer() is None
    consortium.round(1)
    assert leaver.source.trained == []
    leaver.client.return_()
    assert leaver.client.offer() == Ready(2)
