"""A consortium for the tests of the server: the real coordinator, and parties that are the core's
own client sessions behind frames, on memory streams. A party can vanish, restart, forget or lie.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import trio
from numpy.typing import NDArray
from trio.testing import memory_stream_pair

from secagg import context
from secagg.contribution import ContributionRule
from secagg.crypto.hashing import Label, u64
from secagg.crypto.randomness import SeededRandomness
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey
from secagg.errors import PeerViolation
from secagg.model import (
    Model,
    ModelSpec,
    ParameterSpec,
    UpdateRule,
    apply,
    canonical_bytes,
    decode,
    initial,
    model_hash,
)
from secagg.policy import Member, NoiseSpec, Policy, VectorSpec, checked
from secagg.rounds.journal import Certified, Entry, Standing, SurvivorSigned
from secagg.rounds.machine import ClientState, Hospital
from secagg.rounds.r0_advertise_keys import advertise_keys
from secagg.rounds.r3_consistency_check import restore
from secagg.rounds.r5_certification import (
    SumReceived,
    SumSigned,
    check_abandonment,
    check_certificate,
    sign_abandonment,
    sign_sum,
)
from secagg.rounds.session import ClientSession
from secagg.transcript.evidence import EvidenceIntake
from secagg.vector.stream import VectorReceiver
from secagg.wire.codec import decode_from_server, encode
from secagg.wire.framing import FrameReader, frame
from secagg.wire.messages import (
    Abandonment,
    AbandonmentNotice,
    AbandonmentRequest,
    AbandonmentShare,
    Announcement,
    AttemptAborted,
    Certificate,
    CertificateNotice,
    Challenge,
    GatheringNotice,
    Hello,
    MaskedInputChunk,
    ModelChunk,
    ModelRequest,
    ModelStart,
    Ready,
    Refusal,
    SumAnnouncement,
    TranscriptChunk,
    TranscriptStart,
    VectorChunk,
    Wire,
)
from server.archive import Archive
from server.chain import Chain
from server.config import Timing
from server.coordinator import Coordinator
from server.spool import swept
from server.store import Store

SPEC = ModelSpec(
    parameters=(ParameterSpec(name="weights", shape=(5,)),),
    contribution=ContributionRule(scale=64, gradient_bound=64, count_weight=16, max_patients=100),
    update=UpdateRule(learning_rate="0.5", count_floor=1),
)
NOISE = NoiseSpec(mode="exact", sensitivity=SPEC.contribution.sensitivity, rho_units=10_000_000)


async def inline(function: Callable[..., Any], *arguments: Any) -> Any:
    """Instead of a worker thread, for which a mock clock would not wait."""
    await trio.lowlevel.checkpoint()
    return function(*arguments)


def policy_of(
    n: int, noise: NoiseSpec, verification: Literal["published", "recompute"] = "published"
) -> tuple[Policy, dict[int, IdentityKey]]:
    """A policy of n hospitals with c = 1 and its identity keys; 0 is the server's."""
    keys = {u: IdentityKey(Secret(bytes([u + 1]) * 32)) for u in range(n + 1)}
    t = (n + 1) // 2 + 1
    policy = Policy(
        consortium="tests",
        server_key=keys[0].public.hex(),
        roster=tuple(Member(f"hospital-{u}", keys[u].public.hex()) for u in range(1, n + 1)),
        corrupt=1,
        dropouts=n - t,
        min_survivors=t,
        vector=VectorSpec(
            dimension=SPEC.dimension, max_value=SPEC.contribution.coordinate_bound, scale=64
        ),
        noise=noise,
        model=SPEC,
        verification=verification,
    )
    return checked(policy), keys


