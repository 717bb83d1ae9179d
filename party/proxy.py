"""The way out through the hospital's HTTP proxy: one CONNECT (RFC 9110, section 9.3.6), then TLS.

The proxy sees the server's name and how much is sent, nothing else: TLS is between the node and
the server.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Self, final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import h11
import trio
from trio.abc import Stream

from secagg.crypto.secret import Secret

DIRECT: Final = "direct"
"""In the configuration: no proxy, whatever the environment says."""

_HTTP_PORT: Final = 80
_RECEIVE_BYTES: Final = 16 * 1024
_LONGEST_REASON: Final = 80
_FORM: Final = "a proxy is given as http://host:port or http://user:password@host:port"


class ProxyRefused(OSError):
    """The proxy does not connect us to the server; the text says why and how to mend it."""


@final
@dataclass(frozen=True, slots=True)
class Proxy:
    """Where the proxy listens; ``credentials``: ``user:password``, for Basic (RFC 7617)."""

    host: str
    port: int
    credentials: Secret | None = None

    @classmethod
    def parse(cls, url: str) -> Self:
        """The proxy that ``url`` names, with or without ``http://``.

        Raises ValueError, whose text does not hold the password.
        """
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError(_FORM) from None
        if parts.scheme != "http":
            raise ValueError(f"{_FORM}: what passes through it is encrypted without its help")
        if not host or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError(_FORM)
        credentials = None
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            credentials = Secret(pair.encode())
        return cls(host, _HTTP_PORT if port is None else port, credentials)

    def __str__(self) -> str:
        return authority(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Route:
    """How the server is reached: through ``proxy``, or directly; and who says so."""

    proxy: Proxy | None
    reason: str


def route(host: str, port: int, configured: str | None) -> Route:
    """How to reach the server at ``host``; ``configured``: [server] proxy of party.toml.

    Without it HTTPS_PROXY, ALL_PROXY and NO_PROXY of the environment hold, in small letters or
    capitals, except for this machine itself. Raises ValueError for a proxy that is no URL.
    """
    if configured is not None:
        if configured == DIRECT:
            return Route(None, "party.toml says so")
        return Route(Proxy.parse(configured), "party.toml says so")
    environment: Mapping[str, str] = getproxies_environment()
    name, url = next(
        ((key, environment[key]) for key in ("https", "all") if environment.get(key)), ("", "")
    )
    if not url:
        return Route(None, "no proxy is named")
    if _is_local(host):
        return Route(None, "the server is on this machine")
    if proxy_bypass(f"{host}:{port}"):
        return Route(None, "NO_PROXY names the server")
    try:
        return Route(Proxy.parse(url), f"{name.upper()}_PROXY says so")
    except ValueError as error:
        raise ValueError(f"{name.upper()}_PROXY: {error}") from None


async def open_tunnel(proxy: Proxy, host: str, port: int) -> trio.SocketStream:
    """A stream to the server at ``host``, opened by ``proxy``. Raises ProxyRefused."""
    try:
        stream = await trio.open_tcp_stream(proxy.host, proxy.port)
    except OSError as error:
        raise ProxyRefused(
            f"the proxy {proxy} cannot be reached ({error}): check [server] proxy in party.toml, "
            f"or HTTPS_PROXY"
        ) from None
    async with AsyncExitStack() as unless_done:
        unless_done.push_async_callback(trio.aclose_forcefully, stream)
        await _connect(stream, proxy, authority(host, port))
        unless_done.pop_all()
    return stream


async def _connect(stream: Stream, proxy: Proxy, target: str) -> None:
    """Ask ``proxy`` for ``target``; returns when it has said yes. Raises ProxyRefused."""
    http = h11.Connection(h11.CLIENT)
    headers = [("Host", target)]
    if proxy.credentials is not None:
        basic = base64.b64encode(proxy.credentials.reveal()).decode("ascii")
        headers.append(("Proxy-Authorization", f"Basic {basic}"))
    request = h11.Request(method="CONNECT", target=target, headers=headers)
    try:
        await stream.send_all((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
        response = await _response(stream, http)
    except h11.RemoteProtocolError:
        raise ProxyRefused(
            f"the proxy {proxy} does not answer as HTTP does: is this the port of an HTTP proxy?"
        ) from None
    except trio.BrokenResourceError:
        raise ProxyRefused(
            f"the proxy {proxy} broke the connection off: is this the port of an HTTP proxy?"
        ) from None
    if not 200 <= response.status_code < 300:
        raise ProxyRefused(_refusal(proxy, target, response))
    if http.trailing_data[0]:
        raise ProxyRefused(f"the proxy {proxy} sent bytes of its own into the connection")


async def _response(stream: Stream, http: h11.Connection) -> h11.Response:
    while True:
        event = http.next_event()
        if isinstance(event, h11.Response):
            return event
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some(_RECEIVE_BYTES)))


def _refusal(proxy: Proxy, target: str, response: h11.Response) -> str:
    status = response.status_code
    if status == 407:
        schemes = {
            value.split(b" ", 1)[0].lower()
            for name, value in response.headers
            if name == b"proxy-authenticate"
        }
        if schemes and b"basic" not in schemes:
            return (
                f"the proxy {proxy} wants another authentication than Basic (407): ask the "
                f"network team for an account with a password, or for {target} to be exempted"
            )
        if proxy.credentials is None:
            return (
                f"the proxy {proxy} wants a user and a password (407): give them in [server] proxy "
                f"of party.toml, or in SECAGG_PARTY__SERVER__PROXY"
            )
        return (
            f"the proxy {proxy} does not accept this user and password (407): correct them in "
            f"[server] proxy of party.toml, or where the environment names the proxy"
        )
    if status == 403:
        return (
            f"the proxy {proxy} does not allow connections to {target} (403): ask the network team "
            f"to allow CONNECT to it"
        )
    reason = response.reason.decode("latin-1")[:_LONGEST_REASON]
    said = f"{status} {reason}" if reason.isprintable() else str(status)
    return (
        f"the proxy {proxy} did not reach {target} ({said}): check host and port in [server] of "
        f"party.toml, and ask the network team whether the proxy can resolve and reach them"
    )


def authority(host: str, port: int) -> str:
    """``host:port`` as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
