"""An application behind the node's own socket, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import trio
from fastapi import FastAPI

from party import api
from party.config import Api


@asynccontextmanager
async def listening(app: FastAPI, config: Api | None = None) -> AsyncIterator[httpx2.AsyncClient]:
    """``app``, served until this is left."""
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            url: str = await nursery.start(api.serve, app, config or Api(port=0))
            async with httpx2.AsyncClient(base_url=url, timeout=30) as client:
                yield client
            nursery.cancel_scope.cancel()
