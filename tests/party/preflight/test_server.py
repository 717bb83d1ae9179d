"""The server's greeting, from a real server process and from others that do not fit."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from party.preflight import server
from secagg.cli import ExitCode
from secagg.wire.codec import encode
from secagg.wire.framing import frame
from secagg.wire.messages import PROTOCOL, Challenge, Refusal
from server.certificates import Authority
from tests.party.preflight.conftest import Hospital


@pytest.mark.usefixtures("serving")
def test_the_consortiums_server_greets(hospital: Hospital) -> None:
    said = server.greets(hospital.site())
    assert f"greets in protocol {PROTOCOL} under our policy" in said


@pytest.mark.usefixtures("serving")
def test_another_policy_is_found(hospital: Hospital) -> None:
    newer = msgspec.structs.replace(hospital.policy, version=2)
    (hospital.home / "policy.json").write_bytes(newer.canonical())
    words = rf"policy {hospital.policy.digest().hex()}.*has pinned {newer.digest().hex()}"
    hospital.fails(server.greets, words, ExitCode.CONNECTION)


@pytest.mark.usefixtures("serving")
def test_a_server_of_another_authority_is_found(hospital: Hospital) -> None:
    other = Authority.create("consortium TLS authority").issued.certificate
    (hospital.home / "ca.crt").write_bytes(other)
    hospital.fails(server.greets, "certificate verify failed.*check ca", ExitCode.CONNECTION)


@pytest.mark.usefixtures("serving")
def test_a_server_of_another_name_is_found(hospital: Hospital) -> None:
    hospital.change('server_name = "localhost"', 'server_name = "elsewhere.example.org"')
    hospital.fails(server.greets, "check ca and server_name", ExitCode.CONNECTION)


@pytest.mark.usefixtures("serving")
def test_a_certificate_that_the_server_refuses_is_found(hospital: Hospital) -> None:
    issued = Authority.create("another").client("a")
    (hospital.home / "party.crt").write_bytes(issued.certificate)
    (hospital.home / "party.key").write_bytes(issued.private_key)
    hospital.fails(server.greets, "cannot be worked with", ExitCode.CONNECTION)


def test_a_server_that_is_not_there_is_found(hospital: Hospital) -> None:
    port = hospital.site().config.server.port
    hospital.change(f"port = {port}", "port = 1")
    hospital.fails(server.greets, "localhost:1 cannot be worked with.*refused", ExitCode.CONNECTION)


@contextmanager
def saying(home: Path, said: bytes | None, encrypted: bool = True) -> Iterator[int]:
    """A server of the right authority that says one thing, or nothing and waits; its port."""
    done = threading.Event()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home / "server.crt", home / "server.key")

    def serve() -> None:
        plain, _ = listener.accept()
        with plain, context.wrap_socket(plain, server_side=True) if encrypted else plain as stream:
            if said is not None:
                stream.sendall(said)
                stream.recv(1)
            done.wait(20)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            done.set()
            thread.join()


@pytest.fixture
def posing(hospital: Hospital) -> Hospital:
    """A hospital whose authority has issued a certificate to somebody who is no server of ours."""
    authority = Authority.create("another")
    issued = authority.server("localhost", ("localhost",))
    (hospital.home / "ca.crt").write_bytes(authority.issued.certificate)
    (hospital.home / "server.crt").write_bytes(issued.certificate)
    (hospital.home / "server.key").write_bytes(issued.private_key)
    return hospital


def wrong_protocol(hospital: Hospital) -> bytes:
    return frame(encode(Challenge(PROTOCOL + 1, hospital.policy.digest(), bytes(32))))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("protocol", f"speaks protocol {PROTOCOL + 1}, this node {PROTOCOL}.*same version"),
        ("refusal", "did not greet.*Is this the port of a secagg server"),
        ("nonsense", "does not speak our protocol"),
    ],
)
def test_a_server_that_is_not_ours_is_found(posing: Hospital, said: str, words: str) -> None:
    port = posing.site().config.server.port
    spoken = {
        "protocol": wrong_protocol(posing),
        "refusal": frame(encode(Refusal("no"))),
        "nonsense": b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10,
    }
    with saying(posing.home, spoken[said]) as other:
        posing.change(f"port = {port}", f"port = {other}")
        posing.fails(server.greets, words, ExitCode.CONNECTION)


def test_a_port_without_tls_is_found(posing: Hospital) -> None:
    port = posing.site().config.server.port
    with saying(posing.home, b"220 mail.example.org\r\n", encrypted=False) as other:
        posing.change(f"port = {port}", f"port = {other}")
        posing.fails(server.greets, "cannot be worked with", ExitCode.CONNECTION)


def test_a_silent_server_is_found(posing: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SECONDS", 0.5)
    port = posing.site().config.server.port
    with saying(posing.home, None) as other:
        posing.change(f"port = {port}", f"port = {other}")
        posing.fails(server.greets, "has not greeted within", ExitCode.TOO_FEW)
