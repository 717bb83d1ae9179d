"""TLS toward the parties: version 1.3 alone, mutual unless the configuration says otherwise."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from typing import Final

import trio

from secagg.cli import CommandError, ExitCode
from server.config import Tls
from server.private_files import check_private

# A party that vanished without a word is noticed after about a minute.
_KEEPALIVE: Final[Mapping[str, int]] = {
    "TCP_KEEPIDLE": 20,
    "TCP_KEEPINTVL": 10,
    "TCP_KEEPCNT": 4,
    "TCP_USER_TIMEOUT": 60_000,
}


def tls_context(tls: Tls) -> ssl.SSLContext:
    """The server's side of TLS. Raises CommandError for files that are missing, unfit or open."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # every connection shows its certificate; none is resumed
    check_private(tls.private_key)
    try:
        context.load_cert_chain(tls.certificate, tls.private_key)
        if tls.client_ca is not None:
            context.load_verify_locations(tls.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise CommandError(
            f"The TLS files of this server cannot be used: {error}.",
            "Check [tls] in server.toml: certificate, private_key and client_ca are PEM files.",
            ExitCode.USAGE,
        ) from None
    return context


def encrypted(plain: trio.SocketStream, context: ssl.SSLContext) -> trio.abc.Stream:
    """The server's end of an accepted connection; the handshake is made by its first use."""
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        option = getattr(socket, name, None)  # not every platform has every one
        if option is not None:
            plain.setsockopt(socket.IPPROTO_TCP, option, value)
    return trio.SSLStream(plain, context, server_side=True)
