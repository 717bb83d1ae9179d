"""The server as a process: real TLS on loopback, real signals, refusals that say how to mend."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import trio

from benchmarks.heart_disease.policy import schema
from secagg.cli import CommandError, ExitCode
from secagg.crypto.randomness import SeededRandomness
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey
from secagg.policy import NoiseSpec
from secagg.rounds.machine import Hospital
from secagg.wire.messages import Challenge
from server import config, process
from server.consortium import Created, create
from server.policy_template import Template
from tests.server.scripted import SPEC, Line, Party, take_part

NAMES = ("anna", "berta", "clara", "dora")


@pytest.fixture
def created(tmp_path: Path) -> Created:
    template = Template(noise=NoiseSpec(), model=SPEC, features=schema())
    made = create(tmp_path / "trial", NAMES, template)
    text = made.server.read_text().replace("port = 8443", "port = 0")
    made.server.write_text(text)
    return made


@contextmanager
def started(created: Created) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """``secagg server start`` and its port; killed at the end if it still runs."""
    command = [sys.executable, "-c", "from secagg.cli import main; main()"]
    server = subprocess.Popen(
        [*command, "server", "start", "--config", str(created.server)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        line = json.loads(server.stdout.readline())
        assert (line["event"], line["host"]) == ("listening", "127.0.0.1")
        yield server, line["port"]
    finally:
        server.kill()
        server.communicate()


def stopped(server: subprocess.Popen[str], how: signal.Signals) -> list[dict[str, object]]:
    """End the server; what it has logged."""
    server.send_signal(how)
    _, errors = server.communicate(timeout=20)
    assert server.returncode == ExitCode.OK, errors
    return [json.loads(line) for line in errors.splitlines()]


def client_tls(created: Created, name: str | None) -> ssl.SSLContext:
    """A party's side of TLS; without a name, one that shows no certificate."""
    home = created.hospitals[NAMES[0] if name is None else name].parent
    context = ssl.create_default_context(cafile=home / "ca.crt")
    if name is not None:
        context.load_cert_chain(home / "party.crt", home / "party.key")
    return context


async def dial(created: Created, port: int, name: str | None) -> Line:
    plain = await trio.open_tcp_stream("127.0.0.1", port)
    stream = trio.SSLStream(plain, client_tls(created, name), server_hostname="localhost")
    return Line(stream)


def party(created: Created, name: str, rounds: int) -> Party:
    home = created.hospitals[name].parent
    seed, journal = (
        Secret(bytes.fromhex((home / file).read_text())) for file in ("identity.key", "journal.key")
    )
    u = created.policy.client(name)
    vector = np.arange(SPEC.dimension, dtype=np.int64) * u
    hospital = Hospital(created.policy, u, IdentityKey(seed), journal)
    made = Party(hospital, vector, SeededRandomness(name.encode()))
    made.rounds = rounds
    return made


async def rounds(created: Created, port: int, parties: list[Party], number: int) -> None:
    """Let these parties take part until all of them have seen so many rounds."""
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for each in parties:
                name = created.policy.name(each.u)
                nursery.start_soon(take_part, each, await dial(created, port, name))
            while any(each.standing.closed < number for each in parties):
                await trio.sleep(0.02)
            nursery.cancel_scope.cancel()


async def test_rounds_over_tls_go_on_after_the_server_was_killed(created: Created) -> None:
    parties = [party(created, name, 2) for name in NAMES]
    with started(created) as (server, port):
        await rounds(created, port, parties, 2)
        server.kill()
        server.communicate()
    for each in parties:
        each.rounds = 3
    with started(created) as (server, port):
        await rounds(created, port, parties, 3)
        log = stopped(server, signal.SIGTERM)
    assert len({each.certificate.model_hash for each in parties if each.certificate}) == 1
    certified = [line for line in log if line["event"] == "certified"]
    assert [line["round"] for line in certified] == [3]
    assert certified[0]["survivors"] == list(NAMES)


async def test_without_a_certificate_nobody_is_heard(created: Created) -> None:
    with started(created) as (server, port):
        line = await dial(created, port, None)
        assert await line.receive() is None
        await trio.aclose_forcefully(line.stream)
        known = await dial(created, port, "anna")
        await known.expect(Challenge)
        await trio.aclose_forcefully(known.stream)
        log = stopped(server, signal.SIGINT)
    assert any(line["event"] == "connection refused" for line in log)


async def test_what_is_no_tls_disturbs_nobody(created: Created) -> None:
    with started(created) as (server, port):
        for garbage in (b"", b"GET / HTTP/1.1\r\n\r\n", bytes(100_000), b"\x16\x03\x01\x02\x00"):
            with socket.create_connection(("127.0.0.1", port)) as plain:
                plain.sendall(garbage)
                if garbage:  # leave without a goodbye: a reset, not an end
                    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line = await dial(created, port, "anna")
        await line.expect(Challenge)
        await trio.aclose_forcefully(line.stream)
        stopped(server, signal.SIGTERM)


async def test_one_way_tls_works_if_it_is_configured(created: Created) -> None:
    text = created.server.read_text()
    created.server.write_text(text.replace('client_ca = "ca.crt"\n', ""))
    with started(created) as (server, port):
        line = await dial(created, port, None)
        await line.expect(Challenge)
        await trio.aclose_forcefully(line.stream)
        stopped(server, signal.SIGTERM)


def edit(created: Created, find: str, put: str) -> None:
    text = created.server.read_text()
    assert find in text
    created.server.write_text(text.replace(find, put))


def no_policy(created: Created) -> None:
    edit(created, '"policy.json"', '"absent.json"')


def foreign_key(created: Created) -> None:
    (created.server.parent / "identity.key").write_text("11" * 32)


def open_tls_key(created: Created) -> None:
    (created.server.parent / "server.key").chmod(0o644)


def spoiled_certificate(created: Created) -> None:
    (created.server.parent / "server.crt").write_text("nothing")


def state_is_a_file(created: Created) -> None:
    (created.server.parent / "state").write_text("")


@pytest.mark.parametrize(
    ("spoil", "explanation"),
    [
        (no_policy, "cannot be used"),
        (foreign_key, "server_key"),
        (open_tls_key, "chmod 600"),
        (spoiled_certificate, "TLS files"),
        (state_is_a_file, "state directory"),
    ],
)
async def test_what_an_operator_has_to_mend_is_said(
    created: Created, spoil: object, explanation: str
) -> None:
    assert callable(spoil)
    spoil(created)
    with pytest.raises(CommandError, match=explanation) as refused:
        await process.run(config.load(created.server))
    assert refused.value.exit_code is ExitCode.USAGE


async def test_a_second_server_on_one_state_directory_is_refused(created: Created) -> None:
    with started(created) as (server, _):
        with pytest.raises(CommandError, match="Another server"):
            await process.run(config.load(created.server))
        stopped(server, signal.SIGTERM)


async def test_a_port_in_use_is_said(created: Created) -> None:
    with started(created) as (server, port):
        edit(created, "port = 0", f"port = {port}")
        edit(created, 'state_dir = "state"', 'state_dir = "another"')
        with pytest.RaisesGroup(pytest.RaisesExc(CommandError, match="cannot listen")):
            await process.run(config.load(created.server))
        stopped(server, signal.SIGTERM)
