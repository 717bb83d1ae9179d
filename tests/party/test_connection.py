"""TLS toward the server, over loopback: whom the node accepts, and what it sends and reads."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme

from party.config import ServerAddress, Tls
from party.connection import Connection, dial, explained, tls_context
from secagg.cli import CommandError
from secagg.errors import DecodeError
from secagg.wire.codec import encode
from secagg.wire.framing import MAX_FRAME_BYTES, frame
from secagg.wire.messages import ModelChunk, Ready, Refusal

Handler = Callable[[trio.SSLStream[trio.SocketStream]], Awaitable[None]]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def files(directory: Path, authority: trustme.CA, mutual: bool = True) -> Tls:
    """A party's TLS files."""
    authority.cert_pem.write_to_path(directory / "ca.crt")
    if not mutual:
        return Tls(ca=directory / "ca.crt", server_name="localhost")
    issued = authority.issue_cert("hospital-1")
    issued.cert_chain_pems[0].write_to_path(directory / "party.crt")
    issued.private_key_pem.write_to_path(directory / "party.key")
    (directory / "party.key").chmod(0o600)
    return Tls(
        ca=directory / "ca.crt",
        certificate=directory / "party.crt",
        private_key=directory / "party.key",
        server_name="localhost",
    )


def server_context(authority: trustme.CA, name: str = "localhost") -> ssl.SSLContext:
    """A server that demands a client's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@asynccontextmanager
async def listening(
    context: ssl.SSLContext, handler: Handler, refused: list[str] | None = None
) -> AsyncIterator[ServerAddress]:
    """A TLS server on loopback; why it refused a party goes to ``refused``."""

    async def handle(plain: trio.SocketStream) -> None:
        stream = trio.SSLStream(plain, context, server_side=True)
        try:
            await handler(stream)
        except trio.BrokenResourceError as error:
            if refused is not None:
                refused.append(str(error.__cause__))
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        yield ServerAddress(host="127.0.0.1", port=listener.socket.getsockname()[1])
        nursery.cancel_scope.cancel()


async def greet(stream: trio.SSLStream[trio.SocketStream]) -> None:
    """Say one thing, and repeat what comes back as a Refusal's reason, in small pieces."""
    for octet in frame(encode(Refusal("hello"))):
        await stream.send_all(bytes([octet]))
    data = await stream.receive_some()
    await stream.send_all(frame(encode(Refusal(bytes(data).hex()))))
    await stream.aclose()


async def test_messages_pass_in_both_directions(tmp_path: Path, authority: trustme.CA) -> None:
    tls = files(tmp_path, authority)
    with trio.fail_after(20):
        async with listening(server_context(authority), greet) as address:
            stream = await dial(address, tls_context(tls), tls.server_name)
            assert isinstance(stream, trio.SSLStream)
            assert stream.version() == "TLSv1.3"
            async with Connection(stream) as connection:
                assert await connection.receive() == Refusal("hello")
                await connection.send(Ready(7))
                echoed = await connection.receive()
                assert echoed == Refusal(frame(encode(Ready(7))).hex())
                assert await connection.receive() is None


async def first_message(address: ServerAddress, tls: Tls) -> object:
    """Dial and read. In TLS 1.3 the server judges the party after the party's handshake is done."""
    stream = await dial(address, tls_context(tls), tls.server_name)
    async with Connection(stream) as connection:
        return await connection.receive()


async def refusal(tls: Tls, context: ssl.SSLContext) -> tuple[str, str]:
    """Why the two do not come together: in the party's words, in the server's."""
    refused: list[str] = []
    with trio.fail_after(20):
        async with listening(context, greet, refused) as address:
            with pytest.raises(trio.BrokenResourceError) as broken:
                await first_message(address, tls)
            while not refused:
                await trio.sleep(0.01)
    return explained(broken.value, greeted=False), refused[0]


async def test_a_server_of_another_authority_is_refused(
    tmp_path: Path, authority: trustme.CA
) -> None:
    ours, _ = await refusal(files(tmp_path, authority), server_context(trustme.CA()))
    assert "certificate verify failed" in ours
    assert "check ca and server_name in [tls]" in ours


async def test_a_server_of_another_name_is_refused(tmp_path: Path, authority: trustme.CA) -> None:
    elsewhere = server_context(authority, "elsewhere.example")
    ours, _ = await refusal(files(tmp_path, authority), elsewhere)
    assert "not valid for 'localhost'" in ours


async def test_a_server_below_tls_1_3_is_refused(tmp_path: Path, authority: trustme.CA) -> None:
    context = server_context(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    _, theirs = await refusal(files(tmp_path, authority), context)
    assert "UNSUPPORTED_PROTOCOL" in theirs


async def test_without_a_certificate_a_mutual_server_refuses(
    tmp_path: Path, authority: trustme.CA
) -> None:
    tls = files(tmp_path, authority, mutual=False)
    ours, theirs = await refusal(tls, server_context(authority))
    assert "does it accept this hospital's certificate" in ours
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in theirs


def test_a_server_that_dies_in_the_middle_puts_no_certificate_in_question() -> None:
    error = trio.BrokenResourceError()
    error.__cause__ = ssl.SSLEOFError(8, "EOF occurred in violation of protocol")
    assert "certificate" not in explained(ExceptionGroup("lost", [error]), greeted=True)
    assert "certificate" in explained(ExceptionGroup("lost", [error]), greeted=False)


async def test_one_way_tls_works_where_the_server_allows_it(
    tmp_path: Path, authority: trustme.CA
) -> None:
    tls, context = files(tmp_path, authority, mutual=False), server_context(authority)
    context.verify_mode = ssl.CERT_NONE
    with trio.fail_after(20):
        async with listening(context, greet) as address:
            assert await first_message(address, tls) == Refusal("hello")


@pytest.mark.parametrize("name", ["ca.crt", "party.crt", "party.key"])
@pytest.mark.parametrize("content", [None, b"no PEM"])
def test_unusable_files_are_explained(
    tmp_path: Path, authority: trustme.CA, name: str, content: bytes | None
) -> None:
    tls = files(tmp_path, authority)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    with pytest.raises(CommandError) as refused:
        tls_context(tls)
    assert "party.toml" in refused.value.remedy


def test_a_private_key_that_others_may_read_is_refused(
    tmp_path: Path, authority: trustme.CA
) -> None:
    tls = files(tmp_path, authority)
    (tmp_path / "party.key").chmod(0o644)
    with pytest.raises(CommandError, match="mode 0644"):
        tls_context(tls)


async def test_frames_may_be_large_only_after_the_greeting() -> None:
    chunk = ModelChunk(0, bytes(2**17))
    for greeted in (False, True):
        ours, theirs = trio.testing.memory_stream_pair()
        connection = Connection(theirs)
        if greeted:
            connection.accept_large_frames()
        await ours.send_all(frame(encode(chunk)))
        if greeted:
            assert await connection.receive() == chunk
            await ours.send_all((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))
        with pytest.raises(DecodeError, match="a frame has"):
            await connection.receive()


async def test_two_tasks_may_send_at_once() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    connection, sent = Connection(theirs), [Ready(number) for number in range(50)]
    async with trio.open_nursery() as nursery:
        for message in sent:
            nursery.start_soon(connection.send, message)
    await connection.__aexit__(None, None, None)
    received = b""
    while data := await ours.receive_some():
        received += data
    assert sorted(received) == sorted(b"".join(frame(encode(message)) for message in sent))
    for message in sent:
        assert frame(encode(message)) in received
