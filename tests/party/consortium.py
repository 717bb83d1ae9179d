"""A consortium for the tests of the node: real clients with real databases, and a server that is
the core's own session, moved by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import trio
from numpy.typing import NDArray
from sqlalchemy import URL, Engine

from party.audit.log import AuditLog
from party.batches import BatchError, Progress, Taken
from party.chain import Chain
from party.client import Client
from party.database import open_database
from party.journal import Follower, Journal
from party.ledger import Cost, Ledger
from party.models import ModelStore
from party.participation import Participation
from party.queue import Queue
from party.submission.posted import Posted
from party.transcripts import Transcripts
from secagg.contribution import ContributionRule
from secagg.crypto.hashing import Label, digest, u64
from secagg.crypto.randomness import SeededRandomness
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey
from secagg.model import (
    Model,
    ModelSpec,
    ParameterSpec,
    UpdateRule,
    apply,
    initial,
    model_hash,
)
from secagg.policy import Member, NoiseSpec, Policy, VectorSpec, checked
from secagg.privacy.accounting import epsilon_to_zcdp
from secagg.rounds.machine import Hospital
from secagg.rounds.r0_advertise_keys import announce
from secagg.rounds.r2_masked_input import MaskedInputReceived
from secagg.rounds.r4_unmasking import Unmasked
from secagg.rounds.r5_certification import Certifying, Concluded, publish_sum
from secagg.rounds.session import ServerSession
from secagg.transcript.evidence import Evidence
from secagg.transcript.record import Transcript
from secagg.transcript.recording import published
from secagg.vector.aggregate import Aggregate
from secagg.vector.packing import pack
from secagg.vector.ring import Words
from secagg.vector.stream import VectorReceiver
from secagg.wire.codec import decode_from_client, decode_from_server, encode
from secagg.wire.messages import (
    PROTOCOL,
    Challenge,
    MaskedInputSignature,
    Refusal,
    VectorChunk,
    Wire,
)

SPEC = ModelSpec(
    parameters=(ParameterSpec(name="weights", shape=(5,)),),
    contribution=ContributionRule(scale=64, gradient_bound=64, count_weight=16, max_patients=100),
    update=UpdateRule(learning_rate="0.5", count_floor=1),
)

#: A round's share of a budget of epsilon = 1 that pays for about ten.
RHO_UNITS = int(epsilon_to_zcdp(1, Fraction("0.001")) / 10.5 * 10**9)
NOISE = NoiseSpec(mode="exact", sensitivity=SPEC.contribution.sensitivity, rho_units=RHO_UNITS)


@dataclass(slots=True)
class FixedSource:
    """A source with one vector, as often as it is asked; ``since``: the round it counts for."""

    vector: NDArray[np.int64]
    since: int | None = 1
    broken: bool = False
    trained: list[int] = field(default_factory=list)
    posted: trio.Event = field(default_factory=trio.Event)

    def post(self, number: int) -> None:
        """From now on a batch waits for round ``number``; whoever awaits a change is told."""
        self.since = number
        self.posted.set()

    def waiting(self, progress: Progress) -> int | None:
        return None if self.since is None else max(self.since, progress.closed + 1)

    def take(self, number: int, progress: Progress, model: Model) -> Taken:
        waiting = self.waiting(progress)
        assert waiting is not None
        assert waiting <= number
        self.trained.append(number)
        if self.broken:
            raise BatchError("batch.jsonl: record 3, age: is outside 0 to 130")
        return Taken(waiting, self.vector)

    def batch_in(self, session: bytes) -> int | None:
        return None

    def undecided(self, progress: Progress) -> Sequence[int]:
        return ()

    def settle(self, number: int) -> None:
        pass

    async def changed(self) -> None:
        await self.posted.wait()
        self.posted = trio.Event()


class Posting:
    """A training for queued payloads that are vectors already; ``broken``: none can be opened."""

    def __init__(self) -> None:
        self.broken = False

    def contribution(self, kind: str, payload: bytes, model: Model) -> NDArray[np.int64]:
        if self.broken:
            raise BatchError("no key of this node opens it")
        return np.frombuffer(payload, np.int64)


def posted(number: int, vector: Sequence[int] = (1, 2, 3, 4, 5, 16)) -> Posted:
    """A batch for a party with a queue."""
    payload = np.array(vector, np.int64).tobytes()
    return Posted(
        number=number,
        kind="records",
        digest=digest(Label.SUBMISSION, u64(number), payload),
        payload=payload,
        patients=vector[-1] // SPEC.contribution.count_weight,
        encrypted_bytes=len(payload),
    )


@dataclass(slots=True)
class Party:
    """One hospital: its keys, its files, and the client that runs on them now.

    ``posting``: what makes vectors of what is in its queue; None: it trains on ``source``.
    ``place``: its PostgreSQL database; None: the file at ``path``.
    """

    hospital: Hospital
    path: Path
    source: FixedSource
    randomness: SeededRandomness
    budget: tuple[Fraction, Fraction]
    extra_attempts: int = 0
    posting: Posting | None = None
    kept_models: int = 1
    place: URL | None = None
    queue: Queue | None = field(init=False, default=None)
    audit: AuditLog | None = field(init=False, default=None)
    engine: Engine = field(init=False)
    journal: Journal = field(init=False)
    ledger: Ledger | None = field(init=False)
    chain: Chain = field(init=False)
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A new process over the files as they are."""
        policy = self.hospital.policy
        self.engine = open_database(self.place or self.path)
        cost = Cost.of(policy)
        self.ledger = None if cost is None else Ledger(self.engine, cost, *self.budget)
        models = ModelStore(self.engine)
        followers: list[Follower] = []
        if self.posting is not None:
            directory = self.path.with_suffix("")
            directory.mkdir(exist_ok=True)
            self.audit = AuditLog(self.engine, directory, self.hospital, cost, self.randomness)
            self.queue = Queue(self.engine, self.posting, self.hospital.u, 4, self.audit)
            followers = [self.queue, self.audit]
        self.journal = Journal(self.engine, self.ledger, models, followers, self.kept_models)
        self.chain = Chain(self.hospital, SPEC, self.journal, models, self.randomness)
        self.client = Client(
            self.hospital,
            self.journal,
            self.chain,
            self.ledger,
            self.source if self.queue is None else self.queue,
            self.randomness,
            Participation(self.engine, self.queue, self.audit),
            Transcripts(self.engine),
            self.extra_attempts,
            self.audit,
        )

    def restart(self) -> None:
        """Kill the process, without a word, and start it again."""
        self.engine.dispose()
        self.start()

    def handle(self, message: Wire) -> list[Wire]:
        """One message through the codec, and all of the replies."""
        replies = self.client.handle(decode_from_server(encode(message)))
        return [decode_from_client(encode(reply)) for reply in replies]


