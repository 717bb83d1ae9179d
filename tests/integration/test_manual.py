"""The manual of the Federated Learning Coordinator, followed against running nodes."""

from __future__ import annotations

import ast
import json
import os
import re
import sys
from itertools import count
from pathlib import Path
from typing import Any

import trio
from cryptography.fernet import Fernet

from tests.integration.manual_retry import FederatedLearningClient
from tests.integration.posting import HOSPITALS, Posting, patient, posting

PAGE = Path(__file__).parents[2] / "docs" / "ehr.md"
HASH = re.compile(r"[0-9a-f]{64}")

#: What the manual's own tests send: hardly anything, and ``id`` is as good as ``patient_id``.
MINIMAL: tuple[dict[str, Any], ...] = (
    {"patient_id": "PATIENT_101", "age": 30, "symptoms": ["test"], "diagnosis": "test"},
    {"id": "PATIENT_102", "age": 31, "symptoms": ["test"], "diagnosis": "test"},
)


def the_manuals_script() -> str:
    """The one script of docs/ehr.md."""
    (script,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return str(script)


async def run_script(script: Path, directory: Path, **environment: str) -> str:
    """Run a script as a data team does: it knows Python, requests and cryptography alone."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("SECAGG_")}
    result = await trio.run_process(
        [sys.executable, "-I", str(script)],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        cwd=directory,
        env={**inherited, **{f"SECAGG_{name}": value for name, value in environment.items()}},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.decode()


def has_result(answer: dict[str, Any], number: int) -> None:
    assert answer.keys() == {"round", "participants", "model_hash"}
    assert (answer["round"], answer["participants"]) == (number, 3)
    assert HASH.fullmatch(answer["model_hash"])


async def test_the_manuals_script_while_the_others_batches_are_queued(tmp_path: Path) -> None:
    anna, *others = HOSPITALS
    script = tmp_path / "submit.py"
    script.write_text(the_manuals_script())
    async with posting(tmp_path, api__answer_deadline="1") as made:
        key = tmp_path / "my.key"
        key.write_bytes(Fernet.generate_key() + b"\n")
        key.chmod(0o600)
        await made.serve(gathering_window=30)
        await made.join(*others)
        await made.join(anna, ehr__fernet_key_file=str(key), api__answer_deadline="60")
        for number, name in enumerate(others, start=1):
            answer = await made.post(name, made.body(name, 1, [MINIMAL[number - 1]]))
            hospitals = "1 hospital" if number == 1 else "2 hospitals"
            assert answer.status_code == 200
            assert answer.json() == {
                "round": 1,
                "participants": number,
                "warning": f"Only {hospitals} participated. Waiting for more.",
            }
        settings = {"NODE": made.url(anna), "FERNET_KEY": str(key)}
        printed = await run_script(script, tmp_path, ROUND="1", **settings)
        (logged,) = (tmp_path / "federated_learning.log").read_text().splitlines()
        result = json.loads(logged)
        has_result(result, 1)
        assert printed == f"1 3 {result['model_hash']}\n"
        # The same again, encrypted anew, by whom it was posted before or not: the same answer.
        assert await run_script(script, tmp_path, ROUND="1", **settings) == printed
        for number, name in enumerate(others, start=1):
            answer = await made.post(name, made.body(name, 1, [MINIMAL[number - 1]]))
            assert answer.json() == result
        for name in HOSPITALS:
            events = [line["event"] for line in made.audited(name)]
            assert events.count("privacy charged") == 1
            assert [each["round"] for each in (await made.get(name, "/status"))["rounds"]] == [1]


async def test_three_post_at_once(tmp_path: Path) -> None:
    async with posting(tmp_path) as made:
        await made.serve(gathering_window=30)
        await made.join(*HOSPITALS)
        hashes = []
        # Numbers may have gaps, and a batch counts for every later one, too.
        for numbers, used in (((1, 1, 1), 1), ((4, 4, 4), 4), ((9, 5, 7), 9)):
            answers = await post_at_once(made, numbers)
            for answer in answers:
                has_result(answer, used)
            assert answers[0] == answers[1] == answers[2]
            hashes.append(answers[0]["model_hash"])
        assert len(set(hashes)) == 3


async def post_at_once(made: Posting, numbers: tuple[int, ...]) -> list[dict[str, Any]]:
    """What the hospitals are answered, each for a batch of its own under a number of its own."""
    answers: list[dict[str, Any]] = []

    async def post(name: str, number: int, position: int) -> None:
        records = [patient(100 * number + 10 * position + i) for i in range(2)]
        answer = await made.post(name, made.body(name, number, records))
        assert answer.status_code == 200, answer.text
        answers.append(answer.json())

    async with trio.open_nursery() as nursery:
        for position, (name, number) in enumerate(zip(HOSPITALS, numbers, strict=True)):
            nursery.start_soon(post, name, number, position)
    return answers


async def run_scheduled(loop: FederatedLearningClient) -> None:
    """Run every scheduled job now, in a thread of its own."""
    await trio.to_thread.run_sync(loop.scheduler.run_all)


async def test_the_manuals_loop_with_other_patients_at_each_try(tmp_path: Path) -> None:
    anna, *others = HOSPITALS
    numbers = count(1)
    async with posting(tmp_path, api__connect_deadline="0.5") as made:
        await made.join(anna)  # and there is no server yet
        key = (made.home(anna) / "fernet.key").read_bytes().strip()
        loop = FederatedLearningClient(
            made.url(anna), key, lambda: [patient(next(numbers)) for _ in range(2)]
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_scheduled, loop)
            while 503 not in loop.statuses:
                await trio.sleep(0.05)
            assert loop.current_round == 1
            await made.leave(anna)
            made.port = 0
            await made.serve(gathering_window=30)
            port = loop.url.rsplit(":", 1)[1]
            await made.join(anna, api__port=port, api__answer_deadline="60")
            await made.join(*others)
            for name in others:
                nursery.start_soon(made.post, name, made.body(name, 1, [patient(500)]))
        has_result(loop.results[0], 1)
        assert loop.statuses[-1] == 200
        assert set(loop.statuses[:-1]) <= {503, 409}
        assert loop.current_round == 2
        # A number that is over, as after a restart of the script: the result, and on it goes.
        loop.current_round = 1
        await run_scheduled(loop)
        assert loop.results[1]["model_hash"] == loop.results[0]["model_hash"]
        assert "go on with round number 2" in loop.results[1]["warning"]
        assert loop.current_round == 2


def test_the_script_needs_nothing_of_secagg() -> None:
    imported = {
        (each.names[0].name if isinstance(each, ast.Import) else str(each.module)).partition(".")[0]
        for each in ast.walk(ast.parse(the_manuals_script()))
        if isinstance(each, ast.Import | ast.ImportFrom)
    }
    assert imported == {"cryptography", "hashlib", "json", "os", "requests"}
