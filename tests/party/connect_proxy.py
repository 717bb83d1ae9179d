"""A small HTTP proxy on loopback that knows CONNECT alone, as hospitals have on their way out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import h11
import trio


@dataclass(slots=True)
class ConnectProxy:
    """What it answers, and what it was asked.

    ``answer``: status, reason and headers instead of a tunnel. ``raw``: bytes instead of HTTP; no
    bytes: it hangs up.
    """

    answer: tuple[int, str, list[tuple[str, str]]] | None = None
    raw: bytes | None = None
    port: int = 0
    requests: list[h11.Request] = field(default_factory=list)
    tunnelled: bytearray = field(default_factory=bytearray)

    async def handle(self, client: trio.SocketStream) -> None:
        """Serve one connection."""
        http = h11.Connection(h11.SERVER)
        while (event := http.next_event()) is h11.NEED_DATA:
            http.receive_data(bytes(await client.receive_some(4096)))
        assert isinstance(event, h11.Request)
        self.requests.append(event)
        if self.raw is not None:
            await client.send_all(self.raw)
            return
        if self.answer is not None:
            status, reason, headers = self.answer
            headers = [*headers, ("content-length", "0")]
            response = h11.Response(status_code=status, reason=reason.encode(), headers=headers)
            await client.send_all(http.send(response) or b"")
            return
        host, _, port = event.target.decode().rpartition(":")
        server = await trio.open_tcp_stream(host.strip("[]"), int(port))
        await client.send_all(http.send(h11.Response(status_code=200, headers=[])) or b"")
        async with server, trio.open_nursery() as nursery:
            nursery.start_soon(self._pump, client, server, self.tunnelled)
            nursery.start_soon(self._pump, server, client, None)

    async def _pump(
        self, source: trio.SocketStream, sink: trio.SocketStream, seen: bytearray | None
    ) -> None:
        try:
            async for data in source:
                if seen is not None:
                    seen += data
                await sink.send_all(data)
            await sink.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # one side is gone: nothing is left to carry


@asynccontextmanager
async def proxying(proxy: ConnectProxy) -> AsyncIterator[ConnectProxy]:
    """``proxy``, listening on ``proxy.port`` of loopback."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        proxy.port = listener.socket.getsockname()[1]
        nursery.start_soon(partial(trio.serve_listeners, proxy.handle, [listener]))
        yield proxy
        nursery.cancel_scope.cancel()
