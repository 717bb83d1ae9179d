"""The node's loop: reach the server, say where this hospital stands, take part; again and again.

The client works in a worker thread, one call at a time, so that training and masking never hold
up the network or the local interface.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import Final, TypeVar, final

import structlog
import trio
from trio.abc import Stream

from party.backoff import Backoff
from party.batches import BatchSource
from party.client import Client, View
from party.connection import Connection, explained
from party.greeting import checked_challenge
from party.queue import Submission
from party.rehearsal import Loss
from party.submission.posted import Posted
from secagg.errors import SecaggError
from secagg.transcript.record import Transcript
from secagg.wire.messages import Ready, Wire

GREETING_SECONDS: Final = 30
"""How long reaching the server, and then its first message, may take."""

TRANSCRIPT_SECONDS: Final = 30
"""How long the server may take to send a transcript that it is asked for."""

_log = structlog.get_logger("secagg.party")

T = TypeVar("T")


class NotConnected(SecaggError):
    """The server is needed for this, and there is no connection to it."""


@final
class Node:
    """A hospital's side of the consortium, for as long as it runs.

    ``dial`` opens a stream to the server, encrypted and authenticated; it raises OSError or
    trio.BrokenResourceError. ``policy_digest``: of the pinned policy, which the server must name.
    ``rehearsed``: a loss of this process that is to happen.
    """

    def __init__(
        self,
        client: Client,
        source: BatchSource,
        policy_digest: bytes,
        dial: Callable[[], Awaitable[Stream]],
        backoff: Backoff,
        rehearsed: Loss | None = None,
    ) -> None:
        self._client = client
        self._source = source
        self._policy_digest = policy_digest
        self._dial = dial
        self._backoff = backoff
        self._rehearsed = rehearsed
        self._one_at_a_time = trio.CapacityLimiter(1)
        self._moved = trio.Event()
        self._posted = trio.Event()
        self._told: tuple[Ready, int] | None = None
        self._connection: Connection | None = None
        #: Where the client stood after its last step.
        self.view: View = client.view()
        #: Whether the server has this hospital's Hello on an open connection.
        self.connected = False

    async def moved(self) -> None:
        """Return after the client's next step."""
        await self._moved.wait()

    @property
    def gathered(self) -> int | None:
        """How many hospitals have a batch ready, as the server says; None while it says nothing."""
        return self.view.gathered if self.connected else None

    async def submit(self, posted: Posted) -> Submission:
        """Queue a batch, and offer it to the server. Raises SubmissionRefused.

        When this returns, the batch is on disk; whatever is cancelled meanwhile, it is queued or
        it is not.
        """
        submission = await self._step(partial(self._client.submit, posted))
        self._posted.set()
        return submission

    async def leave(self) -> None:
        """Take part no more, once the current round is over; durable when this returns."""
        await self._step(self._client.leave)

    async def return_(self) -> None:
        """Take part again; durable when this returns."""
        await self._step(self._client.return_)
        self._posted.set()

    async def transcript(self, number: int) -> Transcript | None:
        """The verified transcript of a training round: the one held here, or the server's.

        None if the server has none, or none that holds. Raises NotConnected; trio.TooSlowError if
        the server does not answer.
        """
        request = await self._in_thread(partial(self._client.ask_for_transcript, number))
        if request is not None:
            if self._connection is None:
                raise NotConnected("the server cannot be reached now; ask again later")
            await self._connection.send(request)
            with trio.fail_after(TRANSCRIPT_SECONDS):
                while self._client.awaits_transcript(number):
                    await self.moved()
        return await self._in_thread(partial(self._client.transcript, number))

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            opened = trio.current_time()
            try:
                await self._one_connection()
                _log.warning("connection closed by the server")
            except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as lost:
                _log.warning("connection lost", reason=explained(lost, self.connected))
            except* (SecaggError, trio.TooSlowError) as unfit:
                _log.error("connection unusable", reason=explained(unfit, self.connected))
            self.connected, self._connection = False, None
            pause = self._backoff.after(trio.current_time() - opened)
            _log.info("reconnecting", seconds=round(pause, 2))
            await trio.sleep(pause)

    async def _one_connection(self) -> None:
        """Connect, greet, and take part until the server closes the connection."""
        with trio.fail_after(GREETING_SECONDS):
            stream = await self._dial()
        async with Connection(stream) as connection:
            with trio.fail_after(GREETING_SECONDS):
                challenge = checked_challenge(await connection.receive(), self._policy_digest)
            connection.accept_large_frames()
            await connection.send(await self._step(lambda: self._client.hello(challenge)))
            self.connected, self._told = True, None
            self._connection = connection
            _log.info("connected", state=self.view.state, round=self.view.round)
            await self._send(connection, await self._step(self._client.repeat))
            await self._send(connection, await self._step(self._client.inquire))
            await self._offer(connection)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_source, connection)
                nursery.start_soon(self._watch_posts, connection)
                await self._take_part(connection)
                nursery.cancel_scope.cancel()

    async def _take_part(self, connection: Connection) -> None:
        """Handle messages, each wholly before the next one."""
        while (message := await connection.receive()) is not None:
            replies = await self._step(partial(self._client.handle, message))
            await self._send(connection, replies)
            await self._offer(connection)

    async def _watch_source(self, connection: Connection) -> None:
        """Offer what the source has, as soon as it has something new."""
        while True:
            await self._source.changed()
            await self._step(self._client.batches_changed)
            await self._offer(connection)

    async def _watch_posts(self, connection: Connection) -> None:
        """Offer what this node was given meanwhile."""
        while True:
            await self._posted.wait()
            self._posted = trio.Event()
            await self._offer(connection)

    async def _offer(self, connection: Connection) -> None:
        """Tell the server of a waiting batch: once for each number, anew after each round."""
        ready = await self._step(self._client.offer)
        told = None if ready is None else (ready, self.view.closed)
        if ready is not None and told != self._told:
            await connection.send(ready)
        self._told = told

    async def _send(self, connection: Connection, messages: Iterable[Wire]) -> None:
        """Send each message as it is produced: masking a chunk is work for a thread, too."""
        produced: Iterator[Wire] = iter(messages)
        while (message := await self._in_thread(lambda: next(produced, None))) is not None:
            if self._rehearsed is not None:
                self._rehearsed.leaving(message, self.view.round)
            await connection.send(message)
            if self._rehearsed is not None:
                self._rehearsed.left(message, self.view.round)

    async def _step(self, work: Callable[[], T]) -> T:
        """Let the client do one thing, and note where it then stands."""
        result, self.view = await self._in_thread(lambda: (work(), self._client.view()))
        self._moved.set()
        self._moved = trio.Event()
        return result

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._one_at_a_time)
