"""The desk: what is taken in, what is charged, what is refused before it is queued."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import trio
from cryptography.fernet import Fernet
from numpy.typing import NDArray
from sqlalchemy import func, select

from benchmarks.heart_disease.policy import schema
from party import api
from party.config import Api
from party.ledger import Cost
from party.queue import PAYLOADS, State
from party.submission.admission import Admission
from party.submission.keyring import Keyring
from party.submission.posted import digest_key
from secagg.model import Model
from tests.party.api.listening import listening
from tests.party.api.serving import services
from tests.party.consortium import Consortium, Posting, assemble
from tests.party.ehr import body, key_file

FERNET = Fernet(b"A" * 43 + b"=")
PATIENTS = [{"patient_id": f"PATIENT_{i:03}", "age": 40 + i, "diagnosis": "x"} for i in range(4)]


class AnyRecords(Posting):
    """Makes the same vector of whatever was posted: training is not what is tested here."""

    def contribution(self, kind: str, payload: bytes, model: Model) -> NDArray[np.int64]:
        return np.array((1, 2, 3, 4, 5, 16), np.int64)


@asynccontextmanager
async def desk(
    directory: Path, consortium: Consortium, **settings: Any
) -> AsyncIterator[httpx2.AsyncClient]:
    """The first hospital's node, which is not connected to anybody, and its EHR."""
    config = Api(port=0, **{"answer_deadline": 0.05, **settings})
    keyring = Keyring.load(key_file(directory / "fernet.key", b"A" * 43 + b"="))
    journal_key = consortium.parties[1].hospital.journal_key
    admission = Admission(keyring, schema(), 3, digest_key(journal_key))
    made = replace(services(consortium, config), admission=admission)
    async with listening(api.application(made), config) as client:
        yield client


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    """Whose first hospital has a queue, and a budget for one round."""
    made = assemble(tmp_path)
    party = made.parties[1]
    cost = Cost.of(made.policy)
    assert cost is not None
    _, delta = party.budget
    party.budget = (Fraction(cost.sum.epsilon(delta)) * Fraction(3, 2), delta)
    party.posting = AnyRecords()
    party.restart()
    return made


async def post(
    client: httpx2.AsyncClient, *patients: dict[str, Any], number: int = 1
) -> httpx2.Response:
    """Encrypted anew each time."""
    return await client.post("/submit-federated-update", json=body(FERNET, patients, number))


async def test_one_charge_and_one_answer_whatever_becomes_of_the_budget(
    tmp_path: Path, consortium: Consortium
) -> None:
    async with desk(tmp_path, consortium) as client:
        waits = await post(client, *PATIENTS[:2])
        assert waits.json() == {
            "round": 1,
            "participants": 1,
            "warning": "Only 1 hospital participated. Waiting for more.",
        }
        assert waits.headers["cache-control"] == "no-store"
        consortium.round(1)
        final = await post(client, *PATIENTS[:2])
        assert final.json() == {
            "round": 1,
            "participants": 4,
            "model_hash": consortium.parties[1].chain.held.model_hash.hex(),
        }
        # The budget is spent: other patients are refused, before anything of them is kept ...
        refused = await post(client, PATIENTS[2], number=2)
        assert refused.status_code == 403
        assert "budget exhausted" in refused.json()["detail"]
        late = await post(client, PATIENTS[2])
        assert late.status_code == 403
        # ... and these get their answer, as often as they ask, in whatever order.
        assert (await post(client, *PATIENTS[1::-1])).json() == final.json()
    queue = consortium.parties[1].queue
    assert queue is not None
    assert [each.state for each in queue.submissions()] == [State.USED]


async def test_a_batch_that_waits_when_the_budget_ends_is_told_so(
    tmp_path: Path, consortium: Consortium
) -> None:
    async with desk(tmp_path, consortium) as client:
        await post(client, PATIENTS[0])
        await post(client, PATIENTS[1], number=2)
        consortium.round(1)
        waits = await post(client, PATIENTS[1], number=2)
        assert waits.status_code == 403
        assert "The batch is kept" in waits.json()["detail"]


async def test_a_bad_record_leaves_nothing_behind(tmp_path: Path, consortium: Consortium) -> None:
    async with desk(tmp_path, consortium) as client:
        for patients in ([*PATIENTS[:2], PATIENTS[2] | {"age": "old"}], PATIENTS):
            assert (await post(client, *patients)).status_code == 422
    queue = consortium.parties[1].queue
    assert queue is not None
    assert queue.submissions() == ()


async def test_leaving_erases_what_waits(tmp_path: Path, consortium: Consortium) -> None:
    async with desk(tmp_path, consortium) as client:
        await post(client, PATIENTS[0])
        assert (await client.get("/participation")).json()["participating"] is True
        left = await client.delete("/participation")
        assert left.json() == {"participating": False, "in_round": None}
        assert (await post(client, PATIENTS[0])).status_code == 403
        with consortium.parties[1].engine.connect() as connection:
            assert connection.execute(select(func.count()).select_from(PAYLOADS)).scalar() == 0
        assert (await client.put("/participation")).json()["participating"] is True
        assert (await post(client, PATIENTS[0])).status_code == 200


async def test_a_number_that_is_over_is_answered_at_once_and_its_batch_waits(
    tmp_path: Path, consortium: Consortium
) -> None:
    consortium.round(1)  # this hospital has nothing queued: three others make it
    async with desk(tmp_path, consortium, answer_deadline=3600) as client:
        told = (await post(client, PATIENTS[0])).json()
    held = consortium.parties[1].chain.held.model_hash.hex()
    assert (told["round"], told["participants"], told["model_hash"]) == (1, 3, held)
    assert "go on with round number 2" in told["warning"]
    queue = consortium.parties[1].queue
    assert queue is not None
    assert [each.state for each in queue.submissions()] == [State.QUEUED]


async def test_when_enough_wait_the_next_one_is_told_how_things_stand(
    tmp_path: Path, consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("party.api.submissions.MOST_WAITING", 1)
    settings = {"answer_deadline": 3600, "connect_deadline": 3600}
    async with desk(tmp_path, consortium, **settings) as client, trio.open_nursery() as nursery:
        nursery.start_soon(post, client, PATIENTS[0])
        queue = consortium.parties[1].queue
        assert queue is not None
        while not queue.submissions():
            await trio.sleep(0.01)
        crowded = await post(client, PATIENTS[1], number=2)
        assert "Waiting for more" in crowded.json()["warning"]
        nursery.cancel_scope.cancel()
    assert [each.state for each in queue.submissions()] == [State.QUEUED] * 2
