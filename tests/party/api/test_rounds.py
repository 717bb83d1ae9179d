"""GET /rounds and /rounds/{n}."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.party.api.serving import serving
from tests.party.consortium import Consortium, assemble, posted


async def test_rounds_and_one_of_them(tmp_path: Path) -> None:
    consortium = assemble(tmp_path, posting=True)
    for party in consortium.parties.values():
        party.client.submit(posted(3))
    consortium.round(3)
    consortium.parties[1].client.submit(posted(8))
    async with serving(consortium) as client:
        rounds = (await client.get("/rounds")).json()
        one = (await client.get("/rounds/3")).json()
    assert [(each["round"], each["status"]) for each in rounds] == [(8, "queued"), (3, "certified")]
    assert one == rounds[1]
    assert one.keys() == {
        "round",
        "submission_time",
        "patients_submitted",
        "data_size_encrypted",
        "submission_latency",
        "model_hash",
        "privacy_epsilon_used",
        "status",
    }
    assert one["submission_time"].endswith("Z")
    assert one["submission_latency"] >= 0
    consortium.close()


async def test_an_unknown_round(consortium: Consortium) -> None:
    async with serving(consortium) as client:
        answer = await client.get("/rounds/7")
    assert answer.status_code == 404
    assert "round 7 is unknown here" in answer.json()["detail"]


@pytest.mark.parametrize("number", ["0", "-1", "x", "1.5", str(2**53 + 1)])
async def test_what_is_no_round_number(consortium: Consortium, number: str) -> None:
    async with serving(consortium) as client:
        answer = await client.get(f"/rounds/{number}")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("n: ")
