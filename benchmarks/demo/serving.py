"""``secagg demo --serve``: a server and four nodes that wait for whoever posts to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

import msgspec
import trio

from benchmarks.demo.director import fetch
from benchmarks.demo.plan import Plan
from benchmarks.demo.processes import Child, Children, children, last_lines
from benchmarks.demo.setting import TEST, set_up_for_posting
from secagg.cli import CommandError, ExitCode

CONNECTING_SECONDS: Final = 30
_POLL_SECONDS: Final = 0.1


class Party(msgspec.Struct, frozen=True, kw_only=True):
    """How to post to one hospital's node.

    token: the bearer token to show; null if none is asked for. fernet_key_file: what the hospital's
    EHR encrypts with. batch_file: the ready body of a ``POST {url}/submit-federated-update``.
    """

    url: str
    token: str | None
    fernet_key_file: str
    batch_file: str


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What runs. server: host:port, where the nodes connect. dashboard: its URL, or null."""

    parties: dict[str, Party]
    server: str
    dashboard: str | None


async def serve_forever(
    plan: Plan, directory: Path, tell: Callable[[str], None], announce: Callable[[Served], None]
) -> NoReturn:
    """Start everybody in ``directory``, ``announce`` what runs, and stay until cancelled.

    No round is open: none of the nodes has a batch. When this is left, all processes have ended.
    Raises CommandError if one of them cannot start, or ends.
    """
    consortium, postings = set_up_for_posting(directory.resolve(), plan)
    async with children(directory / "logs") as started, trio.open_nursery() as nursery:
        arguments = ["server", "start", "--config", str(consortium.server)]
        server = await started.start("server", arguments, {"SECAGG_SERVER__LISTEN__PORT": "0"})
        nodes: dict[str, Child] = {}

        async def start(name: str) -> None:
            nodes[name] = await _start_node(started, name, consortium.hospitals[name], server)

        async with trio.open_nursery() as starting:
            for name in consortium.hospitals:
                starting.start_soon(start, name)
        for child in (server, *nodes.values()):
            nursery.start_soon(_must_not_end, child)
        tell("all nodes are connected; no round is open until batches are posted")
        parties = {
            name: Party(
                url=str(nodes[name].ready["url"]),
                token=None,
                fernet_key_file=str(posting.fernet_key_file),
                batch_file=str(posting.batch_file),
            )
            for name, posting in postings.items()
        }
        address = f"{server.ready['host']}:{server.ready['port']}"
        announce(Served(parties=parties, server=address, dashboard=None))
        await trio.sleep_forever()


async def _start_node(started: Children, name: str, config: Path, server: Child) -> Child:
    """Start a node; returns when it is connected to the server."""
    settings = {
        "SECAGG_PARTY__SERVER__PORT": str(server.ready["port"]),
        "SECAGG_PARTY__API__PORT": "0",
        "SECAGG_PARTY__DATA__TEST": str(config.parent / TEST),
        "SECAGG_PARTY__RECONNECT__MAXIMUM": "2",
    }
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
        "Its last log lines are above; give --keep DIR to keep all of them.",
        ExitCode.FAILED_ROUND,
    )
