"""The socket that the interface listens on, in plain HTTP or TLS."""

from __future__ import annotations

import logging
import socket
import ssl
from typing import Final

import hypercorn.trio
import structlog
import trio
from fastapi import FastAPI
from hypercorn.config import Config

from party.config import Api
from party.private_files import check_private
from secagg.cli import CommandError, ExitCode

HANDSHAKE_SECONDS: Final = 10
"""How long a connection may take until it speaks TLS."""

_log = structlog.get_logger("secagg.party")


class _Plainly(logging.Handler):
    """Hypercorn's warnings in the node's own log, without what an exception says."""

    def emit(self, record: logging.LogRecord) -> None:
        _log.warning("http", problem=record.getMessage())


async def serve(
    app: FastAPI, address: Api, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve ``app`` until cancelled; the task status is its URL.

    Raises CommandError if the address cannot be listened on, or its certificate not be used.
    """
    config = _configured(address)
    try:
        listener = socket.create_server((address.host, address.port))
    except OSError as error:
        raise CommandError(
            f"{address.host}:{address.port} cannot be listened on: {error.strerror}.",
            "Set another port in [api] of party.toml; 0 takes any free one.",
            ExitCode.CONNECTION,
        ) from None
    host, port = listener.getsockname()[:2]
    config.bind = [f"fd://{listener.detach()}"]
    scheme = "http" if address.certificate is None else "https"
    async with trio.open_nursery() as nursery:
        await nursery.start(hypercorn.trio.serve, app, config)
        task_status.started(f"{scheme}://{host}:{port}")


def _configured(address: Api) -> Config:
    logger = logging.Logger("secagg.party.http", logging.WARNING)
    logger.addHandler(_Plainly())
    config = Config()
    config.accesslog = None
    config.errorlog = logger
    config.include_server_header = False
    config.max_app_queue_size = 2  # pieces of a body that wait for whoever reads them
    config.alpn_protocols = ["http/1.1"]
    config.ssl_handshake_timeout = HANDSHAKE_SECONDS
    if address.certificate is not None and address.private_key is not None:
        check_private(address.private_key)
        config.certfile, config.keyfile = str(address.certificate), str(address.private_key)
        try:
            config.create_ssl_context()
        except (OSError, ssl.SSLError) as error:
            raise CommandError(
                f"The certificate {address.certificate} with its key {address.private_key} cannot "
                f"be used: {error.strerror or error}.",
                "Give a certificate chain and its unencrypted key, both PEM, in [api].",
                ExitCode.USAGE,
            ) from None
    return config
