"""Who is connected: one peer for each party, and what its connection has told so far."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import final

import structlog
import trio

from secagg.policy import Policy
from secagg.wire.messages import MAX_REASON, GatheringNotice, Refusal, Wire
from server.connection import Connection, Outbox, Source
from server.gathering import Standby
from server.model_intake import ModelIntake

_log = structlog.get_logger("secagg.server")

_FAREWELL_SECONDS = 5


@final
@dataclass(eq=False, slots=True)
class Peer:
    """A connected party. ``ready``, ``entered``: as in :class:`Standby`. ``dismissed``: the last
    session that it was told is over. ``arriving``: the model that it was asked for. ``gathered``:
    how many ready hospitals it was told of.
    """

    u: int
    connection: Connection
    entered: tuple[int, int]
    ready: int | None = None
    dismissed: bytes | None = None
    arriving: ModelIntake | None = None
    gathered: int | None = None
    outbox: Outbox = field(init=False)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    gone: trio.Event = field(default_factory=trio.Event)

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.connection)

    def post(self, source: Source) -> None:
        """Send ``source`` in its turn. A party whose outbox is full is disconnected."""
        if not self.outbox.post(source):
            self.scope.cancel()

    def tell(self, *messages: Wire) -> None:
        """Send small messages that are ready."""
        self.post(lambda: messages)

    def part(self, reason: str | None = None) -> None:
        """End the connection once what is posted has left, or soon."""
        if reason is not None:
            self.tell(Refusal(reason[:MAX_REASON]))
        self.outbox.finish()
        self.scope.deadline = min(self.scope.deadline, trio.current_time() + _FAREWELL_SECONDS)

    async def converse(self) -> None:
        """Send what is posted until :meth:`part`; then end the connection."""
        await self.outbox.run()
        self.scope.cancel()


@final
class Peers:
    """The connected parties, by number."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._peers: dict[int, Peer] = {}

    def __iter__(self) -> Iterator[Peer]:
        return iter(tuple(self._peers.values()))

    def present(self) -> frozenset[int]:
        """Who is connected."""
        return frozenset(self._peers)

    def standby(self) -> dict[int, Standby]:
        """What each connected party offers."""
        return {u: Standby(peer.ready, peer.entered) for u, peer in self._peers.items()}

    def post(self, u: int, source: Source) -> None:
        """Send ``source`` to party ``u``, if it is connected."""
        if u in self._peers:
            self._peers[u].post(source)

    def tell_all(self, *messages: Wire) -> None:
        """Send small messages to everybody."""
        for peer in self:
            peer.tell(*messages)

    def tell_gathered(self, hospitals: int) -> None:
        """Tell everybody how many hospitals are ready, who was not told the same before."""
        for peer in self:
            if peer.gathered != hospitals:
                peer.gathered = hospitals
                peer.tell(GatheringNotice(hospitals))

    def expel(self, u: int, reason: str) -> None:
        """Tell party ``u`` what is wrong, and end its connection."""
        if u in self._peers:
            self._peers[u].part(reason)

    async def admit(self, peer: Peer) -> None:
        """Take a new connection up; an older one of the same party ends first."""
        while (older := self._peers.get(peer.u)) is not None:
            _log.info("connection replaced", party=self._policy.name(peer.u))
            older.scope.cancel()
            await older.gone.wait()
        self._peers[peer.u] = peer

    def remove(self, peer: Peer) -> None:
        """The connection of ``peer`` has ended."""
        if self._peers.get(peer.u) is peer:
            del self._peers[peer.u]
        peer.gone.set()
