"""The node's HTTP interface: its port, and its own certificate if it has one."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from party.certificates import Unfit, certificates, check_key, check_time
from party.preflight.site import Site
from secagg.cli import CommandError, ExitCode


def free(site: Site) -> str:
    """Nobody else listens there; the node itself may, if it runs."""
    api = site.config.api
    if api.certificate is not None and api.private_key is not None:
        _check_tls(site, api.certificate, api.private_key)
    if api.port == 0:
        return f"{api.host}, any free port"
    place = f"{api.host}:{api.port}"
    if site.is_running:
        _check_answers(api.host, api.port, place)
        return f"{place}, the node answers"
    try:
        socket.create_server((api.host, api.port)).close()
    except OSError as error:
        raise CommandError(
            f"{place} cannot be listened on: {error.strerror}.",
            "Stop what listens there, or set another host or port in [api] of party.toml.",
            ExitCode.CONNECTION,
        ) from None
    return f"{place} is free"


def _check_answers(host: str, port: int, place: str) -> None:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError as error:
        raise CommandError(
            f"A node is running, and nobody answers at {place}: {error.strerror or error}.",
            "Has it been started with another configuration? See its log.",
            ExitCode.CONNECTION,
        ) from None


def _check_tls(site: Site, certificate: Path, private_key: Path) -> None:
    try:
        own = certificates(certificate.read_bytes())[0]
        check_key(own, private_key.read_bytes())
        check_time(own, site.now)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, private_key)
    except (OSError, Unfit, ssl.SSLError) as error:
        raise CommandError(
            f"The certificate of the HTTP interface, {certificate}, {error}.",
            "Correct certificate and private_key in [api] of party.toml.",
            ExitCode.USAGE,
        ) from None
