"""GET /privacy-budget."""

from __future__ import annotations

from pathlib import Path

from secagg.policy import NoiseSpec
from tests.party.api.serving import serving
from tests.party.consortium import Consortium, assemble


async def test_the_budget_as_the_manual_has_it(consortium: Consortium) -> None:
    for number in (1, 2):
        consortium.round(number)
    party = consortium.parties[1]
    assert party.ledger is not None
    async with serving(consortium) as client:
        budget = (await client.get("/privacy-budget")).json()
    assert budget["total_rounds"] == 2
    assert budget["epsilon_total"] == 1.0
    assert budget["epsilon_used"] == party.ledger.budget().epsilon_spent()
    assert budget["epsilon_remaining"] == 1.0 - budget["epsilon_used"]
    assert budget["percentage_used"] == 100 * budget["epsilon_used"]
    assert budget["warning"] is None
    first, second = budget["history"]
    assert first.keys() == {
        "round",
        "epsilon_spent",
        "epsilon_total_used",
        "epsilon_remaining",
        "model_hash",
        "timestamp",
    }
    assert (first["round"], second["round"]) == (1, 2)
    assert second["model_hash"] == party.chain.held.model_hash.hex()
    assert second["epsilon_total_used"] == budget["epsilon_used"]
    assert second["epsilon_spent"] < first["epsilon_spent"]
    assert first["timestamp"].endswith("Z")


async def test_a_warning_when_little_is_left(tmp_path: Path) -> None:
    scarce = assemble(tmp_path, epsilon="0.3")
    scarce.round(1)
    async with serving(scarce) as client:
        budget = (await client.get("/privacy-budget")).json()
    assert budget["percentage_used"] > 80
    assert "privacy budget" in budget["warning"]
    scarce.close()


async def test_without_noise_it_says_that_there_is_none(tmp_path: Path) -> None:
    plain = assemble(tmp_path, noise=NoiseSpec())
    plain.round(1)
    async with serving(plain) as client:
        answer = await client.get("/privacy-budget")
    assert answer.status_code == 200
    budget = answer.json()
    assert (budget["total_rounds"], budget["epsilon_total"], budget["history"]) == (1, None, [])
    assert "adds no noise" in budget["warning"]
    plain.close()
