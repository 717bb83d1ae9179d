"""Whether the node runs and where it stands, over HTTP."""

from __future__ import annotations

from tests.party.api.serving import serving
from tests.party.consortium import Consortium


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


async def test_the_process_answers(consortium: Consortium) -> None:
    async with serving(consortium) as client:
        answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert "server" not in answer.headers
