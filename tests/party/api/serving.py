"""The interface of one party of a consortium in memory, served over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import trio

from benchmarks.heart_disease.policy import schema
from party import api
from party.audit.log import AuditLog
from party.backoff import Backoff
from party.batches import BatchSource
from party.config import Api
from party.evaluation import Evaluations
from party.ledger import Cost
from party.models import ModelStore
from party.node import Node
from party.status import Reporter
from secagg.crypto.randomness import SeededRandomness
from tests.party.consortium import SPEC, Consortium


async def nobody() -> trio.abc.Stream:
    raise ConnectionRefusedError("no server in this test")


def services(consortium: Consortium, config: Api, u: int = 1) -> api.Services:
    party, policy = consortium.parties[u], consortium.policy
    backoff = Backoff(1, 2, SeededRandomness(b"backoff"))
    source: BatchSource = party.queue or party.source
    node = Node(party.client, source, policy.digest(), nobody, backoff)
    nowhere = Path("nowhere")
    evaluations = Evaluations(party.engine, schema(), SPEC, nowhere, None, rounds=1)
    reporter = Reporter(policy.name(u), policy, node, party.journal, party.ledger, evaluations)
    models = ModelStore(party.engine)
    audit = party.audit or AuditLog(
        party.engine, party.path.parent, party.hospital, Cost.of(policy), party.randomness
    )
    return api.Services(
        config,
        policy,
        node,
        party.journal,
        party.ledger,
        models,
        reporter,
        audit,
        queue=party.queue,
    )


@asynccontextmanager
async def serving(consortium: Consortium, **settings: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """The interface of party 1; ``settings``: of its [api]."""
    config = Api(port=0, **settings)
    async with trio.open_nursery() as nursery:
        app = api.application(services(consortium, config))
        url: str = await nursery.start(api.serve, app, config)
        async with httpx2.AsyncClient(base_url=url) as client:
            yield client
        nursery.cancel_scope.cancel()
