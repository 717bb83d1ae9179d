"""``secagg demo --serve``: a server and four nodes that wait for whoever posts to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import trio

from benchmarks.demo.plan import Plan
from benchmarks.demo.setting import TEST, set_up_for_posting
from benchmarks.live import live


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
    """What runs. server: host:port, where the nodes connect. dashboard: the first node's page."""

    parties: dict[str, Party]
    server: str
    dashboard: str


async def serve_forever(
    plan: Plan, directory: Path, tell: Callable[[str], None], announce: Callable[[Served], None]
) -> None:
    """Start everybody in ``directory``, ``announce`` what runs, and stay until cancelled.

    No round is open: none of the nodes has a batch. When this is left, all processes have ended.
    Raises CommandError if one of them cannot start, or ends.
    """
    consortium, postings = set_up_for_posting(directory.resolve(), plan)
    tests = {
        name: {"SECAGG_PARTY__DATA__TEST": str(posting.batch_file.with_name(TEST))}
        for name, posting in postings.items()
    }
    async with live(consortium, directory / "logs", tests) as running:
        tell("all nodes are connected; no round is open until batches are posted")
        parties = {
            name: Party(
                url=running.url(name),
                token=None,
                fernet_key_file=str(posting.fernet_key_file),
                batch_file=str(posting.batch_file),
            )
            for name, posting in postings.items()
        }
        page = f"{running.url(next(iter(postings)))}/"
        announce(Served(parties=parties, server=running.address, dashboard=page))
        await trio.sleep_forever()
