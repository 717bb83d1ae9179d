"""The loop of scheduled runs: wait until one is due, hand over what is there, try again a while.

A run hands every batch of its source to the node, as a POST would, under the next round numbers
that are free; from there on it is the queue's. The clock of the wall says when a run is due, and is
looked at every minute, so that setting it, or waking from sleep, is noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol, TypeVar, final

import structlog
import trio

from party.backoff import Backoff
from party.client import View
from party.queue import State, Submission, SubmissionRefused
from party.readiness import Word
from party.schedule.diary import Diary
from party.schedule.source import NotYet, Refused, Source
from party.schedule.timetable import Timetable
from party.submission.posted import Posted

SETTLING: Final = 10.0
"""For how many seconds a file has to stay as it is before it counts as whole."""

FIRST_PAUSE: Final = 30.0
"""Seconds before a run is tried again, doubled each time up to ``LONGEST_PAUSE``."""

LONGEST_PAUSE: Final = 1800.0

_LOOK: Final = 60.0
_OUT_OF_ACTION: Final = frozenset(
    {Word.HAS_LEFT, Word.DISPUTED, Word.ATTEMPTS_EXHAUSTED, Word.BUDGET_EXHAUSTED}
)

_log = structlog.get_logger("secagg.party")

T = TypeVar("T")


class Node(Protocol):
    """What a run needs of ``party.node.Node``."""

    @property
    def view(self) -> View:
        """Where the client stands."""
        ...

    async def submit(self, posted: Posted) -> Submission:
        """Queue a batch, durably. Raises SubmissionRefused."""
        ...


class Submissions(Protocol):
    """What a run needs of ``party.queue.Queue``."""

    def submissions(self) -> Iterable[Submission]:
        """All that were ever posted."""
        ...


def wall_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


@final
class Scheduler:
    """``retries``: how often a run that fails is tried again. ``backoff`` makes a new one."""

    def __init__(
        self,
        timetable: Timetable,
        diary: Diary,
        source: Source,
        node: Node,
        queue: Submissions,
        retries: int,
        backoff: Callable[[], Backoff],
        clock: Callable[[], datetime] = wall_clock,
    ) -> None:
        self._timetable = timetable
        self._diary = diary
        self._source = source
        self._node = node
        self._queue = queue
        self._retries = retries
        self._backoff = backoff
        self._clock = clock

    async def run(self) -> None:
        """Make runs until cancelled.

        Those that were due while the node was down are made up for by one, at once.
        """
        done_until = await _in_thread(self._diary.done_until, self._clock())
        while (due := self._timetable.after(done_until)) is not None:
            _log.info("scheduled run", due=due.isoformat())
            await self._until(due)
            await self._run(due)
            done_until = max(self._clock(), due)
            await _in_thread(self._diary.finish, done_until)
        _log.error("no scheduled run", reason=f"cron {self._timetable.cron!r} is never due")

    async def _until(self, due: datetime) -> None:
        while (missing := (due - self._clock()).total_seconds()) > 0:
            await trio.sleep(min(missing, _LOOK))

    async def _run(self, due: datetime) -> None:
        """Hand everything over; what fails is tried again, and then left for the next run."""
        pauses = self._backoff()
        for left in reversed(range(self._retries + 1)):
            try:
                await self._hand_over_all(due)
                return
            except (NotYet, SubmissionRefused) as failed:
                _log.warning("scheduled run failed", reason=str(failed), retries_left=left)
            if left:
                await trio.sleep(pauses.after(0))
        _log.error("scheduled run given up", due=due.isoformat())

    async def _hand_over_all(self, due: datetime) -> None:
        """Raises NotYet, SubmissionRefused."""
        if self._node.view.state in _OUT_OF_ACTION:
            problem = self._node.view.problem or "take part again first (PUT /participation)"
            raise NotYet(f"this hospital takes part in no round now: {problem}")
        before = await _in_thread(self._source.found)
        if not before:
            _log.info("nothing to hand over")
            return
        await trio.sleep(SETTLING)
        after = await _in_thread(self._source.found)
        for name, seen in before.items():
            if after.get(name) == seen:
                await self._hand_over(name, due)
        growing = [name for name, seen in after.items() if before.get(name) != seen]
        if growing:
            raise NotYet(f"{len(growing)} files are still being written, the first is {growing[0]}")

    async def _hand_over(self, name: str, due: datetime) -> None:
        number = await _in_thread(self._next_number)
        try:
            claimed = await _in_thread(partial(self._source.claim, name, number, due))
        except Refused as refused:
            _log.error("scheduled batch refused", file=name, reason=str(refused))
            return
        submission = await self._node.submit(claimed.posted)
        await _in_thread(self._source.handed_over, claimed)
        _log.info(
            "scheduled batch queued",
            file=name,
            submission=submission.id,
            number=submission.number,
            patients=submission.patients,
        )

    def _next_number(self) -> int:
        """The lowest number above every round that is over and every batch that waits."""
        waiting = (each.number for each in self._queue.submissions() if each.state is State.QUEUED)
        return max(self._node.view.closed, *waiting, 0) + 1


async def _in_thread(work: Callable[..., T], *args: object) -> T:
    return await trio.to_thread.run_sync(work, *args)
