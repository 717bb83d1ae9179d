"""The server's centre: greets connections, knows where the consortium stands, opens attempts.

One task runs the rounds, one after the other; each connection has a task that reads it and one that
writes it. What changes among the parties wakes the first one up.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Final, final

import numpy as np
import structlog
import trio
from numpy.typing import NDArray
from trio.abc import Stream

from secagg.checks import Check
from secagg.context import Attempt, attempt_of
from secagg.crypto.randomness import Randomness
from secagg.crypto.signatures import IdentityKey
from secagg.errors import DecodeError, PeerViolation
from secagg.policy import Policy
from secagg.rounds.machine import ServerState, ServerStep, require
from secagg.rounds.r0_advertise_keys import announce
from secagg.rounds.r5_certification import Certifying
from secagg.transcript.evidence import Evidence, in_pieces
from secagg.transcript.record import Transcript
from secagg.wire.messages import (
    MAX_REASON,
    Abandonment,
    AbandonmentNotice,
    AbandonmentShare,
    AttemptAborted,
    Certificate,
    CertificateNotice,
    CertificateShare,
    FromClient,
    Hello,
    ModelChunk,
    ModelRequest,
    ModelStart,
    Ready,
    Refusal,
    TranscriptRequest,
    UnmaskingAnswer,
    Wire,
)
from server.abandoning import Abandoning
from server.archive import Archive
from server.attempt import Certified, Failed, Offload, RunningAttempt
from server.chain import Chain
from server.config import Timing
from server.connection import Connection
from server.gathering import Ask, Gathering, Open, View, Wait, can_leave
from server.greeting import Unwelcome, challenge, checked_hello, first_limit
from server.model_intake import ModelIntake
from server.peers import Peer, Peers
from server.spool import Spool
from server.store import Store
from server.strangers import Strangers

_STRANGERS: Final = 64
_NONCE_BYTES: Final = 32
_ROUND_CLOSED: Final = "this training round has been closed meanwhile"
_UNKNOWN_SESSION: Final = "this server has no such attempt open (any more)"
_STUCK: Final = "too few hospitals can finish or repeat this round"

_log = structlog.get_logger("secagg.server")


@final
class Coordinator:
    """``spools``: a directory for masked inputs, empty but for those of a published sum.

    ``offload`` runs blocking work.
    """

    def __init__(
        self,
        *,
        policy: Policy,
        identity: IdentityKey,
        store: Store,
        chain: Chain,
        spools: Path,
        archive: Archive,
        timing: Timing,
        randomness: Randomness,
        offload: Offload = trio.to_thread.run_sync,
    ) -> None:
        self._policy = policy
        self._identity = identity
        self._store = store
        self._chain = chain
        self._spools = spools
        self._archive = archive
        self._timing = timing
        self._randomness = randomness
        self._offload = offload
        self._peers = Peers(policy)
        self._gathering = Gathering(policy, timing)
        self._view = View(chain.closed, {}, store.open_attempts())
        self._attempt: RunningAttempt | None = None
        self._abandoning: Abandoning | None = None
        self._changed = trio.Event()
        self._closing = trio.Lock()
        self._strangers = Strangers(_STRANGERS + policy.n)

    # --- rounds ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Open rounds, for ever. A sum that was published and not certified comes first."""
        interrupted = await self._offload(self._store.pending_sum)
        if interrupted is not None:
            facts, published, total = interrupted
            certifying = Certifying(
                policy=self._policy,
                identity=self._identity,
                attempt=facts,
                published=published,
                total=total,
            )
            _log.info("certification resumed", round=published.round, attempt=published.attempt)
            spool = await self._offload(partial(self._spool, facts, resumed=True))
            evidence = await self._offload(self._evidence, facts, spool)
            await self._conduct(ServerStep(replace(certifying, evidence=evidence)), spool)
        while True:
            match self._decide():
                case Open() as plan:
                    await self._open(plan)
                case Ask(number):
                    self._ask(number)
                case Wait(until):
                    with trio.move_on_at(until):
                        await self._changed.wait()

    def _decide(self) -> Open | Ask | Wait:
        if self._chain.model_missing:
            return Wait(inf)
        return self._gathering.decide(trio.current_time(), self._current_view())

    def _current_view(self) -> View:
        asked = self._abandoning.round if self._abandoning else None
        return replace(self._view, standby=self._peers.standby(), asked=asked)

    async def _open(self, plan: Open) -> None:
        """Announce an attempt; its number is on record before anybody hears it."""
        step = announce(
            self._policy,
            self._identity,
            round_number=plan.round,
            attempt_number=plan.attempt,
            base_model_hash=self._chain.model_hash,
            randomness=self._randomness,
            invited=plan.invited,
        )
        await self._offload(self._store.record_attempt, step.state.attempt)
        attempts = {**self._view.attempts, plan.round: plan.attempt}
        self._view = replace(self._view, attempts=attempts)
        for peer in self._peers:
            if peer.u in plan.invited:
                peer.entered = (plan.round, plan.attempt)
        _log.info(
            "attempt opened",
            round=plan.round,
            attempt=plan.attempt,
            invited=[self._policy.name(u) for u in sorted(plan.invited)],
        )
        await self._conduct(step, await self._offload(self._spool, step.state.attempt))

    def _spool(self, facts: Attempt, *, resumed: bool = False) -> Spool:
        return Spool(self._spools / facts.session.hex(), self._policy, resumed=resumed)

    def _evidence(self, facts: Attempt, spool: Spool) -> Iterable[Wire]:
        """What supports a sum that another process has published."""
        transcript = self._archive.of_attempt(facts.round, facts.attempt)
        return () if transcript is None else Evidence(transcript, spool.packed)

    async def _conduct(self, step: ServerStep[ServerState], spool: Spool) -> None:
        """Run one attempt to its end, and draw the conclusions."""
        facts = step.state.attempt
        self._attempt = RunningAttempt(
            step,
            spool=spool,
            audience=self._peers,
            records=self,
            timing=self._timing,
            can_leave=self._can_leave,
            offload=self._offload,
        )
        outcome = await self._attempt.run()
        self._attempt = None
        log = _log.bind(round=facts.round, attempt=facts.attempt)
        match outcome:
            case Certified(certificate):
                log.info(
                    "certified",
                    survivors=[self._policy.name(u) for u in certificate.u3],
                    model_hash=certificate.model_hash.hex(),
                )
            case Failed(reason, omit, released):
                log.warning("attempt aborted", reason=reason)
                if facts.round > self._chain.closed:
                    self._failed(facts.round, omit, released)

    def _failed(self, number: int, omit: Set[int], released: bool) -> None:
        self._view = replace(
            self._view,
            failed=self._view.failed + 1,
            not_before=trio.current_time() + self._timing.attempt_pause,
            omitted=self._view.omitted | omit,
            released=self._view.released or released,
        )
        if self._view.failed >= self._timing.max_attempts:
            _log.error("round failed", round=number, attempts=self._view.failed)

    def _can_leave(self, answered: Set[int]) -> bool:
        return can_leave(self._policy, self._current_view(), answered)

    # --- what closes a round ---------------------------------------------------------------------

    async def publish(self, certifying: Certifying, transcript: Transcript) -> None:
        """Store a sum and its transcript; the sum is sent after that."""
        published = certifying.published
        await self._offload(self._archive.record, transcript)
        await self._offload(self._store.record_sum, certifying.attempt, published, certifying.total)
        _log.info(
            "sum published",
            round=published.round,
            attempt=published.attempt,
            survivors=[self._policy.name(u) for u in published.u3],
        )

    async def conclude(self, certificate: Certificate, total: NDArray[np.int64]) -> None:
        """Store a round's certificate, of which parties are told after that."""
        async with self._closing:
            if self._chain.is_newer(certificate):
                await self._offload(self._keep, certificate)
                await self._offload(self._chain.conclude, certificate, total)
                self._round_closed()
        self._request_model()

    def _keep(self, certificate: Certificate) -> None:
        self._archive.certify(certificate)
        spool = self._spools / attempt_of(certificate).session.hex()
        if spool.exists():
            self._archive.keep_masked_inputs(certificate.round, certificate.attempt, spool)

    async def fail(self, transcript: Transcript) -> None:
        """Store the record of an attempt without a sum."""
        await self._offload(self._archive.record, transcript)

    async def _adopt(self, peer: Peer, certificate: Certificate) -> None:
        """Take up a certificate that a party has shown; tell everybody who is here."""
        async with self._closing:
            if not self._chain.is_newer(certificate):
                return
            await self._offload(self._chain.adopt, certificate)
            self._round_closed()
        _log.info(
            "certificate adopted",
            round=certificate.round,
            model_hash=certificate.model_hash.hex(),
            shown_by=self._policy.name(peer.u),
        )
        self._peers.tell_all(CertificateNotice(certificate))

    async def _adopt_abandonment(self, abandonment: Abandonment) -> None:
        async with self._closing:
            if abandonment.round <= self._chain.closed:
                return
            await self._offload(self._chain.adopt_abandonment, abandonment)
            self._round_closed()
        _log.warning("abandoned", round=abandonment.round)
        self._peers.tell_all(AbandonmentNotice(abandonment))

    def _round_closed(self) -> None:
        """Start afresh above what is closed now. Whoever has a batch for a later round says so."""
        closed = self._chain.closed
        attempts = {r: a for r, a in self._view.attempts.items() if r > closed}
        self._view = View(closed, {}, attempts)
        for peer in self._peers:
            peer.ready = None
        if self._abandoning is not None and self._abandoning.round <= closed:
            self._abandoning = None
        if self._attempt is not None and self._attempt.round <= closed:
            self._attempt.end(_ROUND_CLOSED)
        self._wake()

    def _ask(self, number: int) -> None:
        """Ask everybody to sign that this round ends; who connects later is asked then."""
        _log.warning("abandonment asked for", round=number)
        self._abandoning = Abandoning(self._policy, number, self._chain.model_hash, _STUCK)
        self._peers.tell_all(self._abandoning.request)

    # --- connections -----------------------------------------------------------------------------

    async def serve(self, stream: Stream, origin: str = "") -> None:
        """Take care of one connection until it ends; whatever it sends, nobody else is disturbed.

        ``origin``: where it comes from, for the log.
        """
        hello: Hello | None = None
        async with Connection(
            stream, first_limit(self._policy), self._timing.send_timeout
        ) as connection:
            with self._strangers.admitted():
                hello = await self._greeted(connection, origin)
            if hello is not None:
                await self._attend(connection, hello)

    async def _greeted(self, connection: Connection, origin: str) -> Hello | None:
        """The Hello of an authenticated party; None if the connection is refused."""
        nonce = self._randomness.draw(_NONCE_BYTES)
        try:
            with trio.fail_after(self._timing.unauthenticated):
                await connection.send(challenge(self._policy, nonce))
                try:
                    return checked_hello(self._policy, nonce, await connection.receive())
                except (Unwelcome, DecodeError) as refused:
                    _log.warning("connection refused", origin=origin, reason=str(refused))
                    await connection.send(Refusal(str(refused)[:MAX_REASON]))
        except trio.TooSlowError:
            _log.warning("connection refused", origin=origin, reason="no Hello in time")
        except (trio.BrokenResourceError, trio.ClosedResourceError) as broken:
            reason = str(broken.__cause__ or broken)
            _log.warning("connection refused", origin=origin, reason=reason)
        return None

    async def _attend(self, connection: Connection, hello: Hello) -> None:
        """Serve an authenticated party until its connection ends."""
        connection.accept_large_frames()
        peer = Peer(hello.u, connection, (hello.entered_round, hello.entered_attempt))
        await self._peers.admit(peer)
        name = self._policy.name(peer.u)
        _log.info("party connected", party=name)
        try:
            with peer.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(peer.converse)
                    await self._converse(peer, hello)
        except* (trio.BrokenResourceError, trio.ClosedResourceError) as broken:
            _log.info("connection lost", party=name, reason=str(broken.exceptions[0]))
        except* trio.TooSlowError:
            _log.warning("connection closed", party=name, reason="it reads too slowly")
        finally:
            self._peers.remove(peer)
            if self._attempt is not None:
                self._attempt.left(peer.u)
            self._moved()
            _log.info("party disconnected", party=name)

    async def _converse(self, peer: Peer, hello: Hello) -> None:
        """Bring the party up to date, then take its messages."""
        name = self._policy.name(peer.u)
        try:
            await self._welcome(peer, hello)
            while (message := await peer.connection.receive()) is not None:
                await self._dispatch(peer, message)
            peer.scope.cancel()
        except DecodeError as malformed:
            _log.warning("violation", peer=name, detail=str(malformed))
            peer.part(str(malformed))
        except PeerViolation as violation:
            _log.error(
                "violation",
                check=violation.check.id,
                statement=violation.check.statement,
                peer=violation.peer,
                detail=violation.detail,
            )
            if self._attempt is not None:
                self._attempt.excuse(peer.u)
            peer.part(str(violation))

    async def _welcome(self, peer: Peer, hello: Hello) -> None:
        """Learn from the Hello what is newer than what is known here, and tell what is older."""
        if hello.certificate is not None:
            await self._adopt(peer, hello.certificate)
        if hello.abandonment is not None:
            await self._adopt_abandonment(hello.abandonment)
        self._catch_up(peer, hello)
        attempt = self._attempt
        joined = attempt is not None and await attempt.joined(peer.u, hello)
        ours = joined and attempt is not None and attempt.session == hello.session
        if hello.session is not None and not ours and hello.awaiting != CertificateNotice.__name__:
            self._dismiss(peer, hello.session)
        if self._abandoning is not None:
            peer.tell(self._abandoning.request)
        self._moved()

    def _catch_up(self, peer: Peer, hello: Hello) -> None:
        """Send what has been closed while the party was away, and ask for what is lost here."""
        certificate, abandonment = self._chain.certificate, self._chain.abandonment
        known = max(
            hello.certificate.round if hello.certificate else 0,
            hello.abandonment.round if hello.abandonment else 0,
        )
        if certificate is not None and certificate.model_hash != hello.model_hash:
            if hello.session == attempt_of(certificate).session or self._chain.model_missing:
                peer.tell(CertificateNotice(certificate))  # it may have the model already
            else:
                peer.post(partial(self._chain.serve, certificate.model_hash))
        if abandonment is not None and abandonment.round > known:
            peer.tell(AbandonmentNotice(abandonment))
        if self._chain.model_missing and hello.model_hash == self._chain.model_hash:
            self._request_model_from(peer)

    async def _dispatch(self, peer: Peer, message: FromClient) -> None:
        match message:
            case Ready(number):
                peer.ready = number
                self._moved()
            case ModelRequest(wanted):
                peer.post(partial(self._chain.serve, wanted))
            case TranscriptRequest(number):
                data = await self._offload(self._archive.of_round, number)
                peer.post(partial(in_pieces, number, data or b""))
            case ModelStart() | ModelChunk():
                await self._model_arrives(peer, message)
            case AbandonmentShare():
                await self._abandonment_share(peer, message)
            case Refusal(reason):
                self._refused(peer, reason)
            case Hello():
                name = self._policy.name(peer.u)
                raise PeerViolation(Check.EXPECTED_MESSAGE, name, "a second Hello")
            case _:
                await self._session_message(peer, message)

    async def _session_message(self, peer: Peer, message: Wire) -> None:
        """Hand a message to the attempt whose session it names; tell its sender if there is none.

        Who has answered or signed enters nothing before the round is closed.
        """
        session: bytes = message.session  # type: ignore[attr-defined]  # every one of these has it
        attempt = self._attempt
        if attempt is not None and attempt.session == session:
            if isinstance(message, UnmaskingAnswer | CertificateShare):
                peer.ready = None
            await attempt.deliver(peer.u, message)
        elif not isinstance(message, CertificateShare):
            self._dismiss(peer, session)

    def _dismiss(self, peer: Peer, session: bytes) -> None:
        """Tell a party, once, that a session is over."""
        if peer.dismissed != session:
            peer.dismissed = session
            peer.tell(AttemptAborted(session, _UNKNOWN_SESSION))

    def _refused(self, peer: Peer, reason: str) -> None:
        """A party does not act on what it was sent: the attempt goes on without it."""
        _log.warning("refused by party", party=self._policy.name(peer.u), reason=reason)
        if self._attempt is not None:
            peer.ready = None
            self._attempt.excuse(peer.u)

    async def _abandonment_share(self, peer: Peer, share: AbandonmentShare) -> None:
        if self._abandoning is None:
            return
        complete = self._abandoning.collect(peer.u, share)
        _log.info("abandonment signed", round=share.round, party=self._policy.name(peer.u))
        if complete is not None:
            await self._adopt_abandonment(complete)

    # --- the bytes of a model that is certified and lost here ------------------------------------

    def _request_model(self) -> None:
        """Ask everybody, one after the other as they connect or answer, until one has it."""
        if self._chain.model_missing:
            for peer in self._peers:
                self._request_model_from(peer)

    def _request_model_from(self, peer: Peer) -> None:
        peer.arriving = ModelIntake(self._chain.model_hash, self._chain.model_size)
        peer.tell(ModelRequest(self._chain.model_hash))

    async def _model_arrives(self, peer: Peer, message: ModelStart | ModelChunk) -> None:
        name = self._policy.name(peer.u)
        require(peer.arriving is not None, Check.EXPECTED_MESSAGE, name, "a model unasked for")
        if isinstance(message, ModelStart) or peer.arriving is None:
            return
        data = peer.arriving.receive(message, name)
        if data is None:
            return
        wanted, peer.arriving = peer.arriving.wanted, None
        if wanted != self._chain.model_hash or not self._chain.model_missing:
            return
        taken = await self._offload(self._chain.take_model, data)
        require(taken, Check.CERTIFICATE_HASH, name, "these are not the bytes of the model")
        _log.info("model received", party=name, model_hash=wanted.hex())
        self._moved()

    # --- waking up -------------------------------------------------------------------------------

    def _moved(self) -> None:
        """Something has changed among the parties: a round that had failed may be tried again."""
        if self._view.failed >= self._timing.max_attempts:
            self._view = replace(self._view, failed=0)
        if self._attempt is not None:
            self._attempt.look_again()
        self._wake()

    def _wake(self) -> None:
        self._peers.tell_gathered(self._current_view().ready())
        self._changed.set()
        self._changed = trio.Event()