@dataclass(slots=True)
class Consortium:
    """n parties and a server's session; ``gone``: whom no message reaches."""

    policy: Policy
    identity: IdentityKey
    parties: dict[int, Party]
    randomness: SeededRandomness
    model: Model = field(default_factory=lambda: initial(SPEC))
    gone: set[int] = field(default_factory=set)
    server: ServerSession = field(init=False)
    spool: dict[int, list[tuple[int, Words]]] = field(default_factory=dict)
    receivers: dict[int, VectorReceiver] = field(default_factory=dict)
    refusals: dict[int, list[str]] = field(default_factory=dict)
    #: The digests of all masked inputs that came from a party in a session.
    masked: dict[tuple[int, bytes], set[bytes]] = field(default_factory=dict)
    total: NDArray[np.int64] | None = None
    transcript: Transcript | None = None
    adopted: int = 0

    def announce(self, number: int, attempt: int = 1) -> frozenset[int]:
        """Open an attempt from the server's model."""
        step = announce(
            self.policy,
            self.identity,
            round_number=number,
            attempt_number=attempt,
            base_model_hash=model_hash(self.model),
            randomness=self.randomness,
        )
        self.server = ServerSession(step)
        self.spool, self.receivers, self.total = {}, {}, None
        return step.recipients

    def run(self, recipients: Iterable[int]) -> None:
        """Exchange messages until a deadline passing moves nothing any more."""
        reach = frozenset(recipients)
        while True:
            while reach:
                reach = self.exchange(reach)
            before = self.server.state
            reach = self.server.close() | self.unmask()
            if self.server.state is before:
                break
        self._adopt()

    def round(self, number: int, attempt: int = 1) -> None:
        """A whole round."""
        self.run(self.announce(number, attempt))

    def exchange(self, recipients: Iterable[int]) -> frozenset[int]:
        """Deliver the server's outbound to each recipient; collect what they reply."""
        replies = [
            (u, reply)
            for u in sorted(set(recipients) - self.gone)
            for message in self.server.state.outbound(u)
            for reply in self.parties[u].handle(message)
        ]
        return self.collect(replies)

    def until(self, state: type) -> None:
        """From the announcement on, until the server's session is in ``state`` (not further)."""
        reach = frozenset(self.policy.members)
        while not isinstance(self.server.state, state):
            reach = self.exchange(reach) or self.server.close() | self.unmask()

    def collect(self, replies: Iterable[tuple[int, Wire]]) -> frozenset[int]:
        """Hand the clients' messages to the server."""
        reach: frozenset[int] = frozenset()
        for u, reply in replies:
            match reply:
                case Refusal(reason):
                    self.refusals.setdefault(u, []).append(reason)
                case VectorChunk(start=start, data=data):
                    if start == 0:
                        self.receivers[u] = VectorReceiver(
                            Label.MASKED_INPUT, self.policy.ring, SPEC.dimension
                        )
                        self.spool[u] = []
                    self.spool[u].append((start, self.receivers[u].receive(start, data)))
                case MaskedInputSignature(session=session):
                    event = MaskedInputReceived(session, self.receivers[u].finish(), reply)
                    self.masked.setdefault((u, session), set()).add(reply.masked_digest)
                    reach |= self.server.handle(u, event)
                case _:
                    reach |= self.server.handle(u, reply)
        reach |= self.unmask()
        self._adopt()
        return reach

    def _adopt(self) -> None:
        """Once the round is certified, the server's model is the new one."""
        state = self.server.state
        if isinstance(state, Concluded) and self.adopted < state.attempt.round:
            assert self.total is not None
            self.adopted = state.attempt.round
            self.model = apply(self.model, self.total, SPEC)

    def unmask(self) -> frozenset[int]:
        """The sum, when every seed is known."""
        state = self.server.state
        if not isinstance(state, Unmasked):
            return frozenset()
        aggregate = Aggregate(self.policy.ring, SPEC.dimension)
        for u in state.u3:
            for start, words in self.spool[u]:
                aggregate.add(start, words)
        aggregate.unmask(state.masks)
        self.total = aggregate.total() - state.surplus_noise()
        step = publish_sum(state, self.total)
        if isinstance(step.state, Certifying):
            self.transcript = published(state, step.state.published, self.total)
            evidence = Evidence(self.transcript, self.masked_input)
            step = replace(step, state=replace(step.state, evidence=evidence))
        return self.server.advance(step)

    def masked_input(self, u: int) -> Iterator[tuple[int, bytes]]:
        """(start, packed bytes) of each chunk of party u's masked input, as it was received."""
        for start, words in self.spool[u]:
            yield start, pack(words, self.policy.ring.bits)

    def notify(self, message: Wire) -> dict[int, list[Wire]]:
        """Send one message to everybody that can be reached; their replies, by party."""
        return {u: p.handle(message) for u, p in self.parties.items() if u not in self.gone}

    def challenge(self) -> Challenge:
        """How the server greets."""
        return Challenge(PROTOCOL, self.policy.digest(), self.randomness.draw(32))

    def close(self) -> None:
        """Let go of the databases."""
        for party in self.parties.values():
            party.engine.dispose()


