"""What one request may cost: how long its body may be, how late, how much memory all of them take.

The limit of length holds for whatever route reads a body, before anything of it is parsed. The rest
of a body that nobody wants is read and dropped, within bounds, before the answer is sent: most
clients read no answer before they have sent everything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from math import inf
from typing import Any, Final, final

import trio
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

BODY_SECONDS: Final = 30.0
"""How long a body may take, from when it is waited for to its last byte."""

_DROPPED: Final = 4
"""A body that nobody wants is read up to so many times the limit of length."""

_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@final
class BodyLimit:
    """ASGI middleware: 413 for a body of more than ``max_bytes``, 408 for one that stays away.

    Both as HTTPException, for whoever reads the body. It stands outermost, since what it does for
    bodies that are not read it does for every answer.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float = BODY_SECONDS) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        announced = int(headers.get("content-length", "0"))
        if (
            scope["method"] in _WITHOUT_BODY
            and not announced
            and "transfer-encoding" not in headers
        ):
            await self._app(scope, receive, send)
            return
        body = _Body(receive, send, announced, self._max_bytes, self._seconds)
        await self._app(scope, body.receive, body.send)


@final
class _Body:
    """One request with a body; ``announced``: its length by the header, 0 if that says nothing."""

    def __init__(
        self, receive: Receive, send: Send, announced: int, max_bytes: int, seconds: float
    ) -> None:
        self._receive = receive
        self._send = send
        self._length = announced
        self._is_counted = announced == 0
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._deadline = inf
        self._is_whole = False
        self._is_late = False

    async def receive(self) -> MutableMapping[str, Any]:
        """The next piece; after the last one, the end of the connection, whenever that is."""
        if self._is_whole:
            return await self._receive()
        if self._length > self._max_bytes:
            raise self._too_long()
        if self._deadline == inf:
            self._deadline = trio.current_time() + self._seconds
        with trio.move_on_at(self._deadline) as patience:
            message = await self._next()
        if patience.cancelled_caught:
            self._is_late = True
            raise HTTPException(
                408,
                f"the body did not arrive within {self._seconds:g} seconds: send it again",
                {"Connection": "close"},
            )
        if self._is_counted:
            self._length += len(message.get("body", b""))
        if self._length > self._max_bytes:
            raise self._too_long()
        return message

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start" and not self._is_late:
            await self._drop()
        if self._is_whole:
            await self._send(message)
            return
        # With the end of the answer the server hands over the end of the connection, and waits
        # until somebody takes it, behind all of the body that has arrived.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._discard)
            await self._send(message)
            nursery.cancel_scope.cancel()

    async def _next(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        self._is_whole = not message.get("more_body", False)
        return message

    async def _drop(self) -> None:
        remaining = _DROPPED * self._max_bytes
        with trio.move_on_after(self._seconds):
            while remaining > 0 and not self._is_whole:
                remaining -= len((await self._next()).get("body", b""))

    async def _discard(self) -> None:
        while not self._is_whole:
            await self._next()

    def _too_long(self) -> HTTPException:
        return HTTPException(
            413,
            f"the body is longer than {self._max_bytes} bytes: split the batch over several "
            f"rounds, or raise max_body_bytes in [api] of party.toml",
        )


@final
class Memory:
    """Bytes that requests hold at a time: a hundred large ones take turns, small ones do not."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held = 0
        self._freed = trio.Condition()

    @asynccontextmanager
    async def held(self, size: int) -> AsyncIterator[None]:
        """Wait until ``size`` bytes are free, and hold them; no more than there are at all."""
        wanted = min(size, self._capacity)
        async with self._freed:
            while self._held + wanted > self._capacity:
                await self._freed.wait()
            self._held += wanted
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                async with self._freed:
                    self._held -= wanted
                    self._freed.notify_all()
