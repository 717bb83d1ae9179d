"""Out of the hospital through its HTTP proxy: which one, and what it says."""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme

from party.config import ServerAddress, Tls
from party.connection import dial, explained, tls_context
from party.proxy import Proxy, ProxyRefused, open_tunnel, route
from secagg.cli import CommandError, ExitCode
from tests.party.connect_proxy import ConnectProxy, proxying

SERVER = "secagg.example.org"
VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("url", "host", "port", "credentials"),
    [
        ("http://proxy.example.org:3128", "proxy.example.org", 3128, None),
        ("proxy:8080", "proxy", 8080, None),
        ("http://proxy/", "proxy", 80, None),
        ("http://[::1]:3128", "::1", 3128, None),
        ("http://user:p%40ss%3A@proxy:1", "proxy", 1, b"user:p@ss:"),
        ("user:@proxy:1", "proxy", 1, b"user:"),
    ],
)
def test_a_proxy_is_named_as_everywhere(
    url: str, host: str, port: int, credentials: bytes | None
) -> None:
    proxy = Proxy.parse(url)
    assert (proxy.host, proxy.port) == (host, port)
    assert (proxy.credentials and proxy.credentials.reveal()) == credentials


@pytest.mark.parametrize(
    "url",
    ["", "http://", "https://u:secret@proxy:1", "socks5://proxy:1", "http://proxy:x", "http://p/a"],
)
def test_what_is_no_proxy_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="given as http://host:port") as refused:
        Proxy.parse(url)
    assert "secret" not in str(refused.value)


def test_the_password_is_not_shown() -> None:
    proxy = Proxy.parse("http://user:secret@proxy:1")
    address = ServerAddress.model_validate(
        {"host": SERVER, "port": 8443, "proxy": "http://user:secret@proxy:1"}
    )
    for shown in (repr(proxy), str(proxy), repr(address), repr(address.route())):
        assert "secret" not in shown


@pytest.mark.parametrize(
    ("environment", "host", "through"),
    [
        ({}, SERVER, None),
        ({"HTTPS_PROXY": "http://a:1"}, SERVER, "a:1"),
        ({"https_proxy": "http://a:1"}, SERVER, "a:1"),
        ({"ALL_PROXY": "b:2"}, SERVER, "b:2"),
        ({"HTTPS_PROXY": "a:1", "ALL_PROXY": "b:2"}, SERVER, "a:1"),
        ({"HTTPS_PROXY": "a:1", "NO_PROXY": ".example.org"}, SERVER, None),
        ({"HTTPS_PROXY": "a:1", "NO_PROXY": "*"}, SERVER, None),
        ({"HTTPS_PROXY": "a:1", "NO_PROXY": "example.com"}, SERVER, "a:1"),
        ({"HTTPS_PROXY": "a:1"}, "127.0.0.1", None),
        ({"HTTPS_PROXY": "a:1"}, "localhost", None),
        ({"HTTPS_PROXY": "a:1"}, "::1", None),
        ({"HTTP_PROXY": "a:1"}, SERVER, None),
    ],
)
def test_the_environment_names_a_proxy(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], host: str, through: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    chosen = route(host, 8443, None).proxy
    assert (None if chosen is None else str(chosen)) == through


def test_the_configuration_stands_above_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://a:1")
    assert str(route(SERVER, 8443, "http://b:2").proxy) == "b:2"
    assert str(route("127.0.0.1", 8443, "http://b:2").proxy) == "b:2"
    assert route(SERVER, 8443, "direct").proxy is None


def test_an_unusable_proxy_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "https://user:secret@a:1")
    with pytest.raises(CommandError, match="HTTPS_PROXY") as refused:
        ServerAddress(host=SERVER, port=8443).route()
    assert refused.value.exit_code is ExitCode.USAGE
    assert "secret" not in str(refused.value)


