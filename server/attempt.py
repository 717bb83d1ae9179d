"""One attempt, from its announcement to its certificate: drives the core's ServerSession.

Messages come in through an inbox and are handled one by one, each in a worker thread; deadlines
are this module's. What a crash must not undo is recorded before it is sent (ADR 0041).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Set
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Any, Final, Protocol, TypeAlias, final

import numpy as np
import structlog
import trio
from numpy.typing import NDArray

from secagg.errors import PeerViolation
from secagg.rounds.machine import Aborted, ServerState, ServerStep
from secagg.rounds.r0_advertise_keys import Advertising
from secagg.rounds.r2_masked_input import MaskedInputReceived, Masking
from secagg.rounds.r3_consistency_check import Checking
from secagg.rounds.r4_unmasking import Unmasked, Unmasking
from secagg.rounds.r5_certification import Certifying, Concluded, publish_sum
from secagg.rounds.session import ServerSession
from secagg.transcript.evidence import Evidence
from secagg.transcript.record import Transcript
from secagg.transcript.recording import aborted, published
from secagg.wire.messages import (
    MAX_REASON,
    AttemptAborted,
    Certificate,
    CertificateNotice,
    Hello,
    MaskedInputSignature,
    VectorChunk,
    Wire,
)
from server.config import Timing
from server.connection import Source
from server.spool import Spool
from server.unmasking import unmasked_sum

Offload: TypeAlias = Callable[..., Awaitable[Any]]
"""Runs blocking work outside the event loop: ``await offload(function, *arguments)``."""

_RELEASED: Final = (Unmasking, Unmasked, Certifying)

_log = structlog.get_logger("secagg.server")


class Audience(Protocol):
    """The connected parties, as an attempt sees them."""

    def present(self) -> frozenset[int]:
        """Who is connected."""
        ...

    def post(self, u: int, source: Source) -> None:
        """Send to party ``u``, if it is connected."""
        ...

    def expel(self, u: int, reason: str) -> None:
        """Refuse party ``u``'s message and end its connection."""
        ...


class Records(Protocol):
    """Where an attempt's results become durable."""

    async def publish(self, certifying: Certifying, transcript: Transcript) -> None:
        """Store a sum, and how it came about; it is sent after that."""
        ...

    async def conclude(self, certificate: Certificate, total: NDArray[np.int64]) -> None:
        """Store a certificate and the model it certifies; parties are told after that."""
        ...

    async def fail(self, transcript: Transcript) -> None:
        """Store the record of an attempt that has ended without a sum."""
        ...


