"""The cohort of a vector: n clients and a server, everything they draw from one seed.

The very state machines of the processes, driven message by message; what a client or the server
refuses leaves it as it was. ``Cohort`` of ``secagg.simulate`` does the same for one round of honest
parties; here rounds follow one another, clients restart, and a round can be abandoned.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, Literal, final

import msgspec
import numpy as np
from numpy.typing import NDArray

from secagg.checks import Check
from secagg.context import Attempt
from secagg.crypto.hashing import Label, digest, u64
from secagg.crypto.keys import KeyPair
from secagg.crypto.randomness import SeededRandomness
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey
from secagg.errors import PeerViolation
from secagg.model import Model, ModelSpec, apply, canonical_bytes, initial, model_hash
from secagg.policy import Member, NoiseSpec, Policy, VectorSpec, checked
from secagg.rounds import r5_certification as certification
from secagg.rounds.journal import Certified, Entry, Standing, SurvivorSigned
from secagg.rounds.machine import SERVER, Aborted, Hospital, ServerState
from secagg.rounds.r0_advertise_keys import Advertised, advertise_keys, announce
from secagg.rounds.r2_masked_input import MaskedInputReceived
from secagg.rounds.r3_consistency_check import restore
from secagg.rounds.r4_unmasking import Unmasked, Unmasking
from secagg.rounds.r5_certification import Certifying, SumReceived, SumSigned
from secagg.rounds.session import ClientSession, ServerSession
from secagg.transcript import recording
from secagg.transcript.recomputation import Recomputation
from secagg.transcript.record import Transcript
from secagg.transcript.verification import Outcome, verify_transcript
from secagg.vector.aggregate import Aggregate
from secagg.vector.packing import pack
from secagg.vector.ring import Words
from secagg.vector.stream import StreamError, VectorReceiver
from secagg.vectors.document import Document, VectorError
from secagg.wire.messages import (
    Abandonment,
    AbandonmentNotice,
    AbandonmentRequest,
    AbandonmentShare,
    Announcement,
    Certificate,
    CertificateNotice,
    MaskedInputSignature,
    PublishedSum,
    SumAnnouncement,
    VectorChunk,
    Wire,
)

SERVER_NUMBER: Final = 0
"""Who the server is where clients are numbers."""

BATCH_ROUND: Final = 1
"""The round for which every hospital's batches are made."""

MAX_DIMENSION: Final = 4096
MAX_HOSPITALS: Final = 64
"""Vectors are small."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy without its keys, which come from the seed."""

    consortium: str
    version: int
    hospitals: list[str]
    corrupt: int
    dropouts: int
    min_survivors: int
    vector: VectorSpec
    noise: NoiseSpec
    model: ModelSpec | None
    max_charged_attempts: int
    verification: Literal["published", "recompute"]

    def unchecked(self, keys: Sequence[bytes]) -> Document:
        """The policy's document: the server's key, then the hospitals'. Raises VectorError."""
        if len(self.hospitals) > MAX_HOSPITALS or self.vector.dimension > MAX_DIMENSION:
            raise VectorError(
                f"a vector has at most {MAX_HOSPITALS} hospitals and {MAX_DIMENSION} coordinates"
            )
        server_key, *identity_keys = (key.hex() for key in keys)
        policy = Policy(
            consortium=self.consortium,
            version=self.version,
            server_key=server_key,
            roster=tuple(map(Member, self.hospitals, identity_keys)),
            corrupt=self.corrupt,
            dropouts=self.dropouts,
            min_survivors=self.min_survivors,
            vector=self.vector,
            noise=self.noise,
            model=self.model,
            max_charged_attempts=self.max_charged_attempts,
            verification=self.verification,
        )
        document: Document = json.loads(msgspec.json.encode(policy))
        return document


