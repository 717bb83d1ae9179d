"""A malicious server around one real hospital: a node's process, over TCP and TLS.

The other hospitals of the cohort are the core's own clients in this process, whom the server may
corrupt. What the node is told is up to the test; everything that it says comes back.
"""

from __future__ import annotations

import json
import re
import resource
import socket
import ssl
import subprocess
import sys
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.heart_disease import dataset
from benchmarks.heart_disease.policy import model_spec, schema
from party.batches import read_file
from party.training.gradient import contribution
from secagg.checks import Check
from secagg.crypto.hashing import u64
from secagg.crypto.randomness import SeededRandomness
from secagg.errors import PeerViolation
from secagg.model import Model, initial, model_hash
from secagg.policy import Policy, VectorSpec, checked
from secagg.rounds.machine import SERVER
from secagg.simulate import Cohort
from secagg.wire.codec import decode_from_client, encode
from secagg.wire.framing import FrameReader, frame
from secagg.wire.messages import PROTOCOL, Challenge, Hello, ModelRequest, Ready, Refusal, Wire
from server.certificates import Authority
from tests.cohorts import template

PATIENTS: Final = 12
SECONDS: Final = 60
SEED: Final = SeededRandomness(b"siege")
BUDGET: Final = """\
[budget]
epsilon = "1000"
delta = "0.001"
"""
WEAKENED: Final = Path(__file__).with_name("weakened.py")
_BY_ID: Final = {check.id: check for check in Check}
_CHECK: Final = re.compile(r"(CHK-\d{3}) ")


def siege_policy(**changes: Any) -> Policy:
    """Four hospitals that train the heart-disease model without noise."""
    spec = model_spec()
    rule = spec.contribution
    vector = VectorSpec(spec.dimension, rule.coordinate_bound, rule.scale)
    plain = msgspec.structs.replace(
        template(4, max_charged_attempts=1000), vector=vector, model=spec, features=schema()
    )
    return checked(msgspec.structs.replace(plain, **changes))


