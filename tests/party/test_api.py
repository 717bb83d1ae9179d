"""The local interface over HTTP: what it answers, and to whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import trio

from benchmarks.heart_disease.policy import schema
from party import api
from party.backoff import Backoff
from party.config import Api
from party.evaluation import Evaluations
from party.node import Node
from party.status import Reporter
from secagg.cli import CommandError, ExitCode
from secagg.crypto.randomness import SeededRandomness
from tests.party.consortium import SPEC, Consortium


async def nobody() -> trio.abc.Stream:
    raise ConnectionRefusedError("no server in this test")


def reporter(consortium: Consortium, u: int = 1) -> Reporter:
    party, policy = consortium.parties[u], consortium.policy
    backoff = Backoff(1, 2, SeededRandomness(b"backoff"))
    node = Node(party.client, party.source, policy.digest(), nobody, backoff)
    nowhere = Path("nowhere")
    evaluations = Evaluations(party.engine, schema(), SPEC, nowhere, None, rounds=1)
    return Reporter(policy.name(u), policy, node, party.journal, party.ledger, evaluations)


@asynccontextmanager
async def serving(consortium: Consortium) -> AsyncIterator[httpx2.AsyncClient]:
    async with trio.open_nursery() as nursery:
        app = api.application(reporter(consortium), "127.0.0.1")
        url: str = await nursery.start(api.serve, app, Api(port=0))
        async with httpx2.AsyncClient(base_url=url) as client:
            yield client
        nursery.cancel_scope.cancel()


async def test_status_tells_rounds_budget_and_model(consortium: Consortium) -> None:
    consortium.gone = {4}
    consortium.round(1)
    consortium.round(2)
    async with serving(consortium) as client:
        status = (await client.get("/status")).json()
    party = consortium.parties[1]
    assert party.ledger is not None
    assert status["name"] == "hospital-1"
    assert status["connected"] is False
    assert status["model_hash"] == party.chain.held.model_hash.hex()
    first, second = status["rounds"]
    assert first["participants"] == ["hospital-1", "hospital-2", "hospital-3"]
    assert (first["round"], first["attempt"], second["round"]) == (1, 1, 2)
    assert 0 < first["epsilon_sum"] < second["epsilon_sum"] == status["budget"]["epsilon_used"]
    assert first["epsilon_sum"] < first["epsilon_own"]
    assert second["model_hash"] == status["model_hash"]
    budget = status["budget"]
    assert budget["epsilon_total"] == 1.0
    assert budget["delta"] == 0.001
    assert budget["epsilon_remaining"] == budget["epsilon_total"] - budget["epsilon_used"]
    assert status["accuracy"] == {"federated": None, "local_only": None}
    assert first["accuracy"] is None


async def test_a_page_elsewhere_cannot_reach_it_under_its_own_name(consortium: Consortium) -> None:
    async with serving(consortium) as client:
        for path in ("/status", "/healthz", "/openapi.json"):
            foreign = await client.get(path, headers={"Host": "attacker.example"})
            assert foreign.status_code == 400
            own = await client.get(path, headers={"Host": "localhost:8000"})
            assert own.status_code == 200
        assert "server" not in own.headers


async def test_a_taken_port_is_explained(consortium: Consortium) -> None:
    app = api.application(reporter(consortium), "127.0.0.1")
    async with trio.open_nursery() as nursery:
        url: str = await nursery.start(api.serve, app, Api(port=0))
        taken = Api(port=int(url.rsplit(":", 1)[1]))
        with pytest.raises(CommandError, match="cannot be listened on") as refused:
            await api.serve(app, taken)
        assert refused.value.exit_code is ExitCode.CONNECTION
        nursery.cancel_scope.cancel()
