"""A consortium of real processes on loopback, for tests that kill some of them."""

from __future__ import annotations

import shutil
import signal
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from benchmarks.demo.director import fetch
from benchmarks.demo.plan import Plan
from benchmarks.demo.processes import Child, Children, children
from benchmarks.demo.setting import set_up
from benchmarks.heart_disease.policy import Target
from party.rehearsal import LossPoint
from party.status import RoundReport, StatusReport
from server.consortium import Created

BUDGETED_ROUNDS = 20


@dataclass(slots=True)
class Network:
    """One server and its hospitals; ``timing`` of the server in seconds, by name."""

    consortium: Created
    children: Children
    timing: Mapping[str, float]
    parties: dict[str, Child] = field(default_factory=dict)
    port: int = 0
    _server: Child | None = None

    async def serve(self) -> None:
        """Start the server: at first on any free port, later on the same one."""
        settings = {f"SECAGG_SERVER__TIMING__{k.upper()}": str(v) for k, v in self.timing.items()}
        self._server = await self.children.start(
            "server",
            ["server", "start", "--config", str(self.consortium.server)],
            {"SECAGG_SERVER__LISTEN__PORT": str(self.port), **settings},
        )
        self.port = int(self._server.ready["port"])

    async def kill_server(self) -> None:
        """SIGKILL."""
        assert self._server is not None
        self._server.process.kill()
        assert await self._server.process.wait() == -signal.SIGKILL

    def lose_state(self, name: str) -> None:
        """Destroy what the server, or a hospital, that does not run has kept."""
        homes = {"server": self.consortium.server, **self.consortium.hospitals}
        shutil.rmtree(homes[name].parent / "state")

    async def join(
        self, *names: str, rounds: int = BUDGETED_ROUNDS, lost: tuple[LossPoint, int] | None = None
    ) -> None:
        """Start hospitals that take part until the model has had ``rounds`` updates.

        ``lost``: (point, round) at which they kill themselves.
        """
        settings = {
            "SECAGG_PARTY__SERVER__PORT": str(self.port),
            "SECAGG_PARTY__API__PORT": "0",
            "SECAGG_PARTY__DATA__ROUNDS": str(rounds),
            "SECAGG_PARTY__RECONNECT__INITIAL": "0.1",
            "SECAGG_PARTY__RECONNECT__MAXIMUM": "0.5",
        }
        options: list[str] = []
        if lost is not None:
            options = ["--stop-after", lost[0].value, "--stop-in-round", str(lost[1])]

        async def start(name: str) -> None:
            arguments = ["party", "start", "--config", str(self.consortium.hospitals[name])]
            self.parties[name] = await self.children.start(name, arguments + options, settings)

        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(start, name)

    async def leave(self, name: str) -> None:
        """Stop a hospital as its operator would."""
        self.parties[name].process.terminate()
        assert await self.parties[name].process.wait() == 0

    async def lost(self, name: str) -> None:
        """Wait until a hospital has killed itself."""
        assert await self.parties[name].process.wait() == -signal.SIGKILL

    async def status(self, name: str) -> StatusReport:
        """What a hospital that runs says about itself."""
        status = await trio.to_thread.run_sync(fetch, str(self.parties[name].ready["url"]))
        assert status is not None
        return status

    async def reaches(self, name: str, state: str) -> None:
        """Wait until a hospital is in ``state``."""
        while (await self.status(name)).state != state:
            await trio.sleep(0.05)

    async def certified(self, number: int, names: Iterable[str]) -> RoundReport:
        """Wait until each of ``names`` has the certificate of round ``number``, or a later one.

        What they say about that round, which is the same.
        """
        found: list[RoundReport] = []
        for name in names:
            while not (rounds := (await self.status(name)).rounds) or rounds[-1].round < number:
                await trio.sleep(0.05)
            found += [entry for entry in rounds if entry.round == number]
        assert len({(entry.attempt, entry.model_hash) for entry in found}) == 1
        return found[0]

    def log(self, name: str) -> str:
        """All that a process, and its predecessors, have logged."""
        return self.parties[name].log.read_text() if name in self.parties else self._server_log()

    def _server_log(self) -> str:
        assert self._server is not None
        return self._server.log.read_text()


@asynccontextmanager
async def network(
    directory: Path, *, timeout: float = 90, **timing: float
) -> AsyncIterator[Network]:
    """A consortium whose server runs; every process has ended when this is left."""
    consortium = set_up(directory, Plan(BUDGETED_ROUNDS, (), Target("exact", "1"), 0))
    with trio.fail_after(timeout):
        async with children(directory / "logs") as started:
            made = Network(consortium, started, timing)
            await made.serve()
            yield made