@asynccontextmanager
async def echoing(authority: trustme.CA) -> AsyncIterator[int]:
    """A TLS server on loopback that repeats what it is told; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    async def echo(plain: trio.SocketStream) -> None:
        async with trio.SSLStream(plain, context, server_side=True) as stream:
            await stream.send_all(await stream.receive_some(100))

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, echo, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("user", ["", "us%65r:p%40ss@"])
async def test_tls_goes_through_the_proxy_which_sees_no_plaintext(
    tmp_path: Path, user: str
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    tls = Tls(ca=tmp_path / "ca.crt", server_name="localhost")
    with trio.fail_after(10):
        async with echoing(authority) as port, proxying(ConnectProxy()) as proxy:
            address = ServerAddress.model_validate(
                {
                    "host": "127.0.0.1",
                    "port": port,
                    "proxy": f"http://{user}127.0.0.1:{proxy.port}",
                }
            )
            stream = await dial(address, tls_context(tls), tls.server_name)
            await stream.send_all(b"masked input")
            assert await stream.receive_some(100) == b"masked input"
            await trio.aclose_forcefully(stream)
    (request,) = proxy.requests
    assert (request.method, request.target) == (b"CONNECT", f"127.0.0.1:{port}".encode())
    shown = dict(request.headers).get(b"proxy-authorization")
    assert shown == (b"Basic " + base64.b64encode(b"user:p@ss") if user else None)
    assert len(proxy.tunnelled) > 100
    assert b"masked input" not in proxy.tunnelled


async def refusal(proxy: ConnectProxy, credentials: str = "") -> str:
    """Why no tunnel is opened, as the node's log has it."""
    with trio.fail_after(10):
        async with proxying(proxy):
            through = Proxy.parse(f"{credentials}127.0.0.1:{proxy.port}")
            with pytest.raises(ProxyRefused) as refused:
                await open_tunnel(through, SERVER, 8443)
    return re.sub(r"127\.0\.0\.1:\d+", "PROXY", explained(refused.value, greeted=False))


BASIC = [("proxy-authenticate", 'Basic realm="x"')]
NTLM = [("proxy-authenticate", "Negotiate"), ("proxy-authenticate", "NTLM")]


@pytest.mark.parametrize(
    ("status", "headers", "credentials", "words"),
    [
        (407, BASIC, "", "PROXY wants a user and a password (407): give them in [server] proxy"),
        (407, BASIC, "a:b@", "PROXY does not accept this user and password (407): correct them"),
        (407, NTLM, "", "wants another authentication than Basic (407): ask the network team"),
        (407, [*NTLM, *BASIC], "", "wants a user and a password (407)"),
        (403, [], "", "does not allow connections to secagg.example.org:8443 (403): ask the net"),
        (502, [], "", "did not reach secagg.example.org:8443 (502 No way): check host and port"),
        (301, [], "", "did not reach secagg.example.org:8443 (301 No way)"),
    ],
)
async def test_a_refusal_says_how_to_mend_it(
    status: int, headers: list[tuple[str, str]], credentials: str, words: str
) -> None:
    assert words in await refusal(ConnectProxy(answer=(status, "No way", headers)), credentials)


@pytest.mark.parametrize("raw", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK"])
async def test_what_is_no_proxy_is_named(raw: bytes) -> None:
    assert "is this the port of an HTTP proxy?" in await refusal(ConnectProxy(raw=raw))


async def test_bytes_that_a_proxy_slips_in_are_refused() -> None:
    greedy = ConnectProxy(raw=b"HTTP/1.1 200 Connected\r\n\r\nhello")
    assert "bytes of its own" in await refusal(greedy)


async def test_a_proxy_that_is_not_there_is_named() -> None:
    with pytest.raises(ProxyRefused, match=r"127\.0\.0\.1:1 cannot be reached.*HTTPS_PROXY"):
        await open_tunnel(Proxy("127.0.0.1", 1), SERVER, 8443)
