"""The node's local HTTP interface, for its own hospital: loopback only, no patient's data in it."""

from __future__ import annotations

import socket
from typing import Final

import hypercorn.trio
import trio
from fastapi import FastAPI
from hypercorn.config import Config
from pydantic import BaseModel
from starlette.middleware.trustedhost import TrustedHostMiddleware

from party.config import Api
from party.status import Reporter, StatusReport
from secagg.cli import CommandError, ExitCode

_LOCAL_NAMES: Final = ("localhost", "127.0.0.1")


class Health(BaseModel):
    """The process answers. Whether it is connected stands in /status."""

    status: str = "ok"


def application(reporter: Reporter, host: str) -> FastAPI:
    """The routes. Requests that name another host than this machine are refused (DNS rebinding)."""
    app = FastAPI(title="secagg party", docs_url=None, redoc_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=sorted({*_LOCAL_NAMES, host}))

    @app.get("/healthz")
    async def healthz() -> Health:
        """Whether this process answers."""
        return Health()

    @app.get("/status")
    async def status() -> StatusReport:
        """Where this node stands: rounds, models, privacy spent, accuracy."""
        return await trio.to_thread.run_sync(reporter.status)

    return app


async def serve(
    app: FastAPI, address: Api, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve ``app`` until cancelled; the task status is its URL.

    Raises CommandError if the address cannot be listened on.
    """
    try:
        listener = socket.create_server((address.host, address.port))
    except OSError as error:
        raise CommandError(
            f"{address.host}:{address.port} cannot be listened on: {error.strerror}.",
            "Set another port in [api] of party.toml; 0 takes any free one.",
            ExitCode.CONNECTION,
        ) from None
    host, port = listener.getsockname()
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.accesslog = None
    config.loglevel = "WARNING"
    config.include_server_header = False
    async with trio.open_nursery() as nursery:
        await nursery.start(hypercorn.trio.serve, app, config)
        task_status.started(f"http://{host}:{port}")
