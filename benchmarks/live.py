"""A consortium as processes on this machine: its server, and every hospital's node, connected."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from benchmarks.demo.director import fetch
from benchmarks.demo.processes import Child, Children, children, last_lines
from secagg.cli import CommandError, ExitCode
from server.consortium import Created

CONNECTING_SECONDS: Final = 60
_POLL_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Live:
    """What runs; ``nodes`` by hospital, in the roster's order."""

    server: Child
    nodes: Mapping[str, Child]

    @property
    def address(self) -> str:
        """host:port, where the nodes connect."""
        return f"{self.server.ready['host']}:{self.server.ready['port']}"

    def url(self, hospital: str) -> str:
        """Of the hospital's node, for its own systems."""
        return str(self.nodes[hospital].ready["url"])


@asynccontextmanager
async def live(
    consortium: Created, logs: Path, settings: Mapping[str, Mapping[str, str]]
) -> AsyncIterator[Live]:
    """Everybody in ``consortium``, on free ports; when this is left, all processes have ended.

    ``settings``: further SECAGG_PARTY_* variables, by hospital. Raises CommandError (from a
    nursery) if a process cannot start, does not connect, or ends.
    """
    async with children(logs) as started, trio.open_nursery() as nursery:
        arguments = ["server", "start", "--config", str(consortium.server)]
        server = await started.start("server", arguments, {"SECAGG_SERVER__LISTEN__PORT": "0"})
        nodes: dict[str, Child] = {}

        async def start(name: str) -> None:
            wanted = {
                "SECAGG_PARTY__SERVER__PORT": str(server.ready["port"]),
                "SECAGG_PARTY__API__PORT": "0",
                "SECAGG_PARTY__RECONNECT__MAXIMUM": "2",
                **settings.get(name, {}),
            }
            nodes[name] = await _connected(started, name, consortium.hospitals[name], wanted)

        async with trio.open_nursery() as starting:
            for name in consortium.hospitals:
                starting.start_soon(start, name)
        for child in (server, *nodes.values()):
            nursery.start_soon(_must_not_end, child)
        yield Live(server, {name: nodes[name] for name in consortium.hospitals})
        nursery.cancel_scope.cancel()


async def _connected(
    started: Children, name: str, config: Path, settings: Mapping[str, str]
) -> Child:
    """Start a node; returns when it is connected to the server."""
    node = await started.start(name, ["party", "start", "--config", str(config)], settings)
    with trio.move_on_after(CONNECTING_SECONDS):
        while True:
            status = await trio.to_thread.run_sync(fetch, str(node.ready["url"]))
            if status is not None and status.connected:
                return node
            await trio.sleep(_POLL_SECONDS)
    raise CommandError(
        f"{name} did not connect to the server within {CONNECTING_SECONDS} s.\n"
        f"{last_lines(node.log)}".rstrip(),
        "Mend what its log says above, then start again.",
        ExitCode.CONNECTION,
    )


async def _must_not_end(child: Child) -> None:
    status = await child.process.wait()
    raise CommandError(
        f"{child.name} has ended with status {status}.\n{last_lines(child.log)}".rstrip(),
        f"Its last log lines are above; the whole log was {child.log}.",
        ExitCode.FAILED_ROUND,
    )
