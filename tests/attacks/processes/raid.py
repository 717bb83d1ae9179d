"""Malicious hospitals around a real server: its process, over TCP and TLS.

Every hospital is the core's own client in this process; what a corrupt one sends in place of an
honest message is up to the test.
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from benchmarks.heart_disease.policy import model_spec
from secagg import context
from secagg.checks import Check
from secagg.crypto.hashing import u64
from secagg.model import initial, model_hash
from secagg.policy import Policy
from secagg.simulate import Cohort
from secagg.wire.codec import decode_from_server, encode
from secagg.wire.framing import FrameReader, frame
from secagg.wire.messages import (
    AttemptAborted,
    Challenge,
    GatheringNotice,
    Hello,
    ModelRequest,
    Ready,
    Refusal,
    Wire,
)
from server.certificates import Authority
from tests.attacks.processes.siege import SECONDS, SEED, WEAKENED, siege_policy

Lie = Callable[[int, Wire], Iterable[Wire]]


#: What is not for a client's session.
_NO_SESSIONS: Final = (AttemptAborted, GatheringNotice, ModelRequest, Refusal)


def honest(u: int, message: Wire) -> Iterable[Wire]:
    """No lie."""
    return (message,)


@dataclass(slots=True)
class Line:
    """One TLS connection to the server."""

    stream: ssl.SSLSocket
    reader: FrameReader = field(default_factory=FrameReader)
    frames: deque[bytes] = field(default_factory=deque)
    markers: int = 0

    def send(self, message: Wire) -> None:
        self.stream.sendall(frame(encode(message)))

    def receive(self) -> Any:
        """The next message; None when the server has closed."""
        while not self.frames:
            try:
                data = self.stream.recv(65536)
            except (ssl.SSLError, ConnectionError):
                return None
            if not data:
                return None
            self.frames.extend(self.reader.feed(data))
        return decode_from_server(self.frames.popleft())

    def pending(self) -> tuple[list[Any], bool]:
        """What has come until the server answers a question, and whether it has closed instead."""
        self.markers += 1
        marker = self.markers.to_bytes(32, "big")
        try:
            self.send(ModelRequest(marker))
        except (ssl.SSLError, ConnectionError):
            marker = b"closed"
        found: list[Any] = []
        while (message := self.receive()) is not None:
            if isinstance(message, Refusal) and marker.hex() in message.reason:
                return found, False
            found.append(message)
        return found, True


@dataclass(slots=True)
class Raid:
    """``cohort``: the hospitals; its own server is not used. ``heard``: by hospital."""

    cohort: Cohort
    directory: Path
    removed: Collection[str] = ()
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    lines: dict[int, Line] = field(default_factory=dict)
    heard: dict[int, list[Any]] = field(default_factory=dict)
    strangers: list[Line] = field(default_factory=list)
    _tls: ssl.SSLContext = field(init=False)

    @property
    def log(self) -> str:
        """What the server's process has logged."""
        return (self.directory / "log").read_text()

    def logged(self) -> list[dict[str, Any]]:
        """The same, line by line."""
        return [json.loads(line) for line in self.log.splitlines()]

    def start(self) -> None:
        """Start the server."""
        authority = Authority.create("raid")
        issued = authority.server("localhost", ("localhost", "127.0.0.1"))
        files = {
            "ca.crt": authority.issued.certificate,
            "server.crt": issued.certificate,
            "server.key": issued.private_key,
            "policy.json": self.cohort.policy.canonical(),
            "identity.key": SEED.fork(u64(0)).draw(32).hex().encode() + b"\n",
            "server.toml": b"""\
policy = "policy.json"
state_dir = "state"
[listen]
port = 0
[tls]
certificate = "server.crt"
private_key = "server.key"
[identity]
key_file = "identity.key"
[timing]
stage_deadline = 5.0
gathering_window = 0.5
""",
        }
        for name, content in files.items():
            path = self.directory / name
            path.write_bytes(content)
            path.chmod(0o600)
        command = [sys.executable, "-c", "from secagg.cli import main; main()"]
        if self.removed:
            command = [sys.executable, str(WEAKENED), ",".join(self.removed)]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "server", "start", "--config", str(self.directory / "server.toml")],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        self.port = int(json.loads(self.process.stdout.readline())["port"])
        self._tls = ssl.create_default_context(cafile=str(self.directory / "ca.crt"))

    def close(self) -> None:
        """End everything."""
        for line in self.strangers:
            line.stream.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()

    def dial(self) -> Line:
        """A connection of nobody in particular."""
        plain = socket.create_connection(("127.0.0.1", self.port), SECONDS)
        line = Line(self._tls.wrap_socket(plain, server_hostname="localhost"))
        self.strangers.append(line)
        return line

    def join(self, *us: int) -> None:
        """Connect these hospitals, and offer a batch."""
        for u in us:
            line = self.lines[u] = self.dial()
            challenge = line.receive()
            assert isinstance(challenge, Challenge)
            unsigned = Hello(
                u=u,
                policy_digest=self.cohort.policy.digest(),
                model_hash=self.cohort.base_model_hash,
                entered_round=0,
                entered_attempt=0,
                certificate=None,
                abandonment=None,
                session=None,
                awaiting=None,
                signature=bytes(64),
            )
            statement = context.hello(challenge.nonce, unsigned)
            signature = self.cohort.hospitals[u].identity.sign(*statement)
            line.send(msgspec.structs.replace(unsigned, signature=signature))
            self.heard[u] = []
        for u in us:
            self.lines[u].send(Ready(1))

    def run(self, until: type, lie: Lie = honest) -> Any:
        """Exchange messages until anybody hears one of type ``until``, which is returned."""
        for _ in range(10_000):
            for u, line in list(self.lines.items()):
                messages, closed = line.pending()
                if closed:
                    self.lines.pop(u).stream.close()
                for message in messages:
                    self._hear(u, message, lie)
                    if isinstance(message, until):
                        return message
        raise AssertionError(f"nobody heard {until.__name__}:\n{self.log[-3000:]}")

    def _hear(self, u: int, message: Any, lie: Lie) -> None:
        self.heard[u].append(message)
        if isinstance(message, _NO_SESSIONS) or u not in self.lines:
            return
        for reply in self.cohort.deliver(u, message):
            for sent in lie(u, reply):
                self.lines[u].send(sent)


@contextmanager
def raided(
    directory: Path, *, removed: Collection[Check | str] = (), policy: Policy | None = None
) -> Iterator[Raid]:
    """A real server without the defences ``removed``, and hospitals that are not connected yet."""
    cohort = Cohort.assembled(policy or siege_policy(), SEED)
    cohort.base_model_hash = model_hash(initial(model_spec()))
    places = np.arange(cohort.policy.vector.dimension, dtype=np.int64)
    cohort.vectors = {u: 100 * u + places for u in cohort.policy.members}
    raid = Raid(cohort, directory, [e.id if isinstance(e, Check) else e for e in removed])
    try:
        raid.start()
        yield raid
    finally:
        raid.close()
