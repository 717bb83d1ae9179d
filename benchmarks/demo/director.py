"""The play: start everybody, watch the rounds, bring back whoever was lost, end at the last model.

Everything that is known here comes from the nodes' own GET /status and from how processes end.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Final, final
from urllib.parse import urlsplit

import trio

from benchmarks.demo.plan import Drop, Plan
from benchmarks.demo.processes import Child, Children, last_lines
from benchmarks.demo.report import Round, round_report
from party.status import StatusReport
from secagg.cli import CommandError, ExitCode
from server.consortium import Created

STAGE_DEADLINE: Final = 3
GATHERING_WINDOW: Final = 10
PATIENCE: Final = 45

_POLL_SECONDS: Final = 0.1
_HTTP_SECONDS: Final = 10
_SERVER_SETTINGS: Final = {
    "SECAGG_SERVER__LISTEN__PORT": "0",
    "SECAGG_SERVER__TIMING__STAGE_DEADLINE": str(STAGE_DEADLINE),
    "SECAGG_SERVER__TIMING__GATHERING_WINDOW": str(GATHERING_WINDOW),
}


@dataclass(slots=True)
class Actor:
    """One hospital: its process, how that is to be lost, and what it last said.

    ``drop``: the loss that its process rehearses. ``missed``: the round of its last loss, 0 before,
    until it is seen to have that round's model. ``lost``: when its process was killed, on trio's
    clock; None while it runs.
    """

    child: Child
    drop: Drop | None
    missed: int = 0
    status: StatusReport | None = None
    lost: float | None = None

    @property
    def runs(self) -> bool:
        """Whether its process runs."""
        return self.child.ended is None

    @property
    def newest(self) -> int:
        """The newest round that it knows to be certified."""
        return self.status.rounds[-1].round if self.status and self.status.rounds else 0

    def is_done(self, rounds: int) -> bool:
        """Whether it holds the last model and has measured it."""
        return (
            self.runs
            and self.status is not None
            and self.newest >= rounds
            and self.status.rounds[-1].accuracy is not None
            and self.status.accuracy.local_only is not None
        )


@final
@dataclass(slots=True)
class Director:
    """Plays ``plan`` with ``consortium``. ``tell`` is given what happens, a line at a time;
    ``show`` each round, once every hospital that is running has its certificate. ``patience``:
    seconds without a new certificate after which it is given up.
    """

    plan: Plan
    consortium: Created
    children: Children
    tell: Callable[[str], None]
    show: Callable[[Round], None]
    patience: float = PATIENCE
    _actors: dict[str, Actor] = field(default_factory=dict)
    _port: int = 0
    _shown: int = 0

    async def play(self) -> Mapping[str, StatusReport]:
        """All rounds; returns what each hospital says at the end, in the roster's order.

        Raises CommandError if a process ends unasked, or if a round does not end.
        """
        server = await self._start_server()
        async with trio.open_nursery() as nursery:
            for hospital in self.consortium.hospitals:
                nursery.start_soon(self._start, hospital, 0)
        self.tell(f"{len(self._actors)} hospitals are running; round 1 opens")
        progress = trio.current_time()
        while not all(actor.is_done(self.plan.rounds) for actor in self._actors.values()):
            if server.ended is not None:
                raise _ended(server)
            await self._ask(actor for actor in self._actors.values() if actor.runs)
            self._notice_returns()
            shown = self._show_rounds()
            self._notice_losses()
            if await self._bring_back() or shown:
                progress = trio.current_time()
            if trio.current_time() > progress + self.patience:
                raise self._stalled()
            await trio.sleep(_POLL_SECONDS)
        return {
            name: status
            for name in self.consortium.hospitals
            if (status := self._actors[name].status) is not None
        }

    # --- processes -------------------------------------------------------------------------------

    async def _start_server(self) -> Child:
        arguments = ["server", "start", "--config", str(self.consortium.server)]
        server = await self.children.start("server", arguments, _SERVER_SETTINGS)
        self._port = int(server.ready["port"])
        self.tell(f"the server listens on {server.ready['host']}:{self._port} (TLS 1.3, mutual)")
        return server

    async def _start(self, hospital: str, after: int) -> None:
        """Start a hospital's node, which rehearses its next loss in a round after ``after``."""
        drop = self.plan.next_drop(hospital, after)
        rehearsal = (
            [] if drop is None
            else ["--stop-after", drop.point.value, "--stop-in-round", str(drop.round)]
        )  # fmt: skip
        arguments = ["party", "start", "--config", str(self.consortium.hospitals[hospital])]
        settings = {
            "SECAGG_PARTY__SERVER__PORT": str(self._port),
            "SECAGG_PARTY__API__PORT": "0",
            "SECAGG_PARTY__RECONNECT__MAXIMUM": "2",
        }
        child = await self.children.start(hospital, arguments + rehearsal, settings)
        self._actors[hospital] = Actor(child, drop, missed=after)

    def _notice_losses(self) -> None:
        """Find who is gone; raises CommandError if that was not planned."""
        for name, actor in self._actors.items():
            if actor.lost is not None or actor.runs:
                continue
            if actor.drop is None or actor.child.ended != -signal.SIGKILL:
                raise _ended(actor.child)
            actor.lost = trio.current_time()
            self.tell(
                f"{name} is gone: its process was killed in round {actor.drop.round}, "
                f"after {actor.drop.point}"
            )

    def _notice_returns(self) -> None:
        """Find who has caught up after a loss."""
        for name, actor in self._actors.items():
            if 0 < actor.missed <= actor.newest and actor.status is not None:
                actor.missed = 0
                self.tell(
                    f"{name} is back: by the certificate of round {actor.newest} it holds model "
                    f"{actor.status.model_hash[:16]}"
                )

    async def _bring_back(self) -> bool:
        """Start lost hospitals again, once the round is certified, or seems not to be without them.

        Returns whether there were any.
        """
        returning: list[tuple[str, int]] = []
        for name, actor in self._actors.items():
            if actor.lost is None or actor.drop is None:
                continue
            waited = trio.current_time() > actor.lost + GATHERING_WINDOW
            if self._shown >= actor.drop.round or waited:
                returning.append((name, actor.drop.round))
        for name, number in returning:
            await self._start(name, number)
            self.tell(f"{name} is started again, with its own journal")
        return bool(returning)

    # --- what the hospitals say ------------------------------------------------------------------

    async def _ask(self, actors: Iterable[Actor]) -> None:
        async with trio.open_nursery() as nursery:
            for actor in actors:
                nursery.start_soon(self._ask_one, actor)

    async def _ask_one(self, actor: Actor) -> None:
        answer = await trio.to_thread.run_sync(fetch, str(actor.child.ready["url"]))
        actor.status = answer or actor.status

    def _show_rounds(self) -> bool:
        """Show each round whose certificate all running hospitals have; returns if any is new."""
        running = [actor for actor in self._actors.values() if actor.runs]
        known = min((actor.newest for actor in running), default=0)
        statuses = {
            name: status
            for name in self.consortium.hospitals
            if (status := self._actors[name].status) is not None
        }
        before, self._shown = self._shown, max(self._shown, known)
        for number in range(before + 1, self._shown + 1):
            self.show(round_report(statuses, number))
        return self._shown > before

    def _stalled(self) -> CommandError:
        reasons = [
            f"{name}: {actor.status.problem or actor.status.state}"
            for name, actor in self._actors.items()
            if actor.status is not None
        ]
        return CommandError(
            f"Round {self._shown + 1} was not certified within {self.patience:g} s. "
            f"{'; '.join(reasons)}.",
            "The policy survives the loss of one hospital in a round, not of two; give --keep DIR "
            "to look at everybody's logs.",
            ExitCode.FAILED_ROUND,
        )


def fetch(url: str) -> StatusReport | None:
    """What the node at ``url`` says about itself; None if it cannot be asked just now."""
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=_HTTP_SECONDS)
    try:
        connection.request("GET", "/status")
        response = connection.getresponse()
        return StatusReport.model_validate_json(response.read()) if response.status == 200 else None
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def _ended(child: Child) -> CommandError:
    return CommandError(
        f"{child.name} has ended with status {child.ended}.\n{last_lines(child.log)}".rstrip(),
        "Its last log lines are above; give --keep DIR to keep all of them.",
        ExitCode.FAILED_ROUND,
    )
