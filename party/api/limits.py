"""What one request may cost: how long its body may be, how late, how much memory all of them take.

The limit of length holds before anything is parsed. A request that is refused for it is still read
to its end, within bounds: most clients read no answer before they have sent everything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, Final, final

import trio
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from party.api.errors import problem

BODY_SECONDS: Final = 30.0
"""How long a body may take from its first byte to its last."""

_READ_AND_DROPPED: Final = 8
"""A refused body is read up to so many times the limit; then the connection is closed."""


@final
class BodyLimit:
    """ASGI middleware: 413 for a body of more than ``max_bytes``, 408 for one that stays away."""

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
        if announced > self._max_bytes:
            await self._drop(receive)
            await problem(413, self._too_large())(scope, receive, send)
            return
        await self._app(scope, self._limited(receive), send)

    def _limited(self, receive: Receive) -> Receive:
        """``receive``, which ends in HTTPException once the body is too long or too late."""
        deadline = trio.current_time() + self._seconds
        received, complete = 0, False

        async def limited() -> MutableMapping[str, Any]:
            nonlocal received, complete
            if complete:  # what comes now is the end of the connection, whenever that is
                return await receive()
            with trio.move_on_at(deadline) as patience:
                message = await receive()
            if patience.cancelled_caught:
                raise HTTPException(
                    408,
                    f"the body did not arrive within {self._seconds:g} seconds: send it again",
                    {"Connection": "close"},
                )
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > self._max_bytes:
                if not complete:
                    await self._drop(receive)
                complete = True
                raise HTTPException(413, self._too_large())
            return message

        return limited

    async def _drop(self, receive: Receive) -> None:
        """Read the rest of a body that is refused, as far as that is worth while."""
        remaining = _READ_AND_DROPPED * self._max_bytes
        with trio.move_on_after(self._seconds):
            while remaining > 0:
                message = await receive()
                remaining -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return

    def _too_large(self) -> str:
        return (
            f"the body is longer than {self._max_bytes} bytes: split the batch over several "
            f"rounds, or raise max_body_bytes in [api] of party.toml"
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
