"""The server's side of memory streams, for tests of the node: the core's session behind frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import trio
from trio.testing import memory_stream_pair

from party.backoff import Backoff
from party.node import Node
from secagg.crypto.randomness import SeededRandomness
from secagg.rounds.r5_certification import Concluded
from secagg.wire.codec import decode_from_client, encode
from secagg.wire.framing import FrameReader, frame
from secagg.wire.messages import FromClient, Hello, Ready, Wire
from tests.party.consortium import Consortium


@dataclass(slots=True)
class Peer:
    """The server's end of one connection."""

    stream: trio.abc.Stream
    reader: FrameReader = field(default_factory=FrameReader)
    frames: deque[bytes] = field(default_factory=deque)

    async def send(self, *messages: Wire) -> None:
        for message in messages:
            await self.stream.send_all(frame(encode(message)))

    async def receive(self) -> FromClient | None:
        """The next message; None when the party has closed."""
        while not self.frames:
            try:
                data = await self.stream.receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return None
            if not data:
                return None
            self.frames.extend(self.reader.feed(bytes(data)))
        return decode_from_client(self.frames.popleft())


@dataclass(slots=True)
class Coordinator:
    """Greets whoever dials, and puts what they send in one inbox; a test does the rest.

    ``losing``: the first message of each of these types from party 1 is lost with its connection;
    ``lost`` are their bytes.
    """

    consortium: Consortium
    nursery: trio.Nursery
    peers: dict[int, Peer] = field(default_factory=dict)
    hellos: list[Hello] = field(default_factory=list)
    ready: dict[int, int] = field(default_factory=dict)
    inbox: list[tuple[int, FromClient]] = field(default_factory=list)
    arrived: trio.Event = field(default_factory=trio.Event)
    losing: set[type] = field(default_factory=set)
    lost: list[bytes] = field(default_factory=list)

    async def dial(self) -> trio.abc.Stream:
        """What a node dials with."""
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(self._serve, Peer(ours))
        return theirs

    async def _serve(self, peer: Peer) -> None:
        await peer.send(self.consortium.challenge())
        hello = await peer.receive()
        if not isinstance(hello, Hello):
            return
        self.hellos.append(hello)
        self.peers[hello.u] = peer
        while (message := await peer.receive()) is not None:
            if hello.u == 1 and type(message) in self.losing:
                self.losing.remove(type(message))
                self.lost.append(encode(message))
                await peer.stream.aclose()
                return
            if isinstance(message, Ready):
                self.ready[hello.u] = message.round
            else:
                self.inbox.append((hello.u, message))
            self.arrived.set()

    def node(self, u: int) -> Node:
        """A node of party ``u`` that dials here, with short pauses."""
        party = self.consortium.parties[u]
        backoff = Backoff(0.01, 0.05, SeededRandomness(bytes([u])))
        digest = self.consortium.policy.digest()
        source = party.source if party.queue is None else party.queue
        return Node(party.client, source, digest, self.dial, backoff)

    async def all_ready(self, number: int) -> None:
        """Wait until every party is connected and has offered a batch for ``number``."""
        while self.ready != dict.fromkeys(self.consortium.policy.members, number):
            await self._something()

    async def take(self) -> tuple[int, FromClient]:
        """The next message of anybody."""
        while not self.inbox:
            await self._something()
        return self.inbox.pop(0)

    async def deliver(self, recipients: Iterable[int]) -> None:
        """Send the session's outbound."""
        for u in sorted(recipients):
            await self.peers[u].send(*self.consortium.server.state.outbound(u))

    async def go_on(self, until: type = Concluded) -> None:
        """Move the session by what arrives until it is in the state ``until``."""
        while not isinstance(self.consortium.server.state, until):
            u, message = await self.take()
            await self.deliver(self.consortium.collect([(u, message)]))

    async def _something(self) -> None:
        await self.arrived.wait()
        self.arrived = trio.Event()