@dataclass(slots=True)
class Party:
    """One hospital. What a real one keeps on disk survives :meth:`restart`, the rest does not."""

    hospital: Hospital
    vector: NDArray[np.int64]
    randomness: SeededRandomness
    batch: int | None = 1
    #: It offers its batch until so many rounds are closed.
    rounds: int = 3
    model: Model = field(default_factory=lambda: initial(SPEC))
    candidate: Model | None = None
    certificate: Certificate | None = None
    abandonment: Abandonment | None = None
    standing: Standing = field(default_factory=Standing)
    confirmed: SurvivorSigned | None = None
    session: ClientSession | None = None
    #: After sending a message of this type it is gone.
    vanish_after: type | None = None
    #: What it sends in place of an honest message.
    lie: Callable[[Wire], Iterable[Wire]] = lambda message: (message,)
    received: list[Wire] = field(default_factory=list)
    chunks: list[Any] = field(default_factory=list)
    announced: SumAnnouncement | None = None
    receiver: VectorReceiver | None = None
    promised: ModelStart | None = None
    pieces: bytearray = field(default_factory=bytearray)
    told: tuple[int, int] | None = None
    evidence: EvidenceIntake | None = None

    @property
    def u(self) -> int:
        return self.hospital.u

    def hello(self, challenge: Challenge) -> Hello:
        state = self.session.state if self.session else None
        session = None
        if isinstance(state, ClientState):
            session = state.attempt.session
        elif isinstance(state, SumSigned):
            session = state.session
        unsigned = Hello(
            u=self.u,
            policy_digest=self.hospital.policy.digest(),
            model_hash=model_hash(self.model),
            entered_round=self.standing.entered[0],
            entered_attempt=self.standing.entered[1],
            certificate=self.certificate,
            abandonment=self.abandonment,
            session=session,
            awaiting=self.session.expects if self.session and session else None,
            signature=bytes(64),
        )
        signature = self.hospital.identity.sign(*context.hello(challenge.nonce, unsigned))
        return msgspec.structs.replace(unsigned, signature=signature)

    def restart(self) -> None:
        """The process is new: of a session only a signed U3 or a signed sum is left."""
        self.vanish_after, self.told = None, None
        if self.session is not None and isinstance(self.session.state, SumSigned):
            return
        self.session = None
        if self.confirmed is not None and self.standing.answered is None:
            self.session = ClientSession(restore(self.hospital, self.confirmed))

    def forget(self) -> None:
        """The journal is lost; the newest certificate is had from a backup, with its model."""
        self.standing = Standing(closed=self.certificate.round if self.certificate else 0)
        self.confirmed, self.session = None, None

    def offer(self) -> Ready | None:
        """What it tells of its batch, once for each round that closes."""
        busy = self.standing.answered is not None or self.standing.signed is not None
        if self.batch is None or busy or self.standing.closed >= self.rounds:
            self.told = None
            return None
        number = max(self.batch, self.standing.closed + 1, (self.standing.abandoning or 0) + 1)
        if self.told == (number, self.standing.closed):
            return None
        self.told = (number, self.standing.closed)
        return Ready(number)

    def handle(self, message: Wire) -> Iterable[Wire]:
        """What it sends on ``message``; honest, apart from :attr:`lie`."""
        self.received.append(message)
        try:
            replies = tuple(self._dispatch(message))
        except PeerViolation as violation:
            self.session = None
            return (Refusal(str(violation)),)
        return [sent for reply in replies for sent in self.lie(reply)]

    def _dispatch(self, message: Wire) -> Iterable[Wire]:
        match message:
            case Announcement():
                step = advertise_keys(
                    self.hospital,
                    message,
                    standing=self.standing,
                    base_model_hash=model_hash(self.model),
                    batch_round=self.batch or 0,
                    vector=self.vector,
                    randomness=self.randomness,
                )
                self.session = ClientSession(step.state)
                self._journal(step.durable)
                return step.state.outbound
            case SumAnnouncement():
                self.announced, self.chunks = message, []
                policy = self.hospital.policy
                self.evidence = EvidenceIntake(policy, message.published)
                self.receiver = VectorReceiver(Label.SUM, policy.ring, policy.vector.dimension)
                return ()
            case TranscriptStart() | TranscriptChunk() | MaskedInputChunk():
                if self.evidence is not None:
                    self.evidence.receive(message)
                return ()
            case VectorChunk():
                return self._sum_chunk(message)
            case CertificateNotice(certificate):
                return self._certified(certificate)
            case ModelStart():
                self.promised, self.pieces = message, bytearray()
                return ()
            case ModelChunk():
                return self._model_chunk(message)
            case ModelRequest():
                assert self.certificate is not None
                data = canonical_bytes(self.model)
                return (ModelStart(self.certificate, len(data)), ModelChunk(0, data))
            case AbandonmentRequest():
                entry = sign_abandonment(
                    self.hospital,
                    message,
                    standing=self.standing,
                    base_model_hash=model_hash(self.model),
                    newest_round=max(self.standing.entered[0], self.batch or 0),
                )
                self._journal((entry,))
                return (AbandonmentShare(message.round, entry.signature),)
            case AbandonmentNotice(abandonment):
                self._journal((check_abandonment(self.hospital.policy, abandonment),))
                self.abandonment, self.session = abandonment, None
                return ()
            case AttemptAborted(session=session):
                state = self.session.state if self.session else None
                if isinstance(state, ClientState) and state.attempt.session == session:
                    self.session = None
                return ()
            case Refusal() | GatheringNotice():
                return ()
            case _:
                if self.session is None:
                    return (Refusal(f"{type(message).__name__}: in no session"),)
                self._journal(self.session.handle(message, self.randomness))
                return self.session.state.outbound

    def _sum_chunk(self, chunk: VectorChunk) -> Iterable[Wire]:
        assert self.receiver is not None
        assert self.announced is not None
        self.chunks.append(self.receiver.receive(chunk.start, chunk.data))
        if not self.receiver.complete:
            return ()
        total = self.hospital.policy.ring.decode(np.concatenate(self.chunks))
        self.candidate = apply(self.model, total, SPEC)
        demanded = self.hospital.policy.verification == "recompute"
        step = sign_sum(
            self.hospital,
            SumReceived(self.announced, total),
            standing=self.standing,
            base_model_hash=model_hash(self.model),
            next_model_hash=lambda total: model_hash(apply(self.model, total, SPEC)),
            recomputed=self.evidence.recomputed() if self.evidence and demanded else None,
        )
        self.session = ClientSession(step.state)
        self._journal(step.durable)
        return step.state.outbound

    def _certified(self, certificate: Certificate) -> Iterable[Wire]:
        if self.certificate is not None and certificate.round <= self.certificate.round:
            return ()
        check_certificate(self.hospital.policy, certificate)
        if self.candidate is None or model_hash(self.candidate) != certificate.model_hash:
            return (ModelRequest(certificate.model_hash),)
        self._adopt(certificate, self.candidate)
        return ()

    def _model_chunk(self, chunk: ModelChunk) -> Iterable[Wire]:
        assert self.promised is not None
        self.pieces += chunk.data
        if len(self.pieces) == self.promised.size:
            self._adopt(self.promised.certificate, decode(bytes(self.pieces), SPEC))
        return ()

    def _adopt(self, certificate: Certificate, model: Model) -> None:
        assert model_hash(model) == certificate.model_hash
        self.model, self.certificate, self.session = model, certificate, None
        self.confirmed = None
        self._journal((Certified(certificate),))

    def _journal(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.standing = self.standing.after(entry)
            if isinstance(entry, SurvivorSigned):
                self.confirmed = entry


@dataclass(slots=True)
class Line:
    """A party's end of one connection."""

    stream: trio.abc.Stream
    reader: FrameReader = field(default_factory=FrameReader)
    frames: deque[bytes] = field(default_factory=deque)

    async def send(self, *messages: Wire) -> None:
        for message in messages:
            await self.stream.send_all(frame(encode(message)))

    async def receive(self) -> Wire | None:
        """The next message; None when the server has closed."""
        while not self.frames:
            try:
                data = await self.stream.receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return None
            if not data:
                return None
            self.frames.extend(self.reader.feed(bytes(data)))
        return decode_from_server(self.frames.popleft())

    async def expect(self, kind: type[Any]) -> Any:
        """The next message, which must be of this type; notices of no consequence aside."""
        message = await self.receive()
        while isinstance(message, GatheringNotice) and kind is not GatheringNotice:
            message = await self.receive()
        assert isinstance(message, kind), message
        return message


async def take_part(party: Party, line: Line) -> None:
    """Connect ``party`` and let it live until it vanishes or the server closes."""
    try:
        await line.send(party.hello(await line.expect(Challenge)))
        party.told = None
        for repeated in tuple(party.session.state.outbound if party.session else ()):
            await line.send(repeated)
        while True:
            ready = party.offer()
            if ready is not None:
                await line.send(ready)
            message = await line.receive()
            if message is None:
                return
            for reply in party.handle(message):
                await line.send(reply)
                if type(reply) is party.vanish_after:
                    return
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return
    finally:
        await trio.aclose_forcefully(line.stream)


@dataclass(slots=True)
class World:
    """A coordinator on a database under ``directory``, and its parties."""

    directory: Path
    nursery: trio.Nursery
    n: int = 4
    noise: NoiseSpec = NOISE
    timing: Timing = field(default_factory=Timing)
    verification: Literal["published", "recompute"] = "published"
    masked_inputs: bool = False
    policy: Policy = field(init=False)
    keys: dict[int, IdentityKey] = field(init=False)
    parties: dict[int, Party] = field(init=False)
    coordinator: Coordinator = field(init=False)
    store: Store = field(init=False)
    archive: Archive = field(init=False)
    chain: Chain = field(init=False)
    scope: trio.CancelScope = field(init=False)
    lines: dict[int, Line] = field(default_factory=dict)
    starts: int = 0

    def __post_init__(self) -> None:
        self.policy, self.keys = policy_of(self.n, self.noise, self.verification)
        places = np.arange(SPEC.dimension, dtype=np.int64)
        self.parties = {
            u: Party(
                Hospital(self.policy, u, self.keys[u], Secret(bytes([u]) * 32)),
                10 * u + places,
                SeededRandomness(b"party" + u64(u)),
            )
            for u in self.policy.members
        }

    async def start(self, database: str = "server.sqlite3") -> None:
        """A new server process over ``database``."""
        self.starts += 1
        self.store = Store(self.directory / database)
        pending = self.store.pending_sum()
        kept = self.directory / "masked-inputs" if self.masked_inputs else None
        self.archive = Archive(self.directory / "transcripts", kept)
        self.chain = Chain(self.policy, SPEC, self.store)
        self.coordinator = Coordinator(
            policy=self.policy,
            identity=self.keys[0],
            store=self.store,
            chain=self.chain,
            spools=swept(self.directory / "spool", pending[0].session if pending else None),
            archive=self.archive,
            timing=self.timing,
            randomness=SeededRandomness(b"server" + u64(self.starts)),
            offload=inline,
        )
        self.scope = await self.nursery.start(self._run)

    async def _run(
        self, task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with trio.CancelScope() as scope:
            task_status.started(scope)
            await self.coordinator.run()

    async def kill(self) -> None:
        """The server dies: its task, its connections, its memory."""
        self.scope.cancel()
        for line in self.lines.values():
            await trio.aclose_forcefully(line.stream)
        await trio.testing.wait_all_tasks_blocked()
        self.store.close()

    def dial(self) -> Line:
        """A raw connection."""
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(self.coordinator.serve, theirs, "test")
        return Line(ours)

    def connect(self, *us: int) -> None:
        """Connect these parties."""
        for u in us:
            self.lines[u] = self.dial()
            self.nursery.start_soon(take_part, self.parties[u], self.lines[u])

    async def disconnect(self, u: int) -> None:
        """Cut the connection of party u."""
        await trio.aclose_forcefully(self.lines[u].stream)
        await trio.testing.wait_all_tasks_blocked()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; in mock time, an hour at most."""
        with trio.fail_after(3600):
            while not holds():
                await trio.sleep(0.1)

    async def closed(self, number: int, *us: int) -> None:
        """Wait until these parties have seen the end of round ``number``."""
        await self.until(lambda: all(self.parties[u].standing.closed >= number for u in us))

    def sum_of(self, *us: int) -> NDArray[np.int64]:
        """The plain sum of these parties' vectors."""
        total: NDArray[np.int64] = np.sum([self.parties[u].vector for u in us], axis=0)
        return total


def told(party: Party, kind: type[Any]) -> list[Any]:
    """The messages of one type that a party has received."""
    return [message for message in party.received if isinstance(message, kind)]


Starter = Callable[..., Awaitable[World]]
