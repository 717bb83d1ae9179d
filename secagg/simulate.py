"""A whole cohort in memory: n clients and a server, the very state machines that the processes
run, every message through the wire codec; no clock and no network.

:func:`simulate` is the public door. :class:`Cohort` underneath takes one message at a time, so
that a test can drop, replay or forge any of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, final

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from secagg.checks import Check
from secagg.crypto.hashing import Label, digest, u64
from secagg.crypto.randomness import Randomness, SeededRandomness, SystemRandomness
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey
from secagg.errors import DecodeError, LocalMisuse, PeerViolation
from secagg.policy import Member, Policy, VectorSpec, checked
from secagg.rounds.journal import Entry, Standing
from secagg.rounds.machine import SERVER, Aborted, Hospital, ServerState, Stage
from secagg.rounds.r0_advertise_keys import advertise_keys, announce
from secagg.rounds.r2_masked_input import MaskedInputReceived
from secagg.rounds.r4_unmasking import Unmasked, Unmasking
from secagg.rounds.r5_certification import (
    Certifying,
    Concluded,
    SumReceived,
    publish_sum,
    sign_sum,
)
from secagg.rounds.session import ClientSession, ServerSession
from secagg.transcript.evidence import Evidence, EvidenceIntake
from secagg.transcript.record import Transcript
from secagg.transcript.recording import published
from secagg.vector.aggregate import Aggregate
from secagg.vector.fixed_point import quantise
from secagg.vector.packing import pack
from secagg.vector.ring import Words
from secagg.vector.stream import StreamError, VectorReceiver
from secagg.wire.codec import decode_from_client, decode_from_server, encode
from secagg.wire.messages import (
    AdvertiseKeys,
    Announcement,
    Certificate,
    CertificateShare,
    MaskedInputChunk,
    MaskedInputSignature,
    ShareKeys,
    SumAnnouncement,
    SurvivorSignature,
    TranscriptChunk,
    TranscriptStart,
    UnmaskingAnswer,
    VectorChunk,
    Wire,
)

FLOAT_SCALE: Final = 2**20
"""Fixed-point units per 1.0 when float vectors come without a policy."""

START: Final = "start"

#: The message that completes each stage for its sender.
LAST_OF_STAGE: Final[Mapping[type, Stage]] = {
    AdvertiseKeys: Stage.ADVERTISE_KEYS,
    ShareKeys: Stage.SHARE_KEYS,
    MaskedInputSignature: Stage.MASKED_INPUT,
    SurvivorSignature: Stage.CONSISTENCY_CHECK,
    UnmaskingAnswer: Stage.UNMASKING,
    CertificateShare: Stage.CERTIFICATION,
}
STAGES: Final = (START, *(stage.value for stage in Stage if stage is not Stage.CERTIFICATION))

Vector = NDArray[Any]
"""int64 or float64, one-dimensional."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """How a simulated attempt ended.

    ``sum``: of the survivors' vectors, int64 or float64 as the inputs were; None if ``aborted``
    gives a reason. ``survivors``: U3, by name, in roster order; ``dropped``: everybody else.
    ``certificate``: None if fewer than t hospitals were there to sign the result.
    """

    sum: Vector | None
    survivors: tuple[Any, ...]
    dropped: tuple[Any, ...]
    aborted: str | None
    certificate: Certificate | None


def simulate(
    inputs: Mapping[Any, ArrayLike] | Sequence[ArrayLike],
    *,
    policy: Policy | None = None,
    drop: Mapping[Any, str] | None = None,
    seed: int | bytes | None = None,
) -> Simulation:
    """Run one attempt over ``inputs`` in memory and return how it ended.

    ``inputs``: name -> vector, or vectors (named 0, 1, ... then); all of one length, integers or
    floats. ``policy``: its roster is taken in order, its keys are replaced by fresh ones; without
    one: c = max(1, n // 5), d = n - t, min_survivors = t, no noise. ``drop``: name -> the stage
    after which that party vanishes, one of ``STAGES``. ``seed``: for tests and vectors only;
    without it every key is random.

    Integers come back exactly; floats as multiples of 1 / scale. Raises LocalMisuse for inputs
    that do not fit together, DecodeError for a policy that breaks its bounds.
    """
    named = dict(inputs) if isinstance(inputs, Mapping) else dict(enumerate(inputs))
    names = list(named)
    vectors, integral = _vectors(list(named.values()))
    vanish = _vanishing(names, drop or {})
    randomness = _randomness(seed)
    template = policy or default_policy(vectors, integral)
    if template.n != len(names):
        raise LocalMisuse(f"{len(names)} inputs for a roster of {template.n}: give one each")
    integers = {
        u: vector if integral else _quantised(vector, template.vector.scale)
        for u, vector in zip(template.members, vectors, strict=True)
    }
    cohort = Cohort.assembled(template, randomness)
    cohort.open(integers)
    cohort.run({names.index(name) + 1: stage for name, stage in vanish.items()})

    state = cohort.server.state
    survivors = tuple(names[u - 1] for u in cohort.survivors)
    total = cohort.total
    return Simulation(
        sum=total if total is None or integral else total / template.vector.scale,
        survivors=survivors if total is not None else (),
        dropped=tuple(n for n in names if total is None or n not in survivors),
        aborted=cohort.reason,
        certificate=state.certificate if isinstance(state, Concluded) else None,
    )


def default_policy(vectors: Sequence[Vector], integral: bool) -> Policy:
    """The policy of a simulation that is given none: the defaults of docs/protocol.md."""
    n, scale = len(vectors), 1 if integral else FLOAT_SCALE
    if n < 3:
        raise LocalMisuse(f"{n} inputs: at least 3 hospitals are needed, or sums would name one")
    c = max(1, n // 5)
    t = (n + c) // 2 + 1
    largest = max((float(np.abs(v).max()) if v.size else 0.0) for v in vectors)
    exact = max((max(abs(int(v.max())), abs(int(v.min()))) if v.size else 0) for v in vectors)
    policy = Policy(
        consortium="simulation",
        server_key="00" * 32,
        roster=tuple(Member(f"hospital-{i}", f"{i + 1:064x}") for i in range(n)),
        corrupt=c,
        dropouts=n - t,
        min_survivors=t,
        vector=VectorSpec(
            dimension=vectors[0].size,
            max_value=max(1, exact if integral else int(largest * scale) + 1),
            scale=scale,
        ),
    )
    try:
        return checked(policy)
    except DecodeError as error:
        raise LocalMisuse(f"no default policy fits these inputs: {error}") from None


@final
@dataclass(slots=True)
class Cohort:
    """n clients and a server over one policy, one training round, any number of attempts.

    ``sessions``, ``journals``, ``standings``: by client. ``spool``: the masked inputs as the
    server received them, in chunks. ``total``: the sum, once unmasked; ``transcript``: the record
    of how it came about.
    """

    policy: Policy
    identity: IdentityKey
    hospitals: Mapping[int, Hospital]
    randomness: Mapping[int, Randomness]
    base_model_hash: bytes = digest(Label.MODEL)
    server: ServerSession = field(init=False)
    vectors: Mapping[int, NDArray[np.int64]] = field(init=False)
    sessions: dict[int, ClientSession] = field(default_factory=dict)
    journals: dict[int, list[Entry]] = field(default_factory=dict)
    standings: dict[int, Standing] = field(default_factory=dict)
    spool: dict[int, list[tuple[int, Words]]] = field(default_factory=dict)
    receivers: dict[int, VectorReceiver] = field(default_factory=dict)
    sums: dict[int, tuple[SumAnnouncement, VectorReceiver, list[Words]]] = field(
        default_factory=dict
    )
    evidence: dict[int, EvidenceIntake] = field(default_factory=dict)
    survivors: tuple[int, ...] = ()
    total: NDArray[np.int64] | None = None
    transcript: Transcript | None = None

    @classmethod
    def assembled(cls, template: Policy, randomness: Randomness) -> Cohort:
        """Fresh keys for everybody, pinned in a copy of ``template``; 0 stands for the server."""

        sources: dict[int, Randomness] = {
            u: randomness.fork(u64(u)) if isinstance(randomness, SeededRandomness) else randomness
            for u in (0, *template.members)
        }
        identities = {u: IdentityKey(Secret(sources[u].draw(32))) for u in sources}
        roster = tuple(
            Member(template.name(u), identities[u].public.hex()) for u in template.members
        )
        policy = checked(
            msgspec.structs.replace(template, roster=roster, server_key=identities[0].public.hex())
        )
        hospitals = {
            u: Hospital(policy, u, identities[u], Secret(sources[u].draw(32)))
            for u in policy.members
        }
        return cls(policy, identities[0], hospitals, sources)

    def open(
        self, vectors: Mapping[int, NDArray[np.int64]], round_number: int = 1, attempt: int = 1
    ) -> None:
        """The server announces an attempt; ``vectors`` are what the clients will enter with."""
        step = announce(
            self.policy,
            self.identity,
            round_number=round_number,
            attempt_number=attempt,
            base_model_hash=self.base_model_hash,
            randomness=self.randomness[0],
        )
        self.vectors = vectors
        self.server = ServerSession(step)
        self.sessions, self.spool, self.receivers, self.sums = {}, {}, {}, {}
        self.evidence = {}
        self.survivors, self.total, self.transcript = (), None, None

    def run(self, vanish: Mapping[int, str] | None = None) -> None:
        """Exchange messages until nothing moves any more; deadlines pass when nobody answers.

        ``vanish``: client -> the stage after whose message it is gone.
        """
        gone = {u for u, stage in (vanish or {}).items() if stage == START}
        recipients = frozenset(self.policy.members)
        while True:
            while recipients:
                recipients = self._exchange(recipients, vanish or {}, gone)
            before = self.server.state
            recipients = self.server.close() | self._unmask()
            if self.server.state is before:
                return

    def _exchange(
        self, recipients: frozenset[int], vanish: Mapping[int, str], gone: set[int]
    ) -> frozenset[int]:
        """One round trip with each recipient; returns whom the server then wants to reach."""
        replies: list[tuple[int, Wire]] = []
        for u in sorted(recipients - gone):
            for message in self.to_client(u):
                for reply in self.deliver(u, message):
                    if u not in gone:
                        replies.append((u, reply))
                    stage = LAST_OF_STAGE.get(type(reply))
                    if stage is not None and vanish.get(u) == stage.value:
                        gone.add(u)
        following: frozenset[int] = frozenset()
        for u, reply in replies:
            following |= self.collect(u, reply)
        return following

    def to_client(self, u: int) -> Iterator[Wire]:
        """What the server has for ``u``, through the codec."""
        for message in self.server.state.outbound(u):
            yield decode_from_server(encode(message))

    def deliver(self, u: int, message: Wire) -> Iterator[Wire]:
        """Hand one message of the server to client ``u``; yields what it sends, through the codec.

        Raises PeerViolation as the client does. Entries are journalled before anything is yielded.
        """
        standing = self.standings.get(u, Standing())
        match message:
            case Announcement():
                step = advertise_keys(
                    self.hospitals[u],
                    message,
                    standing=standing,
                    base_model_hash=self.base_model_hash,
                    batch_round=1,
                    vector=self.vectors[u],
                    randomness=self.randomness[u],
                )
                self.sessions[u] = ClientSession(step.state)
                entries = step.durable
            case SumAnnouncement():
                ring, dimension = self.policy.ring, self.policy.vector.dimension
                self.sums[u] = (message, VectorReceiver(Label.SUM, ring, dimension), [])
                self.evidence[u] = EvidenceIntake(self.policy, message.published)
                return
            case TranscriptStart() | TranscriptChunk() | MaskedInputChunk():
                self.evidence[u].receive(message)
                return
            case VectorChunk():
                announcement, receiver, parts = self.sums[u]
                parts.append(_received(receiver, message, SERVER))
                if not receiver.complete:
                    return
                total = self.policy.ring.decode(np.concatenate(parts))
                demanded = self.policy.verification == "recompute"
                signed = sign_sum(
                    self.hospitals[u],
                    SumReceived(announcement, total),
                    standing=standing,
                    base_model_hash=self.base_model_hash,
                    next_model_hash=self.next_model_hash,
                    recomputed=self.evidence[u].recomputed() if demanded else None,
                )
                self.sessions[u] = ClientSession(signed.state)
                entries = signed.durable
            case _:
                if u not in self.sessions:
                    return
                entries = self.sessions[u].handle(message, self.randomness[u])
        for entry in entries:
            self.journals.setdefault(u, []).append(entry)
            standing = standing.after(entry)
        self.standings[u] = standing
        for reply in self.sessions[u].state.outbound:
            yield decode_from_client(encode(reply))

    def collect(self, u: int, message: Wire) -> frozenset[int]:
        """Hand one message of client ``u`` to the server; returns whom it then wants to reach.

        Raises PeerViolation as the server does.
        """
        match message:
            case VectorChunk():
                if u not in self.receivers:
                    ring, dimension = self.policy.ring, self.policy.vector.dimension
                    self.receivers[u] = VectorReceiver(Label.MASKED_INPUT, ring, dimension)
                    self.spool[u] = []
                words = _received(self.receivers[u], message, self.policy.name(u))
                self.spool[u].append((message.start, words))
                return frozenset()
            case MaskedInputSignature():
                receiver, name = self.receivers.get(u), self.policy.name(u)
                if receiver is None or not receiver.complete:
                    raise PeerViolation(Check.STREAM_IN_ORDER, name, "its masked input is missing")
                event = MaskedInputReceived(message.session, receiver.finish(), message)
                return self.server.handle(u, event) | self._unmask()
            case _:
                return self.server.handle(u, message) | self._unmask()

    def _unmask(self) -> frozenset[int]:
        """When every seed is known: aggregate U3, remove the masks, publish."""
        state = self.server.state
        if not isinstance(state, Unmasked):
            return frozenset()
        aggregate = Aggregate(self.policy.ring, self.policy.vector.dimension)
        for u in state.u3:
            for start, words in self.spool[u]:
                aggregate.add(start, words)
        aggregate.unmask(state.masks)
        total = aggregate.total() - state.surplus_noise()
        step = publish_sum(state, total)
        if isinstance(step.state, Certifying):
            self.survivors, self.total = state.u3, total
            self.transcript = published(state, step.state.published, total)
            evidence = Evidence(self.transcript, self._masked_input)
            step = replace(step, state=replace(step.state, evidence=evidence))
        return self.server.advance(step)

    def _masked_input(self, u: int) -> Iterator[tuple[int, bytes]]:
        for start, words in self.spool[u]:
            yield start, pack(words, self.policy.ring.bits)

    def next_model_hash(self, total: NDArray[np.int64]) -> bytes:
        """Without a model to apply it to, the sum itself is what is certified."""
        return digest(Label.MODEL, self.base_model_hash, total.astype("<i8").tobytes())

    @property
    def reason(self) -> str | None:
        """Why there is no sum; None if there is one."""
        state: ServerState = self.server.state
        if isinstance(state, Aborted):
            return state.reason
        if isinstance(state, Unmasking):
            return f"{len(state.answers)} of at least {self.policy.threshold} hospitals answered"
        return None if isinstance(state, Certifying | Concluded) else "the attempt did not finish"


def _randomness(seed: int | bytes | None) -> Randomness:
    if seed is None:
        return SystemRandomness()
    if isinstance(seed, bytes):
        return SeededRandomness(seed)
    if not 0 <= seed < 2**64:
        raise LocalMisuse(f"a seed is bytes or an integer of 0 to 2^64 - 1, not {seed}")
    return SeededRandomness(u64(seed))


def _quantised(vector: Vector, scale: int) -> NDArray[np.int64]:
    try:
        return quantise(vector, scale)
    except ValueError as error:
        raise LocalMisuse(str(error)) from None


def _received(receiver: VectorReceiver, chunk: VectorChunk, sender: str) -> Words:
    try:
        return receiver.receive(chunk.start, chunk.data)
    except StreamError as error:
        raise PeerViolation(Check.STREAM_IN_ORDER, sender, str(error)) from None


def _vectors(values: Sequence[ArrayLike]) -> tuple[list[Vector], bool]:
    """The inputs as arrays of one length, and whether all are integers."""
    arrays: list[NDArray[Any]] = [np.asarray(value) for value in values]
    for array in arrays:
        if array.ndim != 1 or array.size == 0:
            raise LocalMisuse(f"a vector is one-dimensional and not empty, not {array.shape}")
        if array.dtype.kind not in "iuf" or array.dtype == np.uint64:
            raise LocalMisuse(f"a vector holds integers of 64 bits or floats, not {array.dtype}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise LocalMisuse("a vector holds a NaN or an infinity: only finite numbers add up")
    if len({array.size for array in arrays}) > 1:
        raise LocalMisuse(f"vectors of different lengths: {sorted({a.size for a in arrays})}")
    integral = all(array.dtype.kind in "iu" for array in arrays)
    return [array.astype(np.int64 if integral else np.float64) for array in arrays], integral


def _vanishing(names: Sequence[Any], drop: Mapping[Any, str]) -> dict[Any, str]:
    for name, stage in drop.items():
        if name not in names:
            raise LocalMisuse(f"drop names {name!r}, which has no input")
        if stage not in STAGES:
            raise LocalMisuse(f"{name!r} can't vanish after {stage!r}; stages are {STAGES}")
    return dict(drop)