@dataclass(frozen=True, slots=True)
class Certified:
    """The round has its certificate."""

    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt ended without a sum. ``omit``: proven cheats. ``released``: unmasking answers may
    be out there.
    """

    reason: str
    omit: frozenset[int] = frozenset()
    released: bool = False


Outcome: TypeAlias = Certified | Failed


def may_close(state: ServerState, present: Set[int], excused: Set[int], overdue: bool) -> bool:
    """Whether a stage ends now: its deadline has passed, or nobody is left who could still answer.

    ``excused``: who has refused or broken the protocol. Unmasking needs t answers, certification t
    equal signatures: without them they go on, also past their deadline. Certification waits for the
    connected only, since anybody can catch up on its certificate.
    """
    awaited = state.awaited() - excused
    match state:
        case Unmasked() | Concluded() | Aborted():
            return False
        case Unmasking():
            return state.has_enough and (overdue or not awaited)
        case Certifying():
            return state.certificate() is not None and (overdue or not awaited & present)
        case _:
            return overdue or not awaited


@final
class RunningAttempt:
    """``step``: the announcement's, or one restored from a published sum.

    ``can_leave``: given who has answered, whether the attempt may be given up once its patience is
    at an end.
    """

    def __init__(
        self,
        step: ServerStep[ServerState],
        *,
        spool: Spool,
        audience: Audience,
        records: Records,
        timing: Timing,
        can_leave: Callable[[Set[int]], bool],
        offload: Offload = trio.to_thread.run_sync,
    ) -> None:
        self._session = ServerSession(step)
        self._first = step.recipients
        self._spool = spool
        self._audience = audience
        self._records = records
        self._timing = timing
        self._can_leave = can_leave
        self._offload = offload
        self._deliver, self._inbox = trio.open_memory_channel[tuple[int, Wire] | None](1)
        self._entered_at = trio.current_time()
        #: The connections that are known here, and whether their client is in this session.
        self._inside = {u: u in step.recipients for u in audience.present()}
        self._released = False
        #: Where it stood when it was aborted.
        self._aborted_in: ServerState | None = None
        self._over = False
        self._excused: set[int] = set()
        self._ended_by: str | None = None
        self._writing = 0
        self._quiet = trio.Event()
        attempt = step.state.attempt
        self._log = _log.bind(round=attempt.round, attempt=attempt.attempt)

    # --- what connections do ---------------------------------------------------------------------

    @property
    def session(self) -> bytes:
        """``session_id``."""
        return self._session.state.attempt.session

    @property
    def round(self) -> int:
        """The training round that this is an attempt at."""
        return self._session.state.attempt.round

    async def deliver(self, u: int, message: Wire) -> None:
        """Hand over a message of this session; returns when it may be followed by the next one.

        Raises PeerViolation for a chunk that does not continue its vector.
        """
        if isinstance(message, VectorChunk):
            await self._receive_chunk(u, message)
            return
        try:
            await self._deliver.send((u, message))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the attempt has ended meanwhile; its clients have been told

    async def joined(self, u: int, hello: Hello) -> bool:
        """Party ``u`` is connected anew; what it lacks is repeated if it is still in this session.

        Returns False if the attempt has ended.
        """
        try:
            await self._deliver.send((u, hello))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True

    def left(self, u: int) -> None:
        """The connection of party ``u`` has ended; it may come back."""
        self._inside.pop(u, None)
        self.look_again()

    def excuse(self, u: int) -> None:
        """Client ``u`` has refused to go on: nobody waits for it any more."""
        self._excused.add(u)
        self.look_again()

    def end(self, reason: str) -> None:
        """The attempt is overtaken by events: end it."""
        self._ended_by = reason
        self.look_again()

    def look_again(self) -> None:
        """Something has changed among the parties."""
        try:
            self._deliver.send_nowait(None)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            return  # it will look again after what is in its inbox, or never

    # --- the attempt itself ----------------------------------------------------------------------

    async def run(self) -> Outcome:
        """Drive the attempt to its end."""
        try:
            self._send(self._first)
            while (outcome := self._ending()) is None:
                await self._advance()
            self._over = True
            if isinstance(outcome, Failed):
                await self._record_failure(outcome.reason)
            return outcome
        finally:
            self._inbox.close()
            with trio.CancelScope(shield=True):
                await self._writers_done()
                if not self._evidence_needed():
                    await self._offload(self._spool.close)

    def _ending(self) -> Outcome | None:
        state = self._session.state
        if isinstance(state, Concluded):
            return Certified(state.certificate)
        if isinstance(state, Aborted):
            return Failed(state.reason, state.omit, self._released)
        if self._ended_by is None and self._given_up():
            missing = f"{len(self._answered())} of {state.policy.threshold} hospitals answered"
            self._ended_by = f"{missing} within {self._timing.unmasking_patience:g} s"
        if self._ended_by is not None:
            self._dismiss(self._inside, self._ended_by)
            return Failed(self._ended_by, released=isinstance(state, _RELEASED))
        return None

    async def _advance(self) -> None:
        """Wait for one thing to happen, and act on it."""
        if isinstance(self._session.state, Unmasked):
            await self._publish(self._session.state)
            return
        arrived = None
        with trio.move_on_at(self._wake_at()):
            arrived = await self._inbox.receive()
        match arrived:
            case (int(u), Hello() as hello):
                self._rejoin(u, hello)
            case (int(u), message):
                await self._take(u, message)
        state, overdue = self._session.state, self._overdue()
        if may_close(state, self._audience.present(), self._excused, overdue):
            await self._move(self._session.close)

    def _rejoin(self, u: int, hello: Hello) -> None:
        """Send what the state has for ``u`` if that is what it waits for, and nothing twice."""
        state, attempt = self._session.state, self._session.state.attempt
        entered = (hello.entered_round, hello.entered_attempt)
        awaits_sum = isinstance(state, Certifying) and hello.awaiting != CertificateNotice.__name__
        missed_opening = isinstance(state, Advertising) and entered < (
            attempt.round,
            attempt.attempt,
        )
        self._inside[u] = hello.session == self.session or missed_opening
        following = next(iter(state.outbound(u)), None)
        awaited = following is not None and type(following).__name__ == hello.awaiting
        if awaits_sum or missed_opening or (hello.session == self.session and awaited):
            self._audience.post(u, partial(state.outbound, u))

    async def _take(self, u: int, message: Wire) -> None:
        try:
            if isinstance(message, MaskedInputSignature):
                digest = self._spool.finish(u)
                event = MaskedInputReceived(message.session, digest, message)
                await self._move(partial(self._session.handle, u, event))
            else:
                await self._move(partial(self._session.handle, u, message))
        except PeerViolation as violation:
            self._log.error(
                "violation",
                check=violation.check.id,
                statement=violation.check.statement,
                peer=violation.peer,
                detail=violation.detail,
            )
            self._excused.add(u)
            self._audience.expel(u, str(violation))

    async def _publish(self, state: Unmasked) -> None:
        """Compute the sum, store it, and only then send it."""
        total = await self._offload(unmasked_sum, state, self._spool)
        step = await self._offload(publish_sum, state, total)
        if self._ended_by is not None:
            return
        if isinstance(step.state, Certifying):
            transcript = published(state, step.state.published, total)
            evidence = Evidence(transcript, self._spool.packed)
            step = replace(step, state=replace(step.state, evidence=evidence))
            await self._records.publish(step.state, transcript)
        await self._move(partial(self._session.advance, step))

    async def _record_failure(self, reason: str) -> None:
        """Store how far the attempt got; one whose sum is published has its record already."""
        last = self._aborted_in or self._session.state
        if not isinstance(last, Certifying):
            await self._records.fail(aborted(last, reason))

    def _evidence_needed(self) -> bool:
        """Whether the masked inputs must outlive this process: a restarted one sends them again."""
        state = self._session.state
        recompute = state.policy.verification == "recompute"
        return recompute and isinstance(state, Certifying) and not self._over

    async def _move(self, step: Callable[[], frozenset[int]]) -> None:
        """Let the session make a step; then do what entering its new state asks for."""
        before = self._session.state
        recipients: frozenset[int] = await self._offload(step)
        state = self._session.state
        if type(state) is type(before):
            return
        self._entered_at = trio.current_time()
        self._log.info("stage", stage=type(state).__name__)
        match before, state:
            case (_, Aborted(reason=reason)):
                self._aborted_in = before
                self._released = isinstance(before, _RELEASED)
                self._dismiss(recipients, reason)
                return
            case (Masking(), Checking()):
                await self._writers_done()
                await self._offload(self._spool.keep_only, state.u3)
            case (Certifying(), Concluded()):
                await self._records.conclude(state.certificate, before.total)
        self._send(recipients)

    def _send(self, recipients: Iterable[int]) -> None:
        """Send the new state's messages: those of a session to who is in it, the sum to everybody
        known here, the certificate to everybody.
        """
        state = self._session.state
        match state:
            case Concluded():
                reached = self._audience.present()
            case Certifying():
                reached = frozenset(self._inside)
            case _:
                reached = self._members()
        for u in sorted(reached.intersection(recipients)):
            self._audience.post(u, partial(state.outbound, u))

    def _dismiss(self, recipients: Iterable[int], reason: str) -> None:
        notice = AttemptAborted(self.session, reason[:MAX_REASON])
        for u in sorted(self._members().intersection(recipients)):
            self._audience.post(u, lambda: (notice,))

    def _members(self) -> frozenset[int]:
        return frozenset(u for u, inside in self._inside.items() if inside)

    # --- deadlines -------------------------------------------------------------------------------

    def _overdue(self) -> bool:
        return trio.current_time() >= self._entered_at + self._timing.stage_deadline

    def _wake_at(self) -> float:
        if not self._overdue():
            return self._entered_at + self._timing.stage_deadline
        if isinstance(self._session.state, Unmasking) and not self._out_of_patience():
            return self._entered_at + self._timing.unmasking_patience
        return inf

    def _out_of_patience(self) -> bool:
        return trio.current_time() >= self._entered_at + self._timing.unmasking_patience

    def _answered(self) -> Set[int]:
        state = self._session.state
        return set(state.answers) if isinstance(state, Unmasking) else set()

    def _given_up(self) -> bool:
        return (
            isinstance(self._session.state, Unmasking)
            and self._out_of_patience()
            and self._can_leave(self._answered())
        )

    # --- masked inputs ---------------------------------------------------------------------------

    async def _receive_chunk(self, u: int, chunk: VectorChunk) -> None:
        state = self._session.state
        if not isinstance(state, Masking) or u not in state.awaited():
            return  # too late, or a repetition: the masked input of u is here or will not count
        self._writing += 1
        try:
            await self._offload(self._spool.receive, u, chunk)
        finally:
            self._writing -= 1
            self._quiet.set()
            self._quiet = trio.Event()

    async def _writers_done(self) -> None:
        """Return when no chunk is being written; none begins once the stage is over."""
        while self._writing:
            await self._quiet.wait()
