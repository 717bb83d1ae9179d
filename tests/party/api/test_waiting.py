"""Waiting with many requests for what becomes of their submissions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from sqlalchemy import Engine, event

from party.api.answers import Answer, Refusal
from party.api.services import Services
from party.api.waiting import Waiting
from party.config import Api
from tests.party.api.serving import services
from tests.party.consortium import Consortium, Posting, assemble, posted


@pytest.fixture
def queued(tmp_path: Path) -> Iterator[Consortium]:
    """Four hospitals, the first of which has a queue."""
    made = assemble(tmp_path)
    made.parties[1].posting = Posting()
    made.parties[1].restart()
    yield made
    made.close()


def waiting(consortium: Consortium, **settings: Any) -> tuple[Services, Waiting]:
    made = services(consortium, Api(port=0, **settings))
    assert made.queue is not None
    return made, Waiting(made, made.queue)


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    """The statements about submissions that ``engine`` executes meanwhile."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "FROM submissions" in statement:
            seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


async def test_who_waits_is_woken_by_the_round(queued: Consortium) -> None:
    made, desk = waiting(queued)
    submission = await made.node.submit(posted(1))
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            answers: list[Answer | Refusal] = []

            async def wait() -> None:
                answers.append(await desk.answer(submission, 60))

            for _ in range(20):
                nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await trio.to_thread.run_sync(queued.round, 1)
            with counted(queued.parties[1].engine) as statements:
                # The node's own next step; in this test rounds go on without it.
                await made.node.submit(posted(1))
                while len(answers) < 20:
                    await trio.sleep(0.01)
    certificate = made.journal.certificate
    assert certificate is not None
    expected = Answer(round=1, participants=4, model_hash=certificate.model_hash.hex())
    assert answers == [expected] * 20
    # Twenty ask, and the step itself looks a few times: what it changed is read once.
    assert len(statements) < 10


async def test_patience_ends_before_anybody_comes(queued: Consortium) -> None:
    made, desk = waiting(queued, connect_deadline=30)
    submission = await made.node.submit(posted(1))
    with trio.fail_after(20):
        said = await desk.answer(submission, 0.05)
    assert isinstance(said, Answer)
    assert said.warning == "Only 1 hospital participated. Waiting for more."


async def test_a_server_out_of_reach_ends_it_sooner(queued: Consortium) -> None:
    made, desk = waiting(queued, connect_deadline=0.05)
    submission = await made.node.submit(posted(1))
    with trio.fail_after(20):
        said = await desk.answer(submission, 3600)
    assert isinstance(said, Refusal)
    assert said.status == 503


async def test_a_connection_that_comes_back_is_waited_with(queued: Consortium) -> None:
    made, desk = waiting(queued, connect_deadline=0.5)
    submission = await made.node.submit(posted(1))
    made.node.connected = True
    with trio.fail_after(20):
        said = await desk.answer(submission, 1.5)
    assert isinstance(said, Answer)
    assert said.warning is not None


async def test_what_replaces_a_batch_is_told_to_who_waits_for_it(queued: Consortium) -> None:
    made, desk = waiting(queued)
    submission = await made.node.submit(posted(1))
    await made.node.submit(posted(1, vector=(5, 4, 3, 2, 1, 16)))
    said = await desk.answer(submission, 60)
    assert isinstance(said, Refusal)
    assert said.status == 409
