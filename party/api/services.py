"""What the routes work with: the parts of one node that its HTTP interface shows or drives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, ParamSpec, TypeVar

import trio

from party.audit.log import AuditLog
from party.config import Api
from party.journal import Journal
from party.ledger import Ledger
from party.models import ModelStore
from party.node import Node
from party.queue import Queue
from party.status import Reporter
from party.submission.admission import Admission
from party.submission.waiting_update import Updates
from secagg.policy import Policy

THREADS: Final = 4
"""How many requests read the database, or open records, at a time; the others take turns."""

P = ParamSpec("P")
T = TypeVar("T")


def _threads() -> trio.CapacityLimiter:
    return trio.CapacityLimiter(THREADS)


@dataclass(frozen=True, slots=True)
class Services:
    """One node, as its routes see it.

    ``ledger`` is None under a policy without noise; ``queue`` is None for a node that trains on a
    file of its own. Else there is one of ``admission`` and ``updates``: what the policy protects is
    a patient, and records are posted, or it is the hospital, and updates are.
    """

    config: Api
    policy: Policy
    node: Node
    journal: Journal
    ledger: Ledger | None
    models: ModelStore
    reporter: Reporter
    audit: AuditLog
    queue: Queue | None = None
    admission: Admission | None = None
    updates: Updates | None = None
    _limiter: trio.CapacityLimiter = field(default_factory=_threads, repr=False)

    async def in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of blocking ``work``, done in a worker thread."""
        return await trio.to_thread.run_sync(partial(work, *args, **kwargs), limiter=self._limiter)
