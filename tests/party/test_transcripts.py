"""A hospital keeps what it has verified: evidence that came with a sum, and what it asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from party.node import Node, NotConnected
from party.transcripts import Transcripts
from secagg.rounds.r5_certification import Certifying, Concluded
from secagg.transcript.evidence import in_pieces
from secagg.transcript.record import Transcript, encode
from secagg.transcript.verification import verify_transcript
from secagg.wire.messages import (
    CertificateShare,
    MaskedInputChunk,
    Refusal,
    TranscriptChunk,
    TranscriptRequest,
    TranscriptStart,
    Wire,
)
from tests.cohorts import changed
from tests.party.consortium import Consortium, Party, assemble
from tests.party.coordinator import Coordinator


@pytest.fixture
def recomputing(tmp_path: Path) -> Iterator[Consortium]:
    made = assemble(tmp_path, verification="recompute")
    yield made
    made.close()


def transcript_of(consortium: Consortium) -> Transcript:
    assert consortium.transcript is not None
    return consortium.transcript


def answered(party: Party, number: int, *messages: Wire) -> list[Wire]:
    """What the party sends when the server answers its request so."""
    assert party.client.ask_for_transcript(number) == TranscriptRequest(number)
    return [reply for message in messages for reply in party.handle(message)]


# --- with a sum ----------------------------------------------------------------------------------


def test_a_round_is_certified_by_hospitals_that_recomputed(recomputing: Consortium) -> None:
    for number in (1, 2):
        recomputing.round(number)
        for party in recomputing.parties.values():
            assert party.journal.standing.closed == number
            held = party.client.transcript(number)
            assert held is not None
            verified = verify_transcript(held, recomputing.policy)
            assert verified.u3 == (1, 2, 3, 4)
            assert held.certificate == party.journal.certificate


def test_a_sum_without_its_evidence_is_not_signed(recomputing: Consortium) -> None:
    recomputing.announce(1)
    recomputing.until(Certifying)
    announcement, *_, chunk = recomputing.server.state.outbound(1)
    party = recomputing.parties[1]
    assert party.handle(announcement) == []
    (refusal,) = party.handle(chunk)
    assert isinstance(refusal, Refusal)
    assert "CHK-512" in refusal.reason
    assert party.journal.standing.signed is None
    assert party.client.transcript(1) is None


def test_bad_evidence_ends_it_and_the_rest_passes_by(recomputing: Consortium) -> None:
    recomputing.announce(1)
    recomputing.until(Certifying)
    party = recomputing.parties[1]
    refusals: list[str] = []
    for message in recomputing.server.state.outbound(1):
        sent = message
        if isinstance(message, MaskedInputChunk) and message.u == 3:
            sent = changed(message, data=bytes([message.data[0] ^ 1]) + message.data[1:])
        refusals += [r.reason for r in party.handle(sent) if isinstance(r, Refusal)]
    assert len(refusals) == 1
    assert "CHK-250" in refusals[0]
    assert party.journal.standing.signed is None
    # Sent again, whole, it is signed.
    replies = [r for message in recomputing.server.state.outbound(1) for r in party.handle(message)]
    assert [type(reply) for reply in replies] == [CertificateShare]


def test_evidence_for_a_sum_that_is_signed_already_passes_by(recomputing: Consortium) -> None:
    recomputing.announce(1)
    recomputing.until(Certifying)
    party = recomputing.parties[1]
    messages = list(recomputing.server.state.outbound(1))
    first = [reply for message in messages for reply in party.handle(message)]
    again = [reply for message in messages for reply in party.handle(message)]
    assert first == again
    assert len(first) == 1


# --- on request ----------------------------------------------------------------------------------


def test_what_was_asked_for_is_kept_and_survives(consortium: Consortium) -> None:
    consortium.round(1)
    party, transcript = consortium.parties[1], transcript_of(consortium)
    assert answered(party, 1, *in_pieces(1, encode(transcript))) == []
    assert not party.client.awaits_transcript(1)
    party.restart()
    held = party.client.transcript(1)
    assert held is not None
    state = consortium.server.state
    assert isinstance(state, Concluded)
    assert held == changed(transcript, certificate=state.certificate)
    assert party.client.ask_for_transcript(1) is None


def test_a_server_without_one_says_so(consortium: Consortium) -> None:
    party = consortium.parties[1]
    assert answered(party, 5, TranscriptStart(5, 0)) == []
    assert not party.client.awaits_transcript(5)
    assert party.client.transcript(5) is None


def test_one_that_does_not_hold_is_refused(consortium: Consortium) -> None:
    consortium.round(1)
    party, transcript = consortium.parties[1], transcript_of(consortium)
    total = bytes([transcript.total[0] ^ 1]) + transcript.total[1:]
    (refusal,) = answered(party, 1, *in_pieces(1, encode(changed(transcript, total=total))))
    assert isinstance(refusal, Refusal)
    assert "CHK-502" in refusal.reason
    assert party.client.transcript(1) is None
    assert not party.client.awaits_transcript(1)


def test_another_rounds_is_refused(consortium: Consortium) -> None:
    consortium.round(1)
    party, data = consortium.parties[1], encode(transcript_of(consortium))
    (refusal,) = answered(party, 2, *in_pieces(2, data))
    assert isinstance(refusal, Refusal)
    assert "another round" in refusal.reason
    assert party.client.transcript(2) is None


@pytest.mark.parametrize(
    "message",
    [TranscriptStart(1, 10), TranscriptChunk(1, 0, b"x"), MaskedInputChunk(bytes(32), 1, 0, b"x")],
    ids=lambda message: type(message).__name__,
)
def test_what_nobody_asked_for_is_refused(consortium: Consortium, message: Wire) -> None:
    (refusal,) = consortium.parties[1].handle(message)
    assert isinstance(refusal, Refusal)
    assert "CHK-601" in refusal.reason


def test_a_piece_before_its_start_is_refused(consortium: Consortium) -> None:
    (refusal,) = answered(consortium.parties[1], 1, TranscriptChunk(1, 0, b"x"))
    assert isinstance(refusal, Refusal)
    assert "CHK-603" in refusal.reason


def test_a_new_connection_forgets_what_was_asked(consortium: Consortium) -> None:
    party = consortium.parties[1]
    party.client.ask_for_transcript(1)
    party.client.hello(consortium.challenge())
    assert not party.client.awaits_transcript(1)


def test_the_newest_attempt_is_the_rounds(consortium: Consortium) -> None:
    consortium.round(1)
    transcript = transcript_of(consortium)
    transcripts = Transcripts(consortium.parties[1].engine)
    later = changed(transcript, announcement=changed(transcript.announcement, attempt=10))
    for each in (later, transcript, transcript):
        transcripts.put(each)
    assert transcripts.of_round(1) == later
    assert transcripts.of_round(2) is None


# --- the node ------------------------------------------------------------------------------------


async def test_a_node_asks_the_server(consortium: Consortium) -> None:
    consortium.round(1)
    transcript = transcript_of(consortium)
    found: list[Transcript | None] = []
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            coordinator = Coordinator(consortium, nursery)
            node = coordinator.node(1)
            nursery.start_soon(node.run)
            while not node.connected:
                await trio.sleep(0.01)

            async def ask() -> None:
                found.append(await node.transcript(1))
                found.append(await node.transcript(1))
                nursery.cancel_scope.cancel()

            nursery.start_soon(ask)
            while (await coordinator.take()) != (1, TranscriptRequest(1)):
                pass
            await coordinator.peers[1].send(*in_pieces(1, encode(transcript)))
    assert len(found) == 2
    assert found[0] == found[1] is not None
    assert not coordinator.inbox


async def test_without_a_connection_it_says_so(consortium: Consortium) -> None:
    async with trio.open_nursery() as nursery:
        node: Node = Coordinator(consortium, nursery).node(1)
        with pytest.raises(NotConnected):
            await node.transcript(1)
