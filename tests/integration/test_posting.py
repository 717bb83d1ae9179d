"""Batches on their way through rounds: late, early, repeated, a hundred times at once."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import requests
import trio

from party.rehearsal import LossPoint
from tests.integration.posting import HOSPITALS, Posting, patient, posting

ANNA, BERTA, CLARA = HOSPITALS


async def settled(made: Posting, name: str, body: dict[str, Any]) -> dict[str, Any]:
    """The final answer, asked for until it is one."""
    while "model_hash" not in (answer := (await made.post(name, body)).json()):
        assert "warning" in answer, answer
    return dict(answer)


async def test_a_round_that_awaits_unmasking_is_no_result_yet(tmp_path: Path) -> None:
    async with posting(tmp_path, api__answer_deadline="3") as made:
        await made.serve(stage_deadline=2, gathering_window=30)
        await made.join(ANNA, BERTA)
        await made.join(CLARA, lost=(LossPoint.CONSISTENCY_CHECK, 1))
        bodies = {name: made.body(name, 1, [patient(i)]) for i, name in enumerate(HOSPITALS)}

        async def lose() -> None:
            try:
                await made.post(CLARA, bodies[CLARA])
            except requests.ConnectionError:
                await made.lost(CLARA)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lose)
            nursery.start_soon(made.post, BERTA, bodies[BERTA])
            first = (await made.post(ANNA, bodies[ANNA])).json()
        while "not finished" not in first["warning"]:
            first = (await made.post(ANNA, bodies[ANNA])).json()
        assert first.keys() == {"round", "participants", "warning"}
        assert "awaiting unmasking" in first["warning"]
        assert (first["round"], first["participants"]) == (1, 3)

        other = await made.post(ANNA, made.body(ANNA, 1, [patient(99)]))
        assert other.status_code == 409
        assert "being computed" in other.json()["detail"]

        await made.join(CLARA)
        results = [await settled(made, name, bodies[name]) for name in HOSPITALS]
        assert results[0].keys() == {"round", "participants", "model_hash"}
        assert results[0] == results[1] == results[2]
        charged = [line["event"] for line in made.audited(ANNA)].count("privacy charged")
        assert charged == 1


async def test_whoever_is_late_is_told_the_result_and_enters_the_next_round(
    tmp_path: Path,
) -> None:
    late = "dora"
    async with posting(tmp_path, *HOSPITALS, late, api__answer_deadline="60") as made:
        await made.serve(gathering_window=0.1)
        await made.join(*HOSPITALS, late)
        async with trio.open_nursery() as nursery:
            for i, name in enumerate(HOSPITALS):
                nursery.start_soon(made.post, name, made.body(name, 1, [patient(i)]))
        body = made.body(late, 1, [patient(7)])
        told = (await made.post(late, body)).json()
        assert (told["round"], told["participants"]) == (1, 3)
        assert "go on with round number 2" in told["warning"]
        assert (await made.post(late, body)).json() == told
        answers: list[dict[str, Any]] = []

        async def post(name: str, number: int) -> None:
            answer = await made.post(name, made.body(name, number, [patient(10 + number)]))
            answers.append(answer.json())

        async with trio.open_nursery() as nursery:
            for name in HOSPITALS[:2]:
                nursery.start_soon(post, name, 2)
        assert [(each["round"], each["participants"]) for each in answers] == [(2, 3)] * 2
        # The very batch that was late is in that result.
        final = (await made.post(late, body)).json()
        assert final == answers[0]


async def test_a_hundred_posts_of_one_batch_are_one_charge_and_one_answer(tmp_path: Path) -> None:
    async with posting(tmp_path) as made:
        await made.serve(gathering_window=30)
        await made.join(ANNA, api__answer_deadline="200")
        await made.join(BERTA, CLARA, api__answer_deadline="0.5")
        for i, name in enumerate((BERTA, CLARA), start=1):
            await made.queued(name, 1, [patient(i)])
        records = [patient(i) for i in range(200)]
        # A few encryptions of the same records: no two of these bodies are alike.
        bodies = [json.dumps(made.body(ANNA, 1, records)).encode() for _ in range(5)]
        answers: list[requests.Response] = []
        all_at_once = trio.CapacityLimiter(100)

        async def post(body: bytes) -> None:
            url = f"{made.url(ANNA)}/submit-federated-update"
            send = partial(requests.post, url, data=body, timeout=220)
            answers.append(await trio.to_thread.run_sync(send, limiter=all_at_once))

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(post, bodies[number % len(bodies)])
        assert {answer.status_code for answer in answers} == {200}
        results = {answer.text for answer in answers}
        assert len(results) == 1
        assert answers[0].json().keys() == {"round", "participants", "model_hash"}
        events = [line["event"] for line in made.audited(ANNA)]
        assert events.count("submission accepted") == 1
        assert events.count("privacy charged") == 1
