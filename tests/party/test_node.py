"""The node's loop over memory streams: greeting, taking part, losing the server and coming back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import msgspec
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import memory_stream_pair

from party.backoff import Backoff
from party.node import GREETING_SECONDS, Node
from party.queue import HasLeft, NumberTooFar, State, Submission
from secagg.crypto.randomness import SeededRandomness
from secagg.rounds.r5_certification import Concluded
from secagg.wire.codec import encode
from secagg.wire.framing import frame
from secagg.wire.messages import (
    Announcement,
    GatheringNotice,
    MaskedInputSignature,
    Refusal,
    SurvivorSignature,
    UnmaskingAnswer,
    Wire,
)
from tests.party.consortium import Consortium, posted
from tests.party.coordinator import Coordinator


@asynccontextmanager
async def running(consortium: Consortium) -> AsyncIterator[tuple[Coordinator, dict[int, Node]]]:
    """A coordinator, and a node of every party that stays connected to it."""
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            coordinator = Coordinator(consortium, nursery)
            nodes = {u: coordinator.node(u) for u in consortium.policy.members}
            for node in nodes.values():
                nursery.start_soon(node.run)
            yield coordinator, nodes
            nursery.cancel_scope.cancel()


async def test_rounds_over_streams(consortium: Consortium) -> None:
    async with running(consortium) as (coordinator, nodes):
        for number in (1, 2):
            await coordinator.all_ready(number)
            await coordinator.deliver(consortium.announce(number))
            await coordinator.go_on()
        await coordinator.all_ready(3)
        for node in nodes.values():
            assert node.connected
            assert node.view.state == "ready"
            assert node.view.round == 2
    for party in consortium.parties.values():
        assert party.chain.held.model == consortium.model


async def test_what_a_lost_connection_swallowed_is_sent_again(consortium: Consortium) -> None:
    async with running(consortium) as (coordinator, _):
        await coordinator.all_ready(1)
        coordinator.losing = {MaskedInputSignature, SurvivorSignature, UnmaskingAnswer}
        await coordinator.deliver(consortium.announce(1))
        arrived: list[bytes] = []
        while not isinstance(consortium.server.state, Concluded):
            u, message = await coordinator.take()
            arrived.append(encode(message))
            await coordinator.deliver(consortium.collect([(u, message)]))
    assert consortium.server.state.attempt.attempt == 1
    assert consortium.refusals == {}
    assert len(coordinator.lost) == 3
    assert set(coordinator.lost) <= set(arrived)
    returned = coordinator.hellos[4:]
    session = consortium.server.state.attempt.session
    assert [(hello.u, hello.session) for hello in returned] == [(1, session)] * 3
    assert [hello.awaiting for hello in returned] == ["SurvivorSet", "SurvivorSignatures", None]


async def test_a_refusal_reaches_the_server_and_the_node_stays(consortium: Consortium) -> None:
    async with running(consortium) as (coordinator, nodes):
        await coordinator.all_ready(1)
        consortium.announce(1)
        (announcement,) = consortium.server.state.outbound(1)
        assert isinstance(announcement, Announcement)
        await coordinator.peers[1].send(msgspec.structs.replace(announcement, signature=bytes(64)))
        u, message = await coordinator.take()
        coordinator.consortium.collect([(u, message)])
        assert "CHK-001" in coordinator.consortium.refusals[1][0]
        assert "CHK-001" in (nodes[1].view.problem or "")
        await coordinator.deliver(consortium.policy.members)
        await coordinator.go_on()
        await coordinator.all_ready(2)


async def test_a_batch_that_comes_later_is_offered_when_it_comes(consortium: Consortium) -> None:
    source = consortium.parties[1].source
    source.since = None
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            coordinator = Coordinator(consortium, nursery)
            node = coordinator.node(1)
            nursery.start_soon(node.run)
            while not node.connected:
                await trio.sleep(0.01)
            await trio.sleep(0.05)
            assert coordinator.ready == {}
            source.post(5)
            while coordinator.ready != {1: 5}:
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()


# --- posts ----------------------------------------------------------------------------------------


async def test_what_is_posted_is_offered_at_once_and_used(posting: Consortium) -> None:
    async with running(posting) as (coordinator, nodes):
        for node in nodes.values():
            while not node.connected:
                await node.moved()
        assert coordinator.ready == {}
        posts = {u: await node.submit(posted(4, (u, 0, 0, 0, 0, 16))) for u, node in nodes.items()}
        await coordinator.all_ready(4)
        await coordinator.deliver(posting.announce(4))
        await coordinator.go_on()
        for u, node in nodes.items():
            while node.view.closed < 4:
                await node.moved()
            queue = posting.parties[u].queue
            assert queue is not None
            used = queue.submission(posts[u].id)
            assert used is not None
            assert (used.state, used.round) == (State.USED, 4)
            assert (await node.submit(posted(4, (u, 0, 0, 0, 0, 16)))).repeated


async def test_what_is_posted_while_the_server_is_away_is_offered_when_it_is_back(
    posting: Consortium,
) -> None:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            coordinator = Coordinator(posting, nursery)
            node = coordinator.node(1)
            assert (await node.submit(posted(2))).number == 2
            assert not node.connected
            nursery.start_soon(node.run)
            while coordinator.ready != {1: 2}:
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()


async def test_a_hundred_posts_of_one_batch_at_once_are_one_submission(
    posting: Consortium,
) -> None:
    submissions: list[Submission] = []

    async def post(node: Node) -> None:
        submissions.append(await node.submit(posted(1)))

    async with trio.open_nursery() as nursery:
        node = Coordinator(posting, nursery).node(1)
        for _ in range(100):
            nursery.start_soon(post, node)
    assert len({each.id for each in submissions}) == 1
    assert sum(not each.repeated for each in submissions) == 1


async def test_a_refused_post_changes_nothing(posting: Consortium) -> None:
    async with running(posting) as (coordinator, nodes):
        await nodes[1].submit(posted(3))
        while coordinator.ready != {1: 3}:
            await trio.sleep(0.01)
        with pytest.raises(NumberTooFar):
            await nodes[1].submit(posted(20_000))
        await nodes[1].submit(posted(2))
        while coordinator.ready != {1: 2}:
            await trio.sleep(0.01)


async def test_a_hospital_leaves_and_returns(posting: Consortium) -> None:
    async with running(posting) as (coordinator, nodes):
        for u, node in nodes.items():
            await node.submit(posted(1, (u, 0, 0, 0, 0, 16)))
        await coordinator.all_ready(1)
        await nodes[4].leave()
        assert nodes[4].view.left
        with pytest.raises(HasLeft):
            await nodes[4].submit(posted(2))
        del coordinator.ready[4]
        await coordinator.deliver(posting.announce(1))
        posting.collect([await coordinator.take() for _ in posting.policy.members])
        assert list(posting.refusals) == [4]
        await coordinator.deliver(posting.server.close())
        await coordinator.go_on()
        assert isinstance(posting.server.state, Concluded)
        assert posting.server.state.certificate.u3 == (1, 2, 3)
        while nodes[4].view.closed < 1:
            await nodes[4].moved()
        assert nodes[4].connected
        assert 4 not in coordinator.ready
        await nodes[4].return_()
        await nodes[4].submit(posted(2))
        while coordinator.ready.get(4) != 2:
            await trio.sleep(0.01)


async def test_it_knows_how_many_have_gathered_while_it_is_connected(
    posting: Consortium,
) -> None:
    async with running(posting) as (coordinator, nodes):
        while not nodes[1].connected:
            await nodes[1].moved()
        assert nodes[1].gathered is None
        await coordinator.peers[1].send(GatheringNotice(3))
        while nodes[1].gathered != 3:
            await nodes[1].moved()
        await coordinator.peers[1].stream.aclose()
        while nodes[1].gathered is not None:
            await trio.sleep(0.01)


# --- servers that cannot be worked with -----------------------------------------------------------


def frames_of(*messages: Wire) -> bytes:
    return b"".join(frame(encode(message)) for message in messages)


Greeting = Callable[[Consortium], bytes]
UNFIT: dict[str, tuple[Greeting, str]] = {
    "another policy": (
        lambda c: frames_of(msgspec.structs.replace(c.challenge(), policy_digest=bytes(32))),
        "agree on one policy.json",
    ),
    "another protocol": (
        lambda c: frames_of(msgspec.structs.replace(c.challenge(), protocol=99)),
        "the same version of secagg",
    ),
    "no greeting": (lambda c: frames_of(Refusal("go away")), "did not greet"),
    "another program": (lambda c: b"HTTP/1.1 400 Bad Request\r\n\r\n", "a frame has"),
    "a huge first frame": (lambda c: (2**20).to_bytes(4, "big"), "a frame has 1 to 65536 bytes"),
    "an empty message": (lambda c: frame(b"\x00"), "not a message of the server"),
    "half a frame": (lambda c: (100).to_bytes(4, "big") + b"half", "inside a frame"),
}


@pytest.mark.parametrize("name", UNFIT)
async def test_a_server_that_is_unfit_is_explained_and_tried_again(
    consortium: Consortium, name: str
) -> None:
    greeting, explanation = UNFIT[name]
    dialled = 0

    async def dial() -> trio.abc.Stream:
        nonlocal dialled
        dialled += 1
        if dialled > 2:
            return await coordinator.dial()
        ours, theirs = memory_stream_pair()
        await ours.send_all(greeting(consortium))
        await ours.send_eof()
        return theirs

    with capture_logs() as logs, trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            coordinator = Coordinator(consortium, nursery)
            node = node_of(consortium, dial)
            nursery.start_soon(node.run)
            while coordinator.ready != {1: 1}:
                await trio.sleep(0.01)
            assert node.connected
            nursery.cancel_scope.cancel()
    errors = [entry for entry in logs if entry["log_level"] == "error"]
    assert [entry["event"] for entry in errors] == ["connection unusable"] * 2
    assert explanation in errors[0]["reason"]


def node_of(consortium: Consortium, dial: Callable[[], Awaitable[trio.abc.Stream]]) -> Node:
    party, backoff = consortium.parties[1], Backoff(0.01, 0.02, SeededRandomness(b"backoff"))
    return Node(party.client, party.source, consortium.policy.digest(), dial, backoff)


async def test_a_server_that_is_away_is_dialled_less_and_less_often(
    consortium: Consortium, autojump_clock: trio.testing.MockClock
) -> None:
    times: list[float] = []

    async def dial() -> trio.abc.Stream:
        times.append(trio.current_time())
        raise ConnectionRefusedError("nobody listens")

    party = consortium.parties[1]
    backoff = Backoff(1, 30, SeededRandomness(b"backoff"))
    node = Node(party.client, party.source, consortium.policy.digest(), dial, backoff)
    with capture_logs() as logs, trio.move_on_after(3600):
        await node.run()
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert [round(pause, 2) for pause in pauses] == [
        entry["seconds"] for entry in logs if entry["event"] == "reconnecting"
    ][: len(pauses)]
    assert pauses[0] <= 1
    assert all(15 <= pause <= 30 for pause in pauses[5:])
    assert 120 <= len(times) <= 240
    assert {entry["reason"] for entry in logs if "reason" in entry} == {"nobody listens"}


async def test_a_server_that_never_greets_is_given_up(
    consortium: Consortium, autojump_clock: trio.testing.MockClock
) -> None:
    ends: list[trio.abc.Stream] = []

    async def dial() -> trio.abc.Stream:
        ours, theirs = memory_stream_pair()
        ends.append(ours)
        return theirs

    with capture_logs() as logs, trio.move_on_after(3.5 * GREETING_SECONDS):
        await node_of(consortium, dial).run()
    assert len(ends) == 4
    reasons = [entry["reason"] for entry in logs if entry["event"] == "connection unusable"]
    assert reasons == ["the server did not answer in time"] * 3
    for end in ends:
        assert await end.receive_some() == b""  # the node has closed its side