def assemble(
    directory: Path,
    n: int = 4,
    noise: NoiseSpec = NOISE,
    epsilon: str = "1",
    max_charged_attempts: int = 3,
    posting: bool = False,
    verification: Literal["published", "recompute"] = "published",
) -> Consortium:
    """A consortium of ``n`` hospitals with their databases in ``directory``.

    ``posting``: they have queues, and nothing in them.
    """
    randomness = SeededRandomness(b"consortium")
    identities = {u: IdentityKey(Secret(randomness.draw(32))) for u in range(n + 1)}
    policy = checked(
        Policy(
            consortium="test",
            server_key=identities[0].public.hex(),
            roster=tuple(
                Member(f"hospital-{u}", identities[u].public.hex()) for u in range(1, n + 1)
            ),
            corrupt=1,
            dropouts=1,
            min_survivors=3,
            vector=VectorSpec(
                dimension=SPEC.dimension,
                max_value=SPEC.contribution.coordinate_bound,
                scale=SPEC.contribution.scale,
            ),
            noise=noise,
            model=SPEC,
            max_charged_attempts=max_charged_attempts,
            verification=verification,
        )
    )
    parties = {
        u: Party(
            Hospital(policy, u, identities[u], Secret(randomness.draw(32))),
            directory / f"{u}.sqlite3",
            FixedSource(np.array([u, -u, 2 * u, 0, 1, 16], np.int64)),
            randomness.fork(u64(u)),
            (Fraction(epsilon), Fraction("0.001")),
            posting=Posting() if posting else None,
        )
        for u in policy.members
    }
    return Consortium(policy, identities[0], parties, randomness)
