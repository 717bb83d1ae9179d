"""Every attempt leaves a transcript, which hospitals can ask for; and evidence where it is due."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from trio.testing import MockClock

from secagg.rounds.r5_certification import SumSigned
from secagg.transcript.evidence import TranscriptIntake
from secagg.transcript.recomputation import Recomputation
from secagg.transcript.record import Transcript, decode
from secagg.transcript.verification import Outcome, verify_transcript
from secagg.vector.packing import packed_size
from secagg.vector.stream import slices
from secagg.wire.messages import (
    CertificateShare,
    MaskedInputChunk,
    MaskedInputSignature,
    ShareKeys,
    SumAnnouncement,
    TranscriptChunk,
    TranscriptRequest,
    TranscriptStart,
    Wire,
)
from tests.server.scripted import Party, Starter, World, told


def without(*kinds: type) -> Callable[[Wire], Iterable[Wire]]:
    """Sends everything but these."""
    return lambda message: () if isinstance(message, kinds) else (message,)


def transcript_of(world: World, number: int) -> Transcript:
    data = world.archive.of_round(number)
    assert data is not None
    return decode(data)


async def test_a_certified_round_is_on_record(autojump_clock: MockClock, begin: Starter) -> None:
    world = await begin()
    world.parties[4].vanish_after = ShareKeys
    world.connect(1, 2, 3, 4)
    await world.closed(1, 1, 2, 3)
    transcript = transcript_of(world, 1)
    verified = verify_transcript(transcript, world.policy)
    assert verified.outcome is Outcome.CERTIFIED
    assert verified.u2 == (1, 2, 3, 4)
    assert verified.u3 == (1, 2, 3)
    assert transcript.certificate == world.store.history()[0]


async def test_a_failed_attempt_is_on_record(autojump_clock: MockClock, begin: Starter) -> None:
    world = await begin()
    for u in (1, 2):
        world.parties[u].vanish_after = ShareKeys
    world.connect(1, 2, 3, 4)
    await world.until(lambda: world.archive.of_attempt(1, 1) is not None)
    transcript = transcript_of(world, 1)
    verified = verify_transcript(transcript, world.policy)
    assert verified.outcome is Outcome.ABORTED
    assert (verified.u2, verified.u3) == ((1, 2, 3, 4), (3, 4))
    assert "masked inputs" in transcript.ended


async def test_a_party_gets_the_transcript_it_asks_for(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin()
    asked = [TranscriptRequest(1), TranscriptRequest(7)]
    world.parties[1].lie = lambda message: (
        (message, *asked) if isinstance(message, CertificateShare) else (message,)
    )
    for party in world.parties.values():
        party.rounds = 1
    world.connect(1, 2, 3, 4)
    await world.until(lambda: len(told(world.parties[1], TranscriptStart)) == 2)
    await world.closed(1, 1, 2, 3, 4)
    start, none = told(world.parties[1], TranscriptStart)
    intake, found = TranscriptIntake(world.policy, start), None
    for chunk in told(world.parties[1], TranscriptChunk):
        found = intake.receive(chunk)
    assert found is not None
    assert verify_transcript(found, world.policy).u3 == (1, 2, 3, 4)
    assert none == TranscriptStart(7, 0)


# --- evidence ------------------------------------------------------------------------------------


async def test_hospitals_that_recompute_certify(autojump_clock: MockClock, begin: Starter) -> None:
    world = await begin(verification="recompute")
    for party in world.parties.values():
        party.rounds = 1
    world.parties[2].vanish_after = MaskedInputSignature
    world.connect(1, 2, 3, 4)
    await world.closed(1, 1, 3, 4)
    assert [m.u for m in told(world.parties[1], MaskedInputChunk)] == [1, 2, 3, 4]
    assert not (world.directory / "masked-inputs").exists()
    await world.until(lambda: not any((world.directory / "spool").iterdir()))


async def test_evidence_survives_the_server(autojump_clock: MockClock, begin: Starter) -> None:
    """It dies between its publication and the first signature: the next one shows it all again."""
    world = await begin(verification="recompute")
    for party in world.parties.values():
        party.lie = without(CertificateShare)
        party.rounds = 1
    world.connect(1, 2, 3, 4)
    await world.until(
        lambda: all(isinstance(p.session and p.session.state, SumSigned) for p in _all(world))
    )
    await world.kill()
    for party in world.parties.values():
        party.lie = lambda message: (message,)
        party.restart()
    newcomer = world.parties[4]
    newcomer.session, newcomer.standing = None, newcomer.standing.__class__(entered=(1, 1))
    newcomer.received.clear()
    await world.start()
    world.connect(1, 2, 3, 4)
    await world.closed(1, 1, 2, 3, 4)
    assert len(told(newcomer, SumAnnouncement)) == 1
    assert [m.u for m in told(newcomer, MaskedInputChunk)] == [1, 2, 3, 4]
    assert transcript_of(world, 1).certificate is not None


async def test_masked_inputs_that_are_retained_give_the_sum_again(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin(masked_inputs=True)
    for party in world.parties.values():
        party.rounds = 1
    world.connect(1, 2, 3, 4)
    await world.closed(1, 1, 2, 3, 4)
    transcript = transcript_of(world, 1)
    total = verify_transcript(transcript, world.policy).total
    recomputation = Recomputation(transcript, world.policy)
    ring, d = world.policy.ring, world.policy.vector.dimension
    for u in transcript.u3:
        with (world.directory / "masked-inputs" / "1-1" / str(u)).open("rb") as file:
            for where in slices(d):
                data = file.read(packed_size(where.stop - where.start, ring.bits))
                recomputation.receive(u, where.start, data)
    assert total is not None
    assert recomputation.total().tolist() == total.tolist()


async def test_a_killed_server_leaves_no_masked_input_without_need(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin()
    for party in world.parties.values():
        party.lie = without(CertificateShare)
    world.connect(1, 2, 3, 4)
    await world.until(lambda: all(told(p, SumAnnouncement) for p in _all(world)))
    await world.kill()
    assert not any((world.directory / "spool").iterdir())


def _all(world: World) -> list[Party]:
    return list(world.parties.values())
