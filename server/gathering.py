"""Which training round opens, when and for whom; or whether a stuck one should end.

No clock and no network: time is an argument, so every rule here is tested by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from math import inf
from typing import final

from secagg.policy import Policy
from secagg.rounds.r0_advertise_keys import MAX_ATTEMPT, MAX_ROUND_GAP
from server.config import Timing


@dataclass(frozen=True, slots=True)
class Standby:
    """One connected party. ``ready``: the round from which on its batch counts, None without one.
    ``entered``: the highest (round, attempt) of its journal.
    """

    ready: int | None
    entered: tuple[int, int]


@dataclass(frozen=True, slots=True)
class View:
    """What the decision rests on.

    ``closed``: the highest certified or abandoned round. ``attempts``: the highest attempt that the
    server made, by round. ``omitted``: proven cheats of the open round. ``failed``: attempts that
    failed since something changed among the parties. ``not_before``: when the pause after the last
    one ends. ``released``: unmasking answers may be out there for an attempt that is over.
    ``asked``: the round whose abandonment is being signed.
    """

    closed: int
    standby: Mapping[int, Standby]
    attempts: Mapping[int, int]
    omitted: Set[int] = frozenset()
    failed: int = 0
    not_before: float = -inf
    released: bool = False
    asked: int | None = None

    def lowest(self, u: int) -> int | None:
        """The lowest round that party ``u`` may enter with its batch; None if there is none."""
        standby = self.standby[u]
        if standby.ready is None or u in self.omitted:
            return None
        return max(standby.ready, standby.entered[0], self.closed + 1)

    def ready(self) -> int:
        """How many parties may enter some round with their batch."""
        return sum(self.lowest(u) is not None for u in self.standby)

    def entered(self, u: int, number: int) -> int:
        """The highest attempt of round ``number`` that party ``u`` has entered; 0 for none."""
        entered_round, attempt = self.standby[u].entered
        return attempt if entered_round == number else 0

    def tried(self) -> set[int]:
        """The open rounds that were tried, as far as the parties' journals say so, too."""
        entered = {each.entered[0] for each in self.standby.values()}
        return {number for number in entered.union(self.attempts) if number > self.closed}


@dataclass(frozen=True, slots=True)
class Open:
    """Open this attempt for those parties."""

    round: int
    attempt: int
    invited: frozenset[int]


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask every connected party to sign that this round ends without a model."""

    round: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before this moment, or before something changes."""

    until: float


def opening(policy: Policy, view: View) -> Open | None:
    """The lowest attempt for which ``min_survivors`` connected parties' batches count, if any.

    A party's own word moves the numbers no further than the others need: one that names a round
    out of their reach (a party refuses to skip more than MAX_ROUND_GAP), or an attempt near the
    last one, is left out and drags nobody there.
    """
    lowest = {u: number for u in view.standby if (number := view.lowest(u)) is not None}
    if len(lowest) < policy.min_survivors:
        return None
    number = sorted(lowest.values())[policy.min_survivors - 1]
    within = [u for u in lowest if 0 <= number - lowest[u] <= MAX_ROUND_GAP]
    if len(within) < policy.min_survivors:
        return None
    entered = {u: view.entered(u, number) for u in within}
    enough = sorted(entered.values())[policy.min_survivors - 1]
    attempt = max(view.attempts.get(number, 0), enough) + 1
    if attempt > MAX_ATTEMPT:
        return None
    return Open(number, attempt, frozenset(u for u in within if entered[u] < attempt))


def can_leave(policy: Policy, view: View, answered: Set[int]) -> bool:
    """Whether an attempt that lacks unmasking answers may be given up: there is something else
    that can close the round, be it the next attempt or its abandonment.

    Without noise, who has answered cannot sign an abandonment: two sums would tell a difference.
    """
    able = view.standby.keys() - (answered if policy.noise.mode == "none" else set())
    return opening(policy, view) is not None or len(able) >= policy.threshold


@final
class Gathering:
    """The decision over time: remembers since when there have been enough parties, or too few."""

    def __init__(self, policy: Policy, timing: Timing) -> None:
        self._policy = policy
        self._timing = timing
        self._enough_since: float | None = None
        self._short_since: float | None = None

    def decide(self, now: float, view: View) -> Open | Ask | Wait:
        """What to do at the time ``now``, in seconds of a clock that never goes back."""
        plan = opening(self._policy, view)
        if plan is None:
            self._enough_since = None
            return self._end_or_wait(now, view)
        self._short_since = None
        self._enough_since = now if self._enough_since is None else self._enough_since
        if view.failed >= self._timing.max_attempts:
            return Wait(inf)
        everybody = len(plan.invited) == self._policy.n - len(view.omitted)
        waited = everybody or view.failed > 0
        window = 0.0 if waited else self._timing.gathering_window
        due = max(self._enough_since + window, view.not_before)
        return plan if now >= due else Wait(due)

    def _end_or_wait(self, now: float, view: View) -> Ask | Wait:
        """Too few may enter a round. If one has been tried, it may be that they have answered
        there, or that no attempt of it is left: then only its abandonment lets the next begin.
        """
        tried = view.tried()
        if not tried or len(view.standby) < self._policy.threshold:
            self._short_since = None
            return Wait(inf)
        number = min(tried)
        if view.asked == number:
            return Wait(inf)
        self._short_since = now if self._short_since is None else self._short_since
        patience = 0.0 if view.released else self._timing.unmasking_patience
        due = self._short_since + patience
        return Ask(number) if now >= due else Wait(due)
