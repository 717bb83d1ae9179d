"""One connection to the server: a byte stream on one side, messages on the other."""

from __future__ import annotations

import socket
import ssl
from collections import deque
from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self, final

import trio
from trio.abc import Stream

from party.config import ServerAddress, Tls
from party.private_files import check_private
from party.proxy import open_tunnel
from secagg.cli import CommandError, ExitCode
from secagg.wire.codec import decode_from_server, encode
from secagg.wire.framing import MAX_FRAME_BYTES, FrameReader, frame
from secagg.wire.messages import FromServer, Wire

MAX_FIRST_FRAME_BYTES: Final = 64 * 1024
RECEIVE_BYTES: Final = 256 * 1024
CLOSE_SECONDS: Final = 2

# A server that vanished without a word is noticed after about a minute.
_KEEPALIVE: Final[Mapping[str, int]] = {
    "TCP_KEEPIDLE": 20,
    "TCP_KEEPINTVL": 10,
    "TCP_KEEPCNT": 4,
    "TCP_USER_TIMEOUT": 60_000,
}


@final
class Connection:
    """Messages over ``stream``; as a context manager it closes the stream.

    One task receives; any number may send. Errors are those of the stream, and DecodeError for
    bytes that are no message of the server: the connection is then of no further use.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._reader = FrameReader(MAX_FIRST_FRAME_BYTES)
        self._frames: deque[bytes] = deque()
        self._sending = trio.Lock()

    def accept_large_frames(self) -> None:
        """The server has greeted: from now on frames may be as long as the protocol allows."""
        self._reader.limit = MAX_FRAME_BYTES

    async def receive(self) -> FromServer | None:
        """The next message; None when the server has closed the connection."""
        while not self._frames:
            data = await self._stream.receive_some(RECEIVE_BYTES)
            if not data:
                self._reader.finish()
                return None
            self._frames.extend(self._reader.feed(bytes(data)))
        return decode_from_server(self._frames.popleft())

    async def send(self, message: Wire) -> None:
        """Send one message; returns when the stream has taken it."""
        data = frame(encode(message))
        async with self._sending:
            await self._stream.send_all(data)

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


def tls_context(tls: Tls) -> ssl.SSLContext:
    """TLS 1.3 alone, the server's certificate checked against ``ca`` and its name.

    Raises CommandError for files that are missing, unfit or open to others.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(tls.ca)
        if tls.certificate is not None and tls.private_key is not None:
            check_private(tls.private_key)
            context.load_cert_chain(tls.certificate, tls.private_key)
    except (OSError, ssl.SSLError) as error:
        raise CommandError(
            f"The TLS files of this node cannot be used: {error}.",
            "Check [tls] in party.toml: ca, certificate and private_key are PEM files.",
            ExitCode.USAGE,
        ) from None
    return context


async def dial(address: ServerAddress, context: ssl.SSLContext, server_name: str) -> Stream:
    """An encrypted stream to the server, handshake done; through the proxy, if one is named.

    Raises OSError if it cannot be reached (ProxyRefused if the proxy is why);
    trio.BrokenResourceError, caused by an ssl.SSLError, if the two do not accept each other's
    certificates; CommandError if the environment names no usable proxy.
    """
    proxy = address.route().proxy
    if proxy is None:
        plain = await trio.open_tcp_stream(address.host, address.port)
    else:
        plain = await open_tunnel(proxy, address.host, address.port)
    _keep_alive(plain)
    stream = trio.SSLStream(plain, context, server_hostname=server_name)
    async with AsyncExitStack() as unless_done:
        unless_done.push_async_callback(trio.aclose_forcefully, stream)
        await stream.do_handshake()
        unless_done.pop_all()
    return stream


def explained(error: BaseException, greeted: bool) -> str:
    """Why a connection failed, in the words of its innermost causes, and how to mend it.

    ``greeted``: whether the server had greeted on it, so that certificates are not in question.
    """
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(sorted({explained(each, greeted) for each in error.exceptions}))
    match error:
        case ssl.SSLCertVerificationError():
            return f"{error}: check ca and server_name in [tls] of party.toml"
        case ssl.SSLEOFError() if greeted:
            return "the server ended the connection without a word"
        case ssl.SSLEOFError():
            return (
                "the server ended the connection without a word: does it accept this hospital's "
                "certificate ([tls] in party.toml), and TLS 1.3?"
            )
        case trio.TooSlowError():
            return "the server did not answer in time"
    if error.__cause__ is not None:
        return explained(error.__cause__, greeted)
    return str(error) or type(error).__name__


def _keep_alive(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        option = getattr(socket, name, None)  # not every platform has every one
        if option is not None:
            stream.setsockopt(socket.IPPROTO_TCP, option, value)
