"""Waiting with many requests for what becomes of their submissions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, final

import trio

from party.api.answers import Answer, Refusal, Situation, answer
from party.api.services import Services
from party.client import View
from party.queue import Queue, Submission
from secagg.wire.messages import Certificate

_TICK: Final = 0.5
"""How late a lost connection, or the end of patience, may be noticed, in seconds."""


@final
class Waiting:
    """Each step of the node wakes all requests that wait; what it has changed is read once."""

    def __init__(self, services: Services, queue: Queue) -> None:
        self._services = services
        self._node = services.node
        self._journal = services.journal
        self._needed = services.policy.min_survivors
        self._queue = queue
        self._reading = trio.Lock()
        self._read_at: tuple[View, Sequence[Certificate]] | None = None
        self._read: dict[int, Submission] = {}

    async def answer(self, posted: Submission, patience: float) -> Answer | Refusal:
        """The first thing to say about ``posted``; after ``patience`` seconds there always is."""
        config = self._services.config
        connected = trio.current_time()
        end = connected + patience
        while True:
            view, connection, now = self._node.view, self._node.connected, trio.current_time()
            connected = now if connection else connected
            certificates, kept = self._journal.certificates, self._journal.resumable
            submission = await self._state(posted, view, certificates)
            said = answer(
                Situation(
                    submission=submission,
                    certificates=certificates,
                    view=view,
                    needed=self._needed,
                    gathered=self._node.gathered,
                    survivors=len(kept.confirmed.u3) if kept.confirmed else None,
                    unreachable=now - connected >= config.connect_deadline,
                    over=now >= end,
                )
            )
            if said is not None:
                return said
            if self._node.view is view:
                with trio.move_on_after(_TICK):
                    await self._node.moved()

    async def _state(
        self, posted: Submission, view: View, certificates: Sequence[Certificate]
    ) -> Submission:
        """What has become of ``posted``, read after ``view`` and ``certificates`` were so."""
        async with self._reading:
            if self._read_at is None or not _same(self._read_at, (view, certificates)):
                self._read_at, self._read = (view, certificates), {}
            found = self._read.get(posted.id)
            if found is None:
                read: Callable[[int], Submission | None] = self._queue.submission
                found = await self._services.in_thread(read, posted.id) or posted
                self._read[posted.id] = found
            return found


def _same(one: tuple[object, object], other: tuple[object, object]) -> bool:
    """Whether these are the very objects: each is replaced, never changed."""
    return one[0] is other[0] and one[1] is other[1]
