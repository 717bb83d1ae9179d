"""One connection of a party: a byte stream on one side, messages on the other, within limits.

Whatever is sent goes through the connection's own outbox, so that a slow reader holds up nobody
else; one that stays too slow is disconnected.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Self, final

import trio
from trio.abc import Stream

from secagg.wire.codec import decode_from_client, encode
from secagg.wire.framing import MAX_FRAME_BYTES, FrameReader, frame
from secagg.wire.messages import FromClient, Wire

RECEIVE_BYTES: Final = 256 * 1024
CLOSE_SECONDS: Final = 2
OUTBOX_PLACES: Final = 256

Source = Callable[[], Iterable[Wire]]
"""Messages to send, made only when their turn has come: a vector never waits whole in memory."""


@final
class Connection:
    """Messages over ``stream``; as a context manager it closes the stream.

    ``first_limit``: bytes of the longest frame before :meth:`accept_large_frames`.
    ``send_timeout``: seconds in which a party has to take one message. One task receives and one
    sends. Errors are those of the stream, and DecodeError for bytes that are no message of a party:
    the connection is then of no further use.
    """

    def __init__(self, stream: Stream, first_limit: int, send_timeout: float) -> None:
        self._stream = stream
        self._send_timeout = send_timeout
        self._reader = FrameReader(first_limit)
        self._frames: deque[bytes] = deque()

    def accept_large_frames(self) -> None:
        """The party is authenticated: from now on frames may be as long as the protocol allows."""
        self._reader.limit = MAX_FRAME_BYTES

    async def receive(self) -> FromClient | None:
        """The next message; None when the party has closed the connection."""
        while not self._frames:
            data = await self._stream.receive_some(RECEIVE_BYTES)
            if not data:
                self._reader.finish()
                return None
            self._frames.extend(self._reader.feed(bytes(data)))
        return decode_from_client(self._frames.popleft())

    async def send(self, message: Wire) -> None:
        """Send one message. Raises trio.TooSlowError if the party does not read it in time."""
        with trio.fail_after(self._send_timeout):
            await self._stream.send_all(frame(encode(message)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._stream.aclose()


@final
class Outbox:
    """What waits to be sent on one connection, in order. Posting never blocks."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._post, self._sources = trio.open_memory_channel[Source](OUTBOX_PLACES)

    def post(self, source: Source) -> bool:
        """Add messages; False if they cannot be: the outbox is full, or finished."""
        try:
            self._post.send_nowait(source)
        except (trio.WouldBlock, trio.ClosedResourceError, trio.BrokenResourceError):
            return False
        return True

    def finish(self) -> None:
        """Nothing more is posted; :meth:`run` returns when everything has left."""
        self._post.close()

    async def run(self) -> None:
        """Send until :meth:`finish`. Raises what the connection raises."""
        async with self._sources:
            async for source in self._sources:
                for message in source():
                    await self._connection.send(message)