@final
class Cohort:
    """Everybody, over one policy: any number of rounds and attempts."""

    def __init__(self, config: Config, seed: bytes) -> None:
        """Keys for everybody from ``seed``. Raises DecodeError, VectorError."""
        self._root = SeededRandomness(seed)
        everybody = range(len(config.hospitals) + 1)
        self.randomness = {u: self._root.fork(u64(u)) for u in everybody}
        self.identity_seeds = {u: self.randomness[u].draw(32) for u in everybody}
        self.identities = {u: IdentityKey(Secret(s)) for u, s in self.identity_seeds.items()}
        document = config.unchecked([self.identities[u].public for u in everybody])
        self.policy = checked(msgspec.convert(document, Policy))
        if self.policy.verification != "published":
            raise VectorError("evidence for a sum has the operation transcript")
        self.journal_keys = {u: self.randomness[u].draw(32) for u in self.policy.members}
        self.hospitals = {
            u: Hospital(self.policy, u, self.identities[u], Secret(self.journal_keys[u]))
            for u in self.policy.members
        }
        spec = self.policy.model
        self.model: Model | None = None if spec is None else initial(spec)
        self.base_model_hash = digest(Label.MODEL) if self.model is None else model_hash(self.model)
        self.standings = {u: Standing() for u in self.policy.members}
        self.journals: dict[int, list[Entry]] = {u: [] for u in self.policy.members}
        self.certificate: Certificate | None = None
        self.abandonment: Abandonment | None = None
        self._abandoning: dict[int, bytes] = {}
        self.total: NDArray[np.int64] | None = None
        self.unmasked: Unmasked | None = None
        self.published: PublishedSum | None = None

    # --- an attempt ------------------------------------------------------------------------------

    def open(self, round_number: int, attempt: int) -> None:
        """The server opens an attempt, everybody being connected; nothing is sent yet."""
        self._adopt()
        step = announce(
            self.policy,
            self.identities[SERVER_NUMBER],
            round_number=round_number,
            attempt_number=attempt,
            base_model_hash=self.base_model_hash,
            randomness=self.randomness[SERVER_NUMBER],
        )
        self.server = ServerSession(step)
        self.attempt: Attempt = step.state.attempt
        self.vectors = {u: self._vector(u, round_number) for u in self.policy.members}
        self.sessions: dict[int, ClientSession] = {}
        self.receivers: dict[int, VectorReceiver] = {}
        self.spool: dict[int, list[tuple[int, Words]]] = {}
        self._sums: dict[int, tuple[SumAnnouncement, VectorReceiver, list[Words]]] = {}
        self.last: ServerState = step.state
        self.total, self.unmasked, self.published = None, None, None

    def _vector(self, u: int, round_number: int) -> NDArray[np.int64]:
        """x_u of one round: uniform within the bound, up to the bias of a 64-bit remainder."""
        source = self._root.fork(b"vector", u64(u), u64(round_number))
        bound = self.policy.vector.max_value
        drawn = (int.from_bytes(source.draw(8), "big") for _ in range(self.policy.vector.dimension))
        return np.array([x % (2 * bound + 1) - bound for x in drawn], np.int64)

    def _adopt(self) -> None:
        """What is certified is what the next round starts from."""
        if self.certificate is not None:
            self.base_model_hash = self.certificate.model_hash
            if self.model is not None and self.policy.model is not None and self.total is not None:
                self.model = apply(self.model, self.total, self.policy.model)

    def next_model(self, total: NDArray[np.int64]) -> bytes | None:
        """The canonical bytes of the model that ``total`` makes; None without a model."""
        if self.model is None or self.policy.model is None:
            return None
        return canonical_bytes(apply(self.model, total, self.policy.model))

    def next_model_hash(self, total: NDArray[np.int64]) -> bytes:
        """Without a model, the sum itself is what is certified."""
        if self.model is None or self.policy.model is None:
            return digest(Label.MODEL, self.base_model_hash, total.astype("<i8").tobytes())
        return model_hash(apply(self.model, total, self.policy.model))

    # --- a client --------------------------------------------------------------------------------

    def deliver(self, u: int, message: Any) -> tuple[Wire, ...]:
        """Hand one message of the server to client ``u``; what it answers. Raises PeerViolation."""
        hospital, standing = self.hospitals[u], self.standings[u]
        match message:
            case Announcement():
                step = advertise_keys(
                    hospital,
                    message,
                    standing=standing,
                    base_model_hash=self.base_model_hash,
                    batch_round=BATCH_ROUND,
                    vector=self.vectors[u],
                    randomness=self.randomness[u],
                )
                return self._enter(u, ClientSession(step.state), step.durable)
            case SumAnnouncement():
                receiver = VectorReceiver(Label.SUM, self.policy.ring, self.policy.vector.dimension)
                self._sums[u] = (message, receiver, [])
                return ()
            case VectorChunk():
                return self._sum_chunk(u, message)
            case CertificateNotice() if not self._has_signed(u):
                certification.check_certificate(self.policy, message.certificate)
                self._journal(u, (Certified(message.certificate),))
                return ()
            case AbandonmentRequest():
                signed = certification.sign_abandonment(
                    hospital,
                    message,
                    standing=standing,
                    base_model_hash=self.base_model_hash,
                    newest_round=max(BATCH_ROUND, standing.entered[0]),
                )
                self._journal(u, (signed,))
                return (AbandonmentShare(message.round, signed.signature),)
            case AbandonmentNotice():
                entry = certification.check_abandonment(self.policy, message.abandonment)
                self._journal(u, (entry,))
                return ()
            case _:
                if u not in self.sessions:
                    raise PeerViolation(Check.EXPECTED_MESSAGE, SERVER, "no session")
                session = self.sessions[u]
                return self._enter(u, session, session.handle(message, self.randomness[u]))

    def restart(self, u: int) -> None:
        """Client ``u`` starts again from its journal alone: from a signed U3, or not at all."""
        self.sessions.pop(u, None)
        self._sums.pop(u, None)
        newest = [entry for entry in self.journals[u] if isinstance(entry, SurvivorSigned)]
        if newest and newest[-1].attempt == self.attempt:
            self.sessions[u] = ClientSession(restore(self.hospitals[u], newest[-1]))

    def misdeal(self, u: int) -> None:
        """Client ``u``, having advertised, takes another mask private key, newly drawn."""
        state = self.sessions[u].state if u in self.sessions else None
        if not isinstance(state, Advertised):
            raise VectorError(f"client {u} is not about to share keys")
        other = KeyPair(Secret(self.randomness[u].draw(32)), state.mask.public)
        self.sessions[u] = ClientSession(replace(state, mask=other))

    def sending(self, u: int) -> tuple[Wire, ...]:
        """What client ``u`` sends in its state, and again after a reconnect."""
        return tuple(self.sessions[u].state.outbound) if u in self.sessions else ()

    def _has_signed(self, u: int) -> bool:
        return u in self.sessions and isinstance(self.sessions[u].state, SumSigned)

    def _sum_chunk(self, u: int, message: VectorChunk) -> tuple[Wire, ...]:
        if u not in self._sums:
            raise PeerViolation(Check.EXPECTED_MESSAGE, SERVER, "a chunk of no announced sum")
        announcement, receiver, parts = self._sums[u]
        try:
            parts.append(receiver.receive(message.start, message.data))
        except StreamError as error:
            raise PeerViolation(Check.STREAM_IN_ORDER, SERVER, str(error)) from None
        if not receiver.complete:
            return ()
        step = certification.sign_sum(
            self.hospitals[u],
            SumReceived(announcement, self.policy.ring.decode(np.concatenate(parts))),
            standing=self.standings[u],
            base_model_hash=self.base_model_hash,
            next_model_hash=self.next_model_hash,
        )
        return self._enter(u, ClientSession(step.state), step.durable)

    def _enter(self, u: int, session: ClientSession, entries: Sequence[Entry]) -> tuple[Wire, ...]:
        self._journal(u, entries)
        self.sessions[u] = session
        return self.sending(u)

    def _journal(self, u: int, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self.journals[u].append(entry)
            self.standings[u] = self.standings[u].after(entry)

    # --- the server ------------------------------------------------------------------------------

    def pending(self, u: int) -> tuple[Wire, ...]:
        """What the server has for client ``u`` now."""
        return tuple(self.server.state.outbound(u))

    def collect(self, u: int, message: Any) -> None:
        """Hand one message of client ``u`` to the server. Raises PeerViolation."""
        self._remember()
        match message:
            case VectorChunk():
                self._masked_chunk(u, message)
            case MaskedInputSignature():
                receiver = self.receivers.get(u)
                if receiver is None or not receiver.complete:
                    raise PeerViolation(
                        Check.STREAM_IN_ORDER, self.policy.name(u), "its masked input is missing"
                    )
                event = MaskedInputReceived(message.session, receiver.finish(), message)
                self.server.handle(u, event)
            case AbandonmentShare():
                certification.check_abandonment_share(
                    self.policy, u, message.round, self.base_model_hash, message.signature
                )
                self._abandoning[u] = message.signature
                return
            case _:
                self.server.handle(u, message)
        self._unmask()

    def close(self) -> None:
        """The deadline of the server's stage has passed."""
        self._remember()
        self.server.close()
        self._unmask()

    def reconnect(self, u: int) -> None:
        """A new connection of client ``u``: a stream begins anew on it."""
        self.receivers.pop(u, None)

    def request_abandonment(self, round_number: int, reason: str) -> AbandonmentRequest:
        """The server asks whether a round may end without a model."""
        self._abandoning = {}
        return AbandonmentRequest(round_number, self.base_model_hash, reason)

    def abandon(self, round_number: int) -> AbandonmentNotice | None:
        """The abandonment, if t hospitals have signed it."""
        self.abandonment = certification.abandonment(
            self.policy, round_number, self.base_model_hash, self._abandoning
        )
        return None if self.abandonment is None else AbandonmentNotice(self.abandonment)

    def received_digest(self, u: int) -> bytes:
        """The digest of the masked input that came from ``u``. Raises VectorError unless whole."""
        if u not in self.receivers or not self.receivers[u].complete:
            raise VectorError(f"no masked input of client {u} has come whole")
        return self.receivers[u].finish()

    def transcript(self, reason: str) -> Transcript:
        """The record of the attempt: with its sum, or of its end for ``reason``."""
        if self.unmasked is None or self.total is None or self.published is None:
            if not isinstance(self.server.state, Unmasking | Aborted):
                raise VectorError("this attempt has not ended")
            return recording.aborted(self.last, reason)
        found = recording.published(self.unmasked, self.published, self.total)
        if isinstance(self.server.state, certification.Concluded):
            return recording.certified(found, self.server.state.certificate)
        return found

    def verified(self, transcript: Transcript) -> Outcome:
        """How far a transcript's attempt got; with a sum, recomputed. Raises PeerViolation."""
        verified = verify_transcript(transcript, self.policy)
        if transcript.published is not None:
            recomputation = Recomputation(transcript, self.policy)
            for u in transcript.u3:
                for start, words in self.spool[u]:
                    recomputation.receive(u, start, pack(words, self.policy.ring.bits))
            recomputation.total()
        return verified.outcome

    def survivors(self) -> Iterator[int]:
        """U3 of the attempt whose sum is known."""
        state = self.server.state
        if self.total is not None and isinstance(state, Certifying | certification.Concluded):
            yield from () if self.unmasked is None else self.unmasked.u3

    def _masked_chunk(self, u: int, message: VectorChunk) -> None:
        if u not in self.receivers:
            ring, dimension = self.policy.ring, self.policy.vector.dimension
            self.receivers[u] = VectorReceiver(Label.MASKED_INPUT, ring, dimension)
            self.spool[u] = []
        try:
            words = self.receivers[u].receive(message.start, message.data)
        except StreamError as error:
            raise PeerViolation(Check.STREAM_IN_ORDER, self.policy.name(u), str(error)) from None
        self.spool[u].append((message.start, words))

    def _remember(self) -> None:
        if not isinstance(self.server.state, Aborted):
            self.last = self.server.state

    def _unmask(self) -> None:
        """When every seed is known: add up U3's masked inputs, remove the masks, publish."""
        state = self.server.state
        if isinstance(state, certification.Concluded):
            self.certificate = state.certificate
        if not isinstance(state, Unmasked):
            return
        self.unmasked = state
        aggregate = Aggregate(self.policy.ring, self.policy.vector.dimension)
        for u in state.u3:
            for start, words in self.spool[u]:
                aggregate.add(start, words)
        aggregate.unmask(state.masks)
        total = aggregate.total() - state.surplus_noise()
        self.server.advance(certification.publish_sum(state, total))
        if isinstance(self.server.state, Certifying):
            self.total, self.published = total, self.server.state.published
