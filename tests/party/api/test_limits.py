"""What one request may cost: lengths, times, memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import trio
from fastapi import FastAPI, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from party.api import errors
from party.api.limits import BodyLimit, Memory
from tests.party.api.listening import listening

LIMIT = 1000


def counting(seconds: float = 30) -> FastAPI:
    """An application that says how long a body was."""
    app = FastAPI()
    errors.install(app)

    @app.post("/length")
    async def length(request: Request) -> int:
        return len(await request.body())

    app.add_middleware(BodyLimit, max_bytes=LIMIT, seconds=seconds)
    return app


async def pieces(count: int, size: int = 100) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield bytes(size)


@pytest.mark.parametrize("length", [0, 1, LIMIT])
async def test_a_body_within_the_limit_passes(length: int) -> None:
    async with listening(counting()) as client:
        assert (await client.post("/length", content=bytes(length))).json() == length


@pytest.mark.parametrize("length", [LIMIT + 1, 5 * LIMIT, 1_000_000])
async def test_a_longer_one_is_refused_once_it_is_sent(length: int) -> None:
    async with listening(counting()) as client:
        answer = await client.post("/length", content=bytes(length))
        assert answer.status_code == 413
        assert "longer than 1000 bytes" in answer.json()["detail"]


async def test_without_a_length_it_is_counted() -> None:
    async with listening(counting()) as client:
        assert (await client.post("/length", content=pieces(10))).json() == LIMIT
        for count in (11, 1000):
            answer = await client.post("/length", content=pieces(count))
            assert answer.status_code == 413
            assert "max_body_bytes" in answer.json()["detail"]


async def exchange(app: FastAPI, *parts: bytes) -> bytes:
    """What the first line of the answer to these bytes is, sent as they stand."""
    async with listening(app) as client:
        stream = await trio.open_tcp_stream("127.0.0.1", client.base_url.port or 0)
        async with stream:
            for part in parts:
                await stream.send_all(part)
            return bytes(await stream.receive_some(1000)).partition(b"\r\n")[0]


HEAD = b"POST /length HTTP/1.1\r\nHost: localhost\r\n"


async def test_a_body_that_stays_away_is_given_up() -> None:
    announced = HEAD + b"Content-Length: 100\r\n\r\n"
    assert b" 408 " in await exchange(counting(seconds=0.1), announced, b"some")


@pytest.mark.parametrize("length", [100, LIMIT, 50 * LIMIT, 10_000_000])
async def test_a_body_that_nobody_reads_holds_nothing_up(length: int) -> None:
    app = counting()
    finished: list[str] = []

    class Outermost:
        """Notes that requests come to their end."""

        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self.app(scope, receive, send)
            finished.append(scope["type"])

    app.add_middleware(Outermost)
    async with listening(app) as client:
        for path, status in (("/nowhere", 404), ("/openapi.json", 405)):
            stream = await trio.open_tcp_stream("127.0.0.1", client.base_url.port or 0)
            async with stream, trio.open_nursery() as nursery:
                head = (
                    f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
                )
                nursery.start_soon(pour, stream, head.encode() + bytes(length))
                answer = bytes(await stream.receive_some(1000))
                assert answer.startswith(f"HTTP/1.1 {status} ".encode())
                nursery.cancel_scope.cancel()
        assert (await client.post("/length", content=b"x")).json() == 1
        while finished.count("http") < 3:  # no request is left over
            await trio.sleep(0.01)


async def pour(stream: trio.SocketStream, data: bytes) -> None:
    """Send it all, unless the other side has had enough."""
    with suppress(trio.BrokenResourceError):
        await stream.send_all(data)


async def test_time_runs_from_when_a_body_is_waited_for() -> None:
    app = counting(seconds=0.2)

    @app.post("/later")
    async def later(request: Request) -> int:
        await trio.sleep(0.5)
        return len(await request.body())

    async with listening(app) as client:
        assert (await client.post("/later", content=bytes(5))).json() == 5


async def test_lengths_that_contradict_each_other_are_refused() -> None:
    both = HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx"
    assert b" 400 " in await exchange(counting(), both)
    negative = HEAD + b"Content-Length: -1\r\n\r\n"
    assert b" 400 " in await exchange(counting(), negative)


async def test_memory_is_shared_in_turns() -> None:
    memory = Memory(100)
    most = now = 0

    async def hold(size: int) -> None:
        nonlocal most, now
        async with memory.held(size):
            now += min(size, 100)
            most = max(most, now)
            await trio.testing.wait_all_tasks_blocked()
            now -= min(size, 100)

    async with trio.open_nursery() as nursery:
        for size in (60, 60, 30, 10, 1000, 0, 100):
            nursery.start_soon(hold, size)
    assert now == 0
    assert most == 100


async def test_memory_is_freed_by_whoever_gives_up() -> None:
    memory = Memory(100)
    with trio.CancelScope() as given_up:
        async with memory.held(100):
            given_up.cancel()
            await trio.lowlevel.checkpoint()
    with trio.fail_after(1):
        async with memory.held(100):
            pass