@dataclass(slots=True)
class Siege:
    """``cohort``: all hospitals, of which ``real`` is the process, and the server's honest state.

    Whatever the cohort delivers to ``real`` goes over the wire. ``removed``: checks and other
    defences that its build lacks. ``hellos``, ``ready``: what it said of itself.
    """

    cohort: Cohort
    directory: Path
    real: int = 1
    removed: Collection[str] = ()
    process: subprocess.Popen[bytes] | None = None
    hellos: list[Hello] = field(default_factory=list)
    ready: list[Ready] = field(default_factory=list)
    said: list[Wire] = field(default_factory=list)
    _listener: socket.socket = field(init=False)
    _tls: ssl.SSLContext = field(init=False)
    _stream: ssl.SSLSocket | None = None
    _reader: FrameReader = field(default_factory=FrameReader)
    _frames: deque[bytes] = field(default_factory=deque)
    _markers: int = 0

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(SECONDS)
        self._equip()

    @property
    def policy(self) -> Policy:
        return self.cohort.policy

    @property
    def log(self) -> str:
        """What the victim's process has logged."""
        return (self.directory / "log").read_text()

    # --- the process -----------------------------------------------------------------------------

    def _equip(self) -> None:
        """The victim's files, and the server's TLS."""
        authority = Authority.create("siege")
        issued = authority.server("localhost", ("localhost", "127.0.0.1"))
        hospital = self.cohort.hospitals[self.real]
        files = {
            "ca.crt": authority.issued.certificate,
            "server.crt": issued.certificate,
            "server.key": issued.private_key,
            "policy.json": self.policy.canonical(),
            "identity.key": SEED.fork(u64(self.real)).draw(32).hex().encode() + b"\n",
            "journal.key": hospital.journal_key.reveal().hex().encode() + b"\n",
            "train.jsonl": _records(),
            "party.toml": f"""\
name = "{self.policy.name(self.real)}"
policy = "policy.json"
state_dir = "state"
[server]
host = "127.0.0.1"
port = {self._listener.getsockname()[1]}
proxy = "direct"
[tls]
ca = "ca.crt"
server_name = "localhost"
[identity]
key_file = "identity.key"
journal_key_file = "journal.key"
[data]
train = "train.jsonl"
rounds = 1000
{BUDGET if self.policy.noise.mode != "none" else ""}
[api]
port = 0
[reconnect]
initial = 0.05
maximum = 0.2
""".encode(),
        }
        for name, content in files.items():
            path = self.directory / name
            path.write_bytes(content)
            path.chmod(0o600)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(self.directory / "server.crt", self.directory / "server.key")

    def start(self) -> None:
        """Start the victim, and let it connect."""
        command = [sys.executable, "-c", "from secagg.cli import main; main()"]
        if self.removed:
            command = [sys.executable, str(WEAKENED), ",".join(self.removed)]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "party", "start", "--config", str(self.directory / "party.toml")],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        self.accept()

    def memory(self) -> int:
        """Bytes that the victim's process has in memory."""
        assert self.process is not None
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End everything."""
        if self.process is not None:
            self.kill()
        if self._stream is not None:
            self._stream.close()
        self._listener.close()

    # --- the connection --------------------------------------------------------------------------

    def accept(self) -> Hello:
        """Take the victim's next connection, and greet it honestly; what it repeats is in said."""
        if self._stream is not None:
            self._stream.close()
        plain, _ = self._listener.accept()
        plain.settimeout(SECONDS)
        self._stream = self._tls.wrap_socket(plain, server_side=True)
        self._reader, self._frames = FrameReader(), deque()
        self.send(Challenge(PROTOCOL, self.policy.digest(), bytes(32)))
        hello = self._next()
        assert isinstance(hello, Hello)
        self.hellos.append(hello)
        self.said = self._answers()
        return hello

    def send(self, message: Wire) -> None:
        """Send one message."""
        self.send_bytes(frame(encode(message)))

    def send_bytes(self, data: bytes) -> None:
        """Send anything."""
        assert self._stream is not None
        self._stream.sendall(data)

    def ended(self) -> bool:
        """Whether the victim has closed the connection; waits for it."""
        assert self._stream is not None
        try:
            while self._stream.recv(65536):
                pass
        except (ssl.SSLError, ConnectionError):
            return True
        except TimeoutError:
            return False
        return True

    def tell(self, message: Wire) -> list[Any]:
        """Hand the victim one message; all that it sends in answer.

        Raises PeerViolation if it refuses, as the check it names.
        """
        self.send(message)
        replies = self._answers()
        for reply in replies:
            if isinstance(reply, Refusal) and (found := _CHECK.match(reply.reason)):
                raise PeerViolation(_BY_ID[found.group(1)], SERVER, reply.reason)
        return replies

    def _answers(self) -> list[Any]:
        """Everything up to the answer to a question that is always answered at once."""
        self._markers += 1
        marker = self._markers.to_bytes(32, "big")
        self.send(ModelRequest(marker))
        replies: list[Any] = []
        while True:
            message = self._next()
            if isinstance(message, Refusal) and marker.hex() in message.reason:
                return replies
            if isinstance(message, Ready):
                self.ready.append(message)
            else:
                replies.append(message)

    def _next(self) -> Wire:
        assert self._stream is not None
        while not self._frames:
            data = self._stream.recv(65536)
            if not data:
                raise ConnectionError(f"the node has closed the connection:\n{self.log[-2000:]}")
            self._frames.extend(self._reader.feed(data))
        return decode_from_client(self._frames.popleft())

    # --- a round ---------------------------------------------------------------------------------

    def vector(self, model: Model | None = None) -> NDArray[np.int64]:
        """x of the victim: what the attacks are after. By default at the first model."""
        batch = read_file(self.directory / "train.jsonl", schema())
        spec = model_spec()
        return contribution(batch, model or initial(spec), spec)

    def open(self, round_number: int = 1, attempt: int = 1) -> None:
        """An honest announcement; the others enter with small vectors of their own."""
        places = np.arange(self.policy.vector.dimension, dtype=np.int64)
        vectors = {u: 100 * u + places for u in self.policy.members}
        self.cohort.open({**vectors, self.real: self.vector()}, round_number, attempt)


def _records() -> bytes:
    rows = next(iter(dataset.load().values())).train[:PATIENTS]
    return b"".join(json.dumps(row.record).encode() + b"\n" for row in rows)


@contextmanager
def besieged(
    directory: Path,
    *,
    real: int = 1,
    removed: Collection[Check | str] = (),
    policy: Policy | None = None,
) -> Iterator[Siege]:
    """A real hospital that runs and is connected, without the defences ``removed``; attempt 1 of
    round 1 is announced.
    """
    cohort = Cohort.assembled(policy or siege_policy(), SEED)
    cohort.base_model_hash = model_hash(initial(model_spec()))
    names = [each.id if isinstance(each, Check) else each for each in removed]
    siege, in_memory = Siege(cohort, directory, real, names), Cohort.deliver

    def deliver(self: Cohort, u: int, message: Wire) -> Iterator[Wire]:
        return iter(siege.tell(message)) if u == real else in_memory(self, u, message)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cohort, "deliver", deliver)
        try:
            siege.start()
            siege.open()
            yield siege
        finally:
            siege.close()
