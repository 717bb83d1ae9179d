"""The whole server on memory streams and a mock clock: rounds, losses, restarts, hostile input."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import MockClock

from secagg import context
from secagg.model import apply, initial, model_hash
from secagg.policy import NoiseSpec
from secagg.rounds.journal import Standing
from secagg.wire.messages import (
    PROTOCOL,
    AbandonmentRequest,
    AdvertiseKeys,
    Announcement,
    AttemptAborted,
    CertificateNotice,
    CertificateShare,
    Challenge,
    GatheringNotice,
    Hello,
    MaskedInputSignature,
    ModelChunk,
    ModelRequest,
    ModelStart,
    Ready,
    Refusal,
    ShareKeys,
    SumAnnouncement,
    SurvivorSignature,
    SurvivorSignatures,
    UnmaskingAnswer,
    VectorChunk,
    Wire,
)
from server.config import Timing
from tests.server.scripted import NOISE, SPEC, Line, Starter, World, told

SENT = (
    AdvertiseKeys,
    ShareKeys,
    VectorChunk,
    MaskedInputSignature,
    SurvivorSignature,
    UnmaskingAnswer,
    CertificateShare,
)


# --- rounds ---------------------------------------------------------------------------------------


async def test_when_everybody_is_ready_rounds_follow_at_once(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin(noise=NoiseSpec())
    world.connect(1, 2, 3, 4)
    await world.closed(3, 1, 2, 3, 4)
    assert trio.current_time() < 1
    expected = initial(SPEC)
    for _ in range(3):
        expected = apply(expected, world.sum_of(1, 2, 3, 4), SPEC)
    chain = [c.model_hash for c in world.store.history()[:3]]
    assert chain[2] == model_hash(expected)


async def test_every_party_ends_with_the_certified_model(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin()
    world.connect(1, 2, 3, 4)
    await world.closed(1, 1, 2, 3, 4)
    for party in world.parties.values():
        party.batch = None
    await trio.sleep(100)
    assert {model_hash(party.model) for party in world.parties.values()} == {world.chain.model_hash}
    assert not world.chain.model_missing


async def test_who_is_missing_is_waited_for_as_long_as_the_window(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin()
    world.connect(1, 2, 3)
    await world.until(lambda: bool(told(world.parties[1], Announcement)))
    assert 30 <= trio.current_time() < 31


async def test_below_the_floor_nothing_opens(autojump_clock: MockClock, begin: Starter) -> None:
    world = await begin()
    world.connect(1, 2)
    await trio.sleep(1000)
    assert not told(world.parties[1], Announcement)
    world.connect(3)
    await world.closed(1, 1, 2, 3)


async def test_a_batch_for_a_later_round_opens_that_one(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin()
    for party in world.parties.values():
        party.batch, party.rounds = 5, 5
    world.connect(1, 2, 3, 4)
    await world.closed(5, 1, 2, 3, 4)
    assert world.store.history()[0].round == 5


# --- losses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", SENT)
async def test_a_party_lost_after_any_message_leaves_a_round_that_ends(
    autojump_clock: MockClock, begin: Starter, sent: type
) -> None:
    world = await begin()
    world.parties[4].vanish_after = sent
    world.connect(1, 2, 3, 4)
    await world.closed(1, 1, 2, 3)
    (first, *_) = world.store.history()
    late = sent in (AdvertiseKeys, ShareKeys, VectorChunk)
    assert first.attempt == 1
    assert first.u3 == ((1, 2, 3) if late else (1, 2, 3, 4))
    world.parties[4].restart()
    world.connect(4)
    await world.closed(2, 1, 2, 3, 4)
    await world.until(lambda: any(4 in c.u3 for c in world.store.history()[1:]))


async def test_a_stage_ends_at_its_deadline_and_not_before(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin()
    world.parties[4].vanish_after = AdvertiseKeys
    world.connect(1, 2, 3, 4)
    await world.closed(1, 1)
    assert 30 <= trio.current_time() < 31


async def test_an_attempt_below_the_floor_aborts_and_the_next_one_follows(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin()
    for u in (3, 4):
        world.parties[u].vanish_after = ShareKeys
    world.connect(1, 2, 3, 4)
    await world.until(lambda: bool(told(world.parties[1], AttemptAborted)))
    assert "masked inputs" in told(world.parties[1], AttemptAborted)[0].reason
    for u in (3, 4):
        world.parties[u].restart()
    world.connect(3, 4)
    await world.closed(1, 1, 2, 3, 4)
    assert world.store.history()[0].attempt == 2


async def test_after_max_attempts_the_server_waits_for_a_change(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin(timing=Timing(max_attempts=2))
    for u in (1, 2, 3, 4):
        world.parties[u].lie = lambda message: () if isinstance(message, ShareKeys) else (message,)
    world.connect(1, 2, 3, 4)
    await trio.sleep(2000)
    assert len(told(world.parties[1], Announcement)) == 2
    for party in world.parties.values():
        party.lie = lambda message: (message,)
    await world.disconnect(4)
    world.connect(4)
    await world.closed(1, 1, 2, 3, 4)
    assert world.store.history()[0].attempt == 3


async def test_a_broken_connection_is_no_reason_to_drop_out(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin()
    cut = {VectorChunk}

    def cut_once(message: Wire) -> tuple[Wire, ...]:
        if type(message) in cut:
            cut.clear()
            world.nursery.start_soon(world.disconnect, 4)
            return ()
        return (message,)

    world.parties[4].lie = cut_once
    world.connect(1, 2, 3, 4)
    await world.until(lambda: not cut)
    await trio.sleep(1)
    world.connect(4)
    await world.closed(1, 1, 2, 3, 4)
    assert world.store.history()[0].u3 == (1, 2, 3, 4)


async def test_a_newer_connection_replaces_the_older_one(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin()
    world.parties[1].batch = None
    world.connect(1)
    await trio.sleep(1)
    older = world.lines[1]
    world.connect(1)
    await trio.sleep(1)
    with pytest.raises(trio.ClosedResourceError):
        await older.stream.send_all(b"x")
    world.parties[1].batch = 1
    await world.disconnect(1)
    world.connect(1, 2, 3, 4)
    await world.closed(1, 1, 2, 3, 4)


async def test_who_refuses_is_not_waited_for(autojump_clock: MockClock, begin: Starter) -> None:
    world = await begin()

    def refuse(message: Wire) -> tuple[Wire, ...]:
        return (Refusal("no budget"),) if isinstance(message, AdvertiseKeys) else (message,)

    world.parties[4].lie = refuse
    world.connect(1, 2, 3, 4)
    await world.closed(1, 1, 2, 3)
    assert trio.current_time() < 5
    assert world.store.history()[0].u3 == (1, 2, 3)


# --- unmasking that lacks answers -----------------------------------------------------------------


async def _one_off_one_gone_before_answering(begin: Starter, noise: NoiseSpec = NOISE) -> World:
    world = await begin(noise=noise)
    world.parties[3].vanish_after = SurvivorSignature
    world.connect(1, 2, 3)
    await world.until(lambda: bool(told(world.parties[1], SurvivorSignatures)))
    return world


async def test_a_restarted_party_completes_the_same_attempt(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await _one_off_one_gone_before_answering(begin)
    await trio.sleep(200)
    assert not world.store.history()
    world.parties[3].restart()
    world.connect(3)
    await world.closed(1, 1, 2, 3)
    assert (world.store.history()[0].round, world.store.history()[0].attempt) == (1, 1)


async def test_without_its_journal_the_round_is_abandoned_and_the_next_completes(
    autojump_clock: MockClock,
    begin: Starter,
) -> None:
    world = await _one_off_one_gone_before_answering(begin)
    world.parties[3].restart()
    world.parties[3].forget()
    world.connect(3)
    await world.closed(1, 1, 2, 3)
    assert world.chain.abandonment is not None
    assert trio.current_time() >= 300
    await world.closed(2, 1, 2, 3)
    assert world.store.history()[0].round == 2


async def test_without_noise_an_attempt_that_was_answered_is_waited_for(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await _one_off_one_gone_before_answering(begin, NoiseSpec())
    world.parties[3].restart()
    world.parties[3].forget()
    world.connect(3)
    await trio.sleep(3000)
    assert not told(world.parties[1], AbandonmentRequest)
    assert world.chain.closed == 0


async def test_enough_others_go_on_with_the_next_attempt(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin(n=10)
    answering = {1, 2}
    for u in range(3, 11):
        world.parties[u].lie = lambda message: (
            () if isinstance(message, UnmaskingAnswer) else (message,)
        )
    world.connect(*range(1, 11))
    await world.until(lambda: bool(told(world.parties[1], SurvivorSignatures)))
    for u in range(3, 11):
        party = world.parties[u]
        party.lie = lambda message: (message,)
        await world.disconnect(u)
        party.forget()
        party.standing = Standing(entered=(1, 1))
        world.connect(u)
    await world.closed(1, *range(1, 11))
    first = world.store.history()[0]
    assert first.attempt == 2
    assert not answering & set(first.u3)


# --- restarts of the server -----------------------------------------------------------------------


async def test_a_published_sum_is_published_again_after_a_restart(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin()
    for u in (1, 2, 3, 4):
        world.parties[u].lie = lambda message: (
            () if isinstance(message, CertificateShare) else (message,)
        )
    world.connect(1, 2, 3, 4)
    await world.until(lambda: all(told(p, SumAnnouncement) for p in world.parties.values()))
    (first,) = told(world.parties[1], SumAnnouncement)
    await world.kill()
    for party in world.parties.values():
        party.lie = lambda message: (message,)
        party.restart()
    world.parties[4].session, world.parties[4].standing = (
        None,
        world.parties[3].standing.__class__(entered=(1, 1)),
    )
    await world.start()
    world.connect(1, 2, 3, 4)
    await world.closed(1, 1, 2, 3, 4)
    assert told(world.parties[4], SumAnnouncement)[1] == first
    assert world.store.history()[0].attempt == 1


async def test_an_attempt_in_an_earlier_stage_is_over_after_a_restart(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin()
    for u in (1, 2, 3, 4):
        world.parties[u].lie = lambda message: () if isinstance(message, ShareKeys) else (message,)
    world.connect(1, 2, 3, 4)
    await world.until(lambda: world.parties[1].standing.entered == (1, 1))
    await world.kill()
    for party in world.parties.values():
        party.lie = lambda message: (message,)
    await world.start()
    world.connect(1, 2, 3, 4)
    await world.closed(1, 1, 2, 3, 4)
    assert told(world.parties[1], AttemptAborted)
    assert world.store.history()[0].attempt == 2


async def test_without_its_database_the_server_takes_up_what_parties_show(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin()
    world.connect(1, 2, 3, 4)
    await world.closed(2, 1, 2, 3, 4)
    await world.kill()
    held = max(p.standing.closed for p in world.parties.values())
    for party in world.parties.values():
        party.restart()
        party.rounds = 5
    stale = world.parties[4]
    stale.certificate, stale.model, stale.standing = None, initial(SPEC), Standing()
    stale.candidate, stale.session, stale.confirmed, stale.received = None, None, None, []
    await world.start("another.sqlite3")
    assert world.chain.closed == 0
    world.connect(4, 3, 2, 1)
    assert held == 3
    await world.closed(5, 1, 2, 3, 4)
    assert told(stale, ModelStart) or told(stale, CertificateNotice)
    assert any(told(world.parties[u], ModelRequest) for u in (1, 2, 3))
    assert model_hash(stale.model) == model_hash(world.parties[1].model)


async def test_attempts_go_on_above_what_parties_have_entered(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin()
    for party in world.parties.values():
        party.standing, party.rounds = Standing(entered=(3, 7)), 4
    world.connect(1, 2, 3, 4)
    await world.closed(3, 1, 2, 3, 4)
    assert (world.store.history()[0].round, world.store.history()[0].attempt) == (3, 8)


async def test_a_party_that_was_away_gets_the_model(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin()
    world.connect(1, 2, 3)
    await world.closed(1, 1, 2, 3)
    world.connect(4)
    await world.closed(1, 4)
    (start, *_) = told(world.parties[4], ModelStart)
    assert start.size == sum(len(c.data) for c in told(world.parties[4], ModelChunk)[:1])


# --- hostile input --------------------------------------------------------------------------------


async def test_a_client_that_breaks_the_protocol_is_refused_and_the_round_goes_on(
    autojump_clock: MockClock,
    begin: Starter,
) -> None:
    world = await begin()

    def forge(message: Wire) -> tuple[Wire, ...]:
        if isinstance(message, SurvivorSignature):
            return (msgspec.structs.replace(message, signature=bytes(64)),)
        return (message,)

    world.parties[4].lie = forge
    world.connect(1, 2, 3, 4)
    await world.closed(1, 1, 2, 3)
    assert trio.current_time() < 5
    assert "CHK-350" in told(world.parties[4], Refusal)[0].reason
    with pytest.raises(trio.ClosedResourceError):
        await world.lines[4].stream.send_all(b"x")


async def test_everybody_is_told_how_many_have_a_batch(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin()
    world.parties[4].batch = None
    world.connect(4)
    await world.until(lambda: bool(told(world.parties[4], GatheringNotice)))
    world.connect(1)
    await world.until(lambda: GatheringNotice(1) in world.parties[4].received)
    world.connect(2)
    await world.until(lambda: GatheringNotice(2) in world.parties[4].received)
    await world.disconnect(1)
    await world.until(lambda: told(world.parties[4], GatheringNotice)[-1] == GatheringNotice(1))
    counts = [notice.hospitals for notice in told(world.parties[4], GatheringNotice)]
    assert counts == [0, 1, 2, 1]  # once for each change
    assert [notice.hospitals for notice in told(world.parties[2], GatheringNotice)][-1] == 1


async def test_a_stranger_is_gone_after_ten_seconds(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin()
    silent, dripping = world.dial(), world.dial()
    await silent.expect(Challenge)
    await dripping.expect(Challenge)
    for _ in range(20):
        await trio.sleep(0.4)
        await dripping.stream.send_all(b"\x00" if _ == 0 else b"")
    assert await silent.receive() is None
    assert await dripping.receive() is None
    assert 9 < trio.current_time() < 14


async def test_silent_strangers_keep_no_hospital_out(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin()
    silent = []
    for _ in range(100):  # one after the other, so that it is known which one is the oldest
        silent.append(world.dial())
        await silent[-1].expect(Challenge)
    started = trio.current_time()
    world.connect(1, 2, 3, 4)
    await world.closed(1, 1, 2, 3, 4)
    assert trio.current_time() - started < 5  # before the silent ones are due to go
    assert await silent[0].receive() is None


GARBAGE = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x03abc",
    (2**20).to_bytes(4, "big"),
)


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_garbage_disturbs_nobody(
    autojump_clock: MockClock, begin: Starter, garbage: bytes
) -> None:
    world = await begin()
    line = world.dial()
    await line.expect(Challenge)
    await line.stream.send_all(garbage)
    assert isinstance(await line.receive(), Refusal)
    assert await line.receive() is None
    world.connect(1, 2, 3, 4)
    await world.closed(1, 1, 2, 3, 4)
    await world.lines[1].stream.send_all(garbage)
    await world.closed(2, 2, 3, 4)


async def test_who_cannot_sign_as_a_hospital_is_refused(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin()
    for spoil in (
        lambda h: msgspec.structs.replace(h, u=2),
        lambda h: msgspec.structs.replace(h, u=5),
        lambda h: msgspec.structs.replace(h, entered_round=9),
        lambda h: msgspec.structs.replace(h, policy_digest=bytes(32)),
        lambda h: Ready(1),
    ):
        line = world.dial()
        hello = world.parties[1].hello(await line.expect(Challenge))
        await line.send(spoil(hello))
        await line.expect(Refusal)
        assert await line.receive() is None


async def test_a_recorded_hello_does_not_open_another_connection(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin()
    line = world.dial()
    challenge = await line.expect(Challenge)
    assert challenge.protocol == PROTOCOL
    hello = world.parties[1].hello(challenge)
    replayed = world.dial()
    assert (await replayed.expect(Challenge)).nonce != challenge.nonce
    await replayed.send(hello)
    await replayed.expect(Refusal)


async def test_a_party_that_does_not_read_is_disconnected_and_holds_up_nobody(
    autojump_clock: MockClock,
    begin: Starter,
) -> None:
    world = await begin()
    ours, theirs = trio.testing.lockstep_stream_pair()
    world.nursery.start_soon(world.coordinator.serve, theirs, "test")
    line = Line(ours)
    await line.send(world.parties[4].hello(await line.expect(Challenge)))
    await line.send(Ready(1))
    world.connect(1, 2, 3)
    await world.closed(1, 1, 2, 3)
    await trio.sleep(100)
    assert 4 not in world.coordinator._peers.present()


async def test_messages_of_an_unknown_session_are_answered_once(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin()
    line = world.dial()
    await line.send(world.parties[1].hello(await line.expect(Challenge)))
    stray = SurvivorSignature(bytes(32), bytes(64))
    await line.send(stray, stray, ModelRequest(bytes(32)))
    assert (await line.expect(AttemptAborted)).session == bytes(32)
    await line.expect(Refusal)


async def test_an_unasked_model_and_a_second_hello_end_the_connection(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin()
    for unasked in (None, ModelChunk(0, b"x")):
        line = world.dial()
        challenge = await line.expect(Challenge)
        hello = world.parties[1].hello(challenge)
        await line.send(hello, unasked or hello)
        assert "CHK-601" in (await line.expect(Refusal)).reason
        assert await line.receive() is None


async def test_a_forged_certificate_is_not_adopted(
    autojump_clock: MockClock, begin: Starter
) -> None:
    world = await begin()
    world.connect(1, 2, 3, 4)
    await world.closed(1, 1, 2, 3, 4)
    await world.disconnect(4)
    held = world.parties[4].certificate
    assert held is not None
    world.parties[4].certificate = msgspec.structs.replace(held, round=1000)
    world.connect(4)
    await world.until(lambda: bool(told(world.parties[4], Refusal)))
    assert "CHK-508" in told(world.parties[4], Refusal)[-1].reason
    assert world.chain.closed < 1000


def test_a_hello_is_bound_to_its_connection(tmp_path: Path) -> None:
    hello = Hello(1, bytes(32), bytes(32), 0, 0, None, None, None, None, bytes(64))
    assert context.hello(bytes(32), hello) != context.hello(b"\x01" * 32, hello)
