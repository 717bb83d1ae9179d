"""The protocol's client with a memory: sessions, journal, ledger and model as one.

Blocking and single-threaded: the node calls it in a worker thread, one call at a time. A message
of the server goes in, what is to be sent comes out, and whatever had to be durable first is
durable by then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final, final

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from party.audit.events import ChargeRefused
from party.audit.log import AuditLog
from party.batches import BatchError, BatchSource, Progress, SetAside
from party.chain import Chain
from party.intake import Arriving, ModelIntake, SumIntake
from party.journal import Journal
from party.ledger import Ledger
from party.models import StoredModel
from party.participation import Participation
from party.queue import HasLeft, NoQueue, Queue, Submission
from party.readiness import Readiness, Word, readiness
from party.session import engaged, restored, session_id, session_round, state_name
from party.submission.posted import Posted
from party.transcripts import Transcripts
from secagg import context
from secagg.checks import Check
from secagg.context import Attempt
from secagg.crypto.randomness import Randomness
from secagg.errors import LocalMisuse, PeerViolation
from secagg.privacy.budget import BudgetExceeded
from secagg.rounds.journal import Certified, Charged, Standing
from secagg.rounds.machine import SERVER, Hospital, Withdrawn, require
from secagg.rounds.r0_advertise_keys import accept, advertise_keys
from secagg.rounds.r5_certification import (
    SumReceived,
    SumSigned,
    check_abandonment,
    restore_signed,
    sign_abandonment,
    sign_sum,
)
from secagg.rounds.session import ClientSession
from secagg.transcript.evidence import EvidenceIntake, EvidenceMessage, TranscriptIntake
from secagg.transcript.record import Transcript
from secagg.transcript.recording import certified
from secagg.transcript.verification import verify_transcript
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
    FromServer,
    GatheringNotice,
    Hello,
    KeyRoster,
    MaskedInputChunk,
    ModelChunk,
    ModelRequest,
    ModelStart,
    Ready,
    Refusal,
    ShareDelivery,
    SumAnnouncement,
    SurvivorSet,
    SurvivorSignatures,
    TranscriptChunk,
    TranscriptRequest,
    TranscriptStart,
    VectorChunk,
    Wire,
)

SessionMessage = KeyRoster | ShareDelivery | SurvivorSet | SurvivorSignatures

# What the server is told of troubles that are this hospital's own business.
_BATCH_UNUSABLE: Final = "this hospital's batch cannot be used now; its operator is told why"
_BUDGET_REFUSES: Final = "this hospital's privacy budget does not allow this attempt"
_HAS_LEFT: Final = "this hospital takes part no more"

_log = structlog.get_logger("secagg.party")


@dataclass(frozen=True, slots=True)
class View:
    """Where the client stands, for a reader on another thread.

    ``round``: the one that it is in, else ``closed``, the last one certified or abandoned.
    ``problem``: what an operator should know. ``session``: the one that it is in.
    ``in_flight_batch``: the queued submission that may still enter a sum. ``gathered``: how many
    hospitals have a batch ready, by the server's word on this connection. ``left``: whether it
    takes part no more.
    """

    state: str
    round: int
    closed: int
    model_hash: bytes
    problem: str | None
    session: bytes | None = None
    in_flight_batch: int | None = None
    gathered: int | None = None
    left: bool = False


@final
class Client:
    """One hospital's client, over all its sessions.

    ``ledger`` is None under a policy without noise. ``extra_attempts``: charged attempts that the
    hospital's operator allows beyond the policy's. ``audit`` is told of what the budget refuses;
    everything else that it records it learns from the journal, the queue and ``participation``.
    """

    def __init__(
        self,
        hospital: Hospital,
        journal: Journal,
        chain: Chain,
        ledger: Ledger | None,
        source: BatchSource,
        randomness: Randomness,
        participation: Participation,
        transcripts: Transcripts,
        extra_attempts: int = 0,
        audit: AuditLog | None = None,
    ) -> None:
        """Take up what the journal says, and the session that survives a restart, if one does."""
        self._hospital = hospital
        self._journal = journal
        self._chain = chain
        self._ledger = ledger
        self._source = source
        self._randomness = randomness
        self._participation = participation
        self._transcripts = transcripts
        self._extra_attempts = extra_attempts
        self._audit = audit
        self._session = restored(hospital, journal.resumable)
        self._arriving = Arriving()
        #: The rounds whose transcripts the server has been asked for, on this connection.
        self._asked: set[int] = set()
        self._gathered: int | None = None
        self._problem: str | None = None
        #: Why the waiting batch could not be used; it is not offered again until something changes.
        self._unusable: str | None = None
        self._settle()

    # --- what the node asks ----------------------------------------------------------------------

    def hello(self, challenge: Challenge) -> Hello:
        """Introduce this hospital on a new connection, and say where it stands."""
        self._arriving = Arriving()
        self._asked.clear()
        self._unusable = self._gathered = None
        entered_round, entered_attempt = self._journal.standing.entered
        named = session_id(self._session)
        unsigned = Hello(
            u=self._hospital.u,
            policy_digest=self._hospital.policy.digest(),
            model_hash=self._chain.held.model_hash,
            entered_round=entered_round,
            entered_attempt=entered_attempt,
            certificate=self._journal.certificate,
            abandonment=self._journal.abandonment,
            session=named,
            awaiting=self._session.expects if self._session and named else None,
            signature=bytes(64),
        )
        statement = context.hello(challenge.nonce, unsigned)
        return msgspec.structs.replace(unsigned, signature=self._hospital.identity.sign(*statement))

    def repeat(self) -> Iterable[Wire]:
        """What the current state has to send, again and unchanged, after a reconnect."""
        return self._session.state.outbound if self._session else ()

    def inquire(self) -> tuple[TranscriptRequest, ...]:
        """Ask, once on each connection, for the rounds that were closed while this hospital was
        away, if one of its batches may be in their sums.
        """
        rounds = set(self._source.undecided(self._progress)) - self._asked
        self._asked |= rounds
        return tuple(TranscriptRequest(number) for number in sorted(rounds))

    def offer(self) -> Ready | None:
        """What to tell the server about a waiting batch."""
        number = self._readiness().number
        return None if number is None else Ready(number)

    def ask_for_transcript(self, number: int) -> TranscriptRequest | None:
        """What to ask the server in order to get a round's transcript; None if it is held."""
        if self._transcripts.of_round(number) is not None:
            return None
        self._asked.add(number)
        return TranscriptRequest(number)

    def awaits_transcript(self, number: int) -> bool:
        """Whether the server has not answered yet."""
        return number in self._asked

    def transcript(self, number: int) -> Transcript | None:
        """A round's verified transcript, with its certificate if that is known here."""
        held = self._transcripts.of_round(number)
        if held is None or held.certificate is not None:
            return held
        for certificate in self._journal.certificates:
            if context.attempt_of(certificate) == held.attempt:
                return certified(held, certificate)
        return held

    def batches_changed(self) -> None:
        """The source has something new: what could not be used before may be usable now."""
        self._unusable = None

    def view(self) -> View:
        """Where the client stands now."""
        ready, number = self._readiness(), session_round(self._session)
        return View(
            state=state_name(self._session) if self._session and number else ready.state.value,
            round=number or self._progress.closed,
            closed=self._progress.closed,
            model_hash=self._chain.held.model_hash,
            problem=ready.problem or self._problem,
            session=session_id(self._session),
            in_flight_batch=self._in_flight_batch(),
            gathered=self._gathered,
            left=self._participation.left,
        )

    def submit(self, posted: Posted) -> Submission:
        """Queue what the hospital's EHR has posted. Raises SubmissionRefused.

        Who has left still learns what became of a batch that a round has, or had, in hand.
        """
        if not isinstance(self._source, Queue):
            raise NoQueue(
                "this node trains on the file that [data] of party.toml names, in every round: "
                "remove train and rounds there, and add [ehr], to post batches instead"
            )
        if self._participation.left and not self._source.knows(posted.digest):
            raise HasLeft(
                "this hospital has left the consortium, and nothing more is queued: let its "
                "operator take part again first"
            )
        submission = self._source.submit(posted, self._journal.standing.closed, self._engaged())
        self.batches_changed()
        return submission

    def leave(self) -> None:
        """Take part no more, once the current round is over."""
        self._participation.leave(self._engaged())
        self._settle()

    def return_(self) -> None:
        """Take part again."""
        self._participation.return_()

    def handle(self, message: FromServer) -> Iterable[Wire]:
        """Take one message; returns what to send, produced lazily where it is large.

        What must be durable is durable by then. Nothing that the server sends makes this raise: a
        violation ends the session in which it was found, is logged and answered with Refusal.
        """
        replies = self._answered(message)
        self._settle()
        return replies

    def _answered(self, message: FromServer) -> Iterable[Wire]:
        try:
            return self._dispatch(message)
        except PeerViolation as violation:
            self._problem = str(violation)
            _log.error(
                "violation",
                check=violation.check.id,
                statement=violation.check.statement,
                peer=violation.peer,
                detail=violation.detail,
            )
            return (Refusal(str(violation)),)
        except BudgetExceeded as refused:
            self._problem = str(refused)
            _log.warning("budget refused", reason=str(refused))
            return (Refusal(_BUDGET_REFUSES),)
        except SetAside as spoiled:
            self._problem = str(spoiled)
            _log.error("batch set aside", reason=str(spoiled))
            return (Refusal(_BATCH_UNUSABLE),)
        except (BatchError, LocalMisuse) as unusable:
            self._unusable = str(unusable)
            _log.error("not taking part", reason=str(unusable))
            return (Refusal(_BATCH_UNUSABLE),)

    def _dispatch(self, message: FromServer) -> Iterable[Wire]:
        match message:
            case Announcement():
                return self._announced(message)
            case KeyRoster() | ShareDelivery() | SurvivorSet() | SurvivorSignatures():
                return self._advance(message)
            case SumAnnouncement():
                return self._sum_announced(message)
            case TranscriptStart() | TranscriptChunk() | MaskedInputChunk():
                return self._transcript_arrives(message)
            case VectorChunk():
                return self._sum_chunk(message)
            case CertificateNotice(certificate):
                return self._certified(certificate)
            case AbandonmentRequest():
                return self._asked_to_abandon(message)
            case AbandonmentNotice(abandonment):
                return self._abandoned(abandonment)
            case AttemptAborted():
                return self._aborted(message)
            case ModelRequest(wanted):
                return self._chain.serve(wanted)
            case ModelStart():
                return self._model_announced(message)
            case ModelChunk():
                return self._model_chunk(message)
            case GatheringNotice(hospitals):
                self._gathered = hospitals
                return ()
            case Refusal(reason):
                _log.warning("refused by the server", reason=reason)
                return ()
            case Challenge():
                raise PeerViolation(Check.EXPECTED_MESSAGE, SERVER, "a second Challenge")

    # --- an attempt ------------------------------------------------------------------------------

    def _announced(self, announcement: Announcement) -> Iterable[Wire]:
        """Enter the attempt, if this hospital may and wants to; train for it first."""
        if self._participation.left:
            return (Refusal(_HAS_LEFT),)
        wanted = self._arriving.wanted
        if wanted is not None and announcement.base_model_hash == wanted.model_hash:
            self._arriving.announcement = announcement
            under_way = self._arriving.model is not None
            return () if under_way else (ModelRequest(wanted.model_hash),)
        standing, progress = self._standing, self._progress
        attempt = accept(self._hospital.policy, announcement, standing, self._chain.held.model_hash)
        number = self._source.waiting(progress)
        if number is None:
            raise BatchError(f"round {attempt.round} is announced, and no batch waits for it")
        require(number <= attempt.round, Check.ROUND_WANTED, SERVER, f"round {attempt.round}")
        self._check_budget(attempt)
        log = _log.bind(round=attempt.round, attempt=attempt.attempt)
        log.info("training")
        taken = self._source.take(attempt.round, progress, self._chain.held.model)
        step = advertise_keys(
            self._hospital,
            announcement,
            standing=standing,
            base_model_hash=self._chain.held.model_hash,
            batch_round=taken.number,
            vector=taken.vector,
            randomness=self._randomness,
        )
        self._journal.record(step.durable, batch=taken.batch)
        self._session, self._problem = ClientSession(step.state), None
        log.info("advertised")
        return step.state.outbound

    def _advance(self, message: SessionMessage) -> Iterable[Wire]:
        """Hand a message to the session; whatever goes wrong in it ends it."""
        session, self._session = self._session, None
        if session is None:
            return (Refusal(f"{type(message).__name__}: this hospital is in no session"),)
        named = session_id(session)
        entries = session.handle(message, self._randomness)
        try:
            self._journal.record(entries, batch=self._batch_in(named))
        except BudgetExceeded:
            for entry in entries:
                if isinstance(entry, Charged):
                    self._audit_refused_charge(entry.attempt)
            raise
        self._session = session
        if isinstance(session.state, Withdrawn):
            self._problem = session.state.reason
            _log.error("withdrawn", reason=session.state.reason)
        else:
            _log.info(state_name(session), round=session_round(session))
        return session.state.outbound

    def _aborted(self, message: AttemptAborted) -> Iterable[Wire]:
        """The server gives the attempt up; a signed model hash outlives that."""
        self._arriving.announcement = None
        signed = self._session is not None and isinstance(self._session.state, SumSigned)
        if message.session == session_id(self._session) and not signed:
            _log.warning(
                "attempt aborted", round=session_round(self._session), reason=message.reason
            )
            self._session = None
        return ()

    # --- the sum and its certificate -------------------------------------------------------------

    def _sum_announced(self, announcement: SumAnnouncement) -> Iterable[Wire]:
        """Expect the chunks of a sum; one that is signed here already is answered at once."""
        self._arriving.sum, self._arriving.skipped_sum = None, announcement.session
        self._arriving.evidence, self._arriving.evidence_due = None, True
        signed, published = self._journal.resumable.signed, announcement.published
        if signed is not None and signed.published.round == published.round:
            same = signed.published.sum_digest == published.sum_digest
            require(same, Check.SUM_ONCE, SERVER, f"round {published.round}")
            return restore_signed(self._hospital, signed).outbound
        self._arriving.sum = SumIntake(self._hospital.policy, announcement)
        self._arriving.evidence = EvidenceIntake(self._hospital.policy, published)
        return ()

    def _sum_chunk(self, chunk: VectorChunk) -> Iterable[Wire]:
        intake, self._arriving.sum = self._arriving.sum, None
        self._arriving.evidence_due = False
        if intake is None:
            announced = chunk.session == self._arriving.skipped_sum
            require(announced, Check.EXPECTED_MESSAGE, SERVER, "a chunk of no announced sum")
            return ()
        received = intake.receive(chunk)
        if received is not None:
            return self._sign(received)
        self._arriving.sum = intake
        return ()

    def _sign(self, received: SumReceived) -> Iterable[Wire]:
        """Compute the next model and sign its hash; the model is kept until it is certified."""
        candidate: StoredModel | None = None

        def next_model_hash(total: NDArray[np.int64]) -> bytes:
            nonlocal candidate
            candidate = self._chain.next(total)
            return candidate.model_hash

        step = sign_sum(
            self._hospital,
            received,
            standing=self._journal.standing,
            base_model_hash=self._chain.held.model_hash,
            next_model_hash=next_model_hash,
            recomputed=self._recomputed(),
        )
        self._journal.record(step.durable, model=candidate)
        self._session = ClientSession(step.state)
        published = step.state.published
        _log.info(
            "sum signed",
            round=published.round,
            attempt=published.attempt,
            survivors=[self._hospital.policy.name(u) for u in published.u3],
            model_hash=step.state.model_hash.hex(),
        )
        return step.state.outbound

    def _recomputed(self) -> NDArray[np.int64] | None:
        """The sum from the masked inputs, if the policy demands it; its transcript is kept."""
        evidence, self._arriving.evidence = self._arriving.evidence, None
        if self._hospital.policy.verification != "recompute" or evidence is None:
            return None
        total = evidence.recomputed()
        if evidence.transcript is not None:
            self._transcripts.put(evidence.transcript)
        return total

    def _transcript_arrives(self, message: EvidenceMessage) -> Iterable[Wire]:
        """Evidence for an announced sum; or a piece of a transcript that was asked for."""
        arriving = self._arriving
        if arriving.evidence_due:
            evidence, intake = arriving.evidence, arriving.sum
            arriving.evidence = arriving.sum = None
            if evidence is not None:
                evidence.receive(message)
                arriving.evidence, arriving.sum = evidence, intake
            return ()
        asked = not isinstance(message, MaskedInputChunk) and message.round in self._asked
        require(asked, Check.EXPECTED_MESSAGE, SERVER, "a transcript that nobody asked for")
        if isinstance(message, TranscriptStart):
            arriving.transcript = TranscriptIntake(self._hospital.policy, message)
            if not message.size:
                self._shown(message.round, None)
        elif isinstance(message, TranscriptChunk):
            self._asked_for(message)
        return ()

    def _asked_for(self, chunk: TranscriptChunk) -> None:
        intake, self._arriving.transcript = self._arriving.transcript, None
        if intake is None:
            raise PeerViolation(Check.STREAM_IN_ORDER, SERVER, "a piece of no transcript")
        try:
            found = intake.receive(chunk)
            if found is not None:
                verify_transcript(found, self._hospital.policy)
                ours = found.announcement.round == chunk.round
                require(ours, Check.SESSION_MATCHES, SERVER, "the transcript of another round")
        except PeerViolation:
            self._shown(chunk.round, None)
            raise
        if found is None:
            self._arriving.transcript = intake
            return
        self._transcripts.put(found)
        self._shown(chunk.round, found)

    def _shown(self, number: int, found: Transcript | None) -> None:
        """Learn from a round's verified transcript how it ended, if that was missed; None: the
        server has none, or none that holds.
        """
        self._asked.discard(number)
        if number not in self._source.undecided(self._progress):
            return
        if found is not None and found.certificate is not None:
            self._journal.record((Certified(found.certificate),))
            _log.info("certified meanwhile", round=number, attempt=found.certificate.attempt)
        else:
            self._source.settle(number)
        self.batches_changed()

    def _certified(self, certificate: Certificate) -> Iterable[Wire]:
        """Adopt the model of a newer certificate, or ask for its bytes."""
        if not self._chain.is_newer(certificate):
            return ()
        self._chain.check(certificate)
        data = self._chain.bytes_of(certificate)
        if data is None:
            self._arriving.wanted = certificate
            return (ModelRequest(certificate.model_hash),)
        return self._adopt(certificate, data)

    def _model_announced(self, start: ModelStart) -> Iterable[Wire]:
        self._arriving.model, self._arriving.skipped_model = None, True
        if self._chain.is_newer(start.certificate):
            self._chain.check(start.certificate)
            self._arriving.model = ModelIntake(self._chain.spec, start)
        return ()

    def _model_chunk(self, chunk: ModelChunk) -> Iterable[Wire]:
        intake, self._arriving.model = self._arriving.model, None
        if intake is None:
            announced = self._arriving.skipped_model
            require(announced, Check.EXPECTED_MESSAGE, SERVER, "a chunk of no announced model")
            return ()
        data = intake.receive(chunk)
        if data is None:
            self._arriving.model = intake
            return ()
        return self._adopt(intake.certificate, data)

    def _adopt(self, certificate: Certificate, data: bytes) -> Iterable[Wire]:
        """Take the certified model; then enter the attempt that had to wait for it, if one did."""
        if not self._chain.is_newer(certificate):
            return ()
        self._chain.adopt(certificate, data)
        self._leave_rounds_until(certificate.round)
        _log.info(
            "certified",
            round=certificate.round,
            attempt=certificate.attempt,
            model_hash=certificate.model_hash.hex(),
        )
        self._problem, self._arriving.wanted = None, None
        waiting, self._arriving.announcement = self._arriving.announcement, None
        inquiries = self.inquire()
        return inquiries if waiting is None else chain(inquiries, self._announced(waiting))

    # --- abandonment -----------------------------------------------------------------------------

    def _asked_to_abandon(self, request: AbandonmentRequest) -> Iterable[Wire]:
        """Sign that the round ends without a model; nothing else is done in it from then on."""
        standing = self._journal.standing
        entry = sign_abandonment(
            self._hospital,
            request,
            standing=standing,
            base_model_hash=self._chain.held.model_hash,
            newest_round=max(standing.entered[0], self._source.waiting(self._progress) or 0),
        )
        self._journal.record((entry,))
        self._leave_rounds_until(request.round)
        _log.warning("abandonment signed", round=request.round, reason=request.reason)
        return (AbandonmentShare(request.round, entry.signature),)

    def _abandoned(self, abandonment: Abandonment) -> Iterable[Wire]:
        if abandonment.round <= self._journal.standing.closed:
            return ()
        entry = check_abandonment(self._hospital.policy, abandonment)
        self._journal.record((entry,), abandonment=abandonment)
        self._leave_rounds_until(abandonment.round)
        _log.warning("abandoned", round=abandonment.round)
        return self.inquire()

    # --- the budget ------------------------------------------------------------------------------

    def _check_budget(self, attempt: Attempt) -> None:
        """Raise BudgetExceeded, before anything is trained, if the attempt could not be charged."""
        if self._ledger is None:
            return
        try:
            self._ledger.budget().charged(self._ledger.cost.sum)
        except BudgetExceeded:
            self._audit_refused_charge(attempt)
            raise

    def _audit_refused_charge(self, attempt: Attempt) -> None:
        if self._audit is not None:
            self._audit.write(ChargeRefused(attempt.round, attempt.attempt))

    # --- where it stands -------------------------------------------------------------------------

    @property
    def _standing(self) -> Standing:
        """The journal's standing, with the attempts that the operator allows beyond the policy."""
        standing = self._journal.standing
        return replace(standing, charged=max(0, standing.charged - self._extra_attempts))

    @property
    def _progress(self) -> Progress:
        return Progress(self._journal.standing.closed, self._chain.updates)

    def _readiness(self) -> Readiness:
        if self._unusable is not None:
            return Readiness(None, Word.BATCH_UNUSABLE, self._unusable)
        return readiness(
            self._hospital.policy,
            self._standing,
            self._progress,
            self._source,
            self._ledger,
            self._chain.disputed,
            self._participation.left,
        )

    def _engaged(self) -> frozenset[bytes]:
        return engaged(self._session, self._journal.resumable, self._hospital.u)

    def _in_flight_batch(self) -> int | None:
        """The newest of the submissions in flight; there is hardly ever another one."""
        batches = [self._source.batch_in(session) for session in self._engaged()]
        return max((each for each in batches if each is not None), default=None)

    def _batch_in(self, session: bytes | None) -> int | None:
        return None if session is None else self._source.batch_in(session)

    def _settle(self) -> None:
        """Having left, keep nothing that no round needs any more."""
        if self._participation.unsettled:
            sessions = self._engaged()
            self._participation.settle(sessions)
            if not sessions:
                self._journal.erase_answers()

    def _leave_rounds_until(self, closed: int) -> None:
        """End the session if its round is ``closed`` or an earlier one."""
        number = session_round(self._session)
        if number is not None and number <= closed:
            self._session = None
