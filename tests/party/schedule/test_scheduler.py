"""Scheduled runs, from the clock to the queue of a real node; the time is the tests' own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from cryptography.fernet import Fernet
from structlog.testing import capture_logs
from trio.testing import MockClock

from party.backoff import Backoff
from party.client import View
from party.node import Node
from party.queue import Queue, State, Submission
from party.schedule.diary import Diary
from party.schedule.outbox import Outbox
from party.schedule.scheduler import FIRST_PAUSE, LONGEST_PAUSE, SETTLING, Scheduler
from party.schedule.source import Claimed, Stamp
from party.schedule.timetable import Timetable
from party.submission.admission import Admission
from party.submission.posted import Posted
from secagg.crypto.randomness import SeededRandomness
from tests.party.consortium import Consortium, Party, posted
from tests.party.ehr import body

SUNDAYS = "0 2 * * 0"
START = datetime(2026, 2, 28, 20, tzinfo=UTC)
DUE = timedelta(hours=6).total_seconds()
WEEK = timedelta(weeks=1).total_seconds()
RETRIES = 2


class Lost(Exception):
    """The process dies here."""


@dataclass
class Timed:
    """The node, with the seconds at which something was submitted to it."""

    node: Node
    at: list[float] = field(default_factory=list)

    @property
    def view(self) -> View:
        return self.node.view

    async def submit(self, batch: Posted) -> Submission:
        self.at.append(trio.current_time())
        return await self.node.submit(batch)


@dataclass
class Watched:
    """An outbox, with the seconds at which it was looked into, and what happens meanwhile."""

    outbox: Outbox
    at: list[float] = field(default_factory=list)
    meanwhile: Iterator[Callable[[], object]] = field(default_factory=lambda: iter(()))
    dies: bool = False

    def found(self) -> Mapping[str, Stamp]:
        self.at.append(trio.from_thread.run_sync(trio.current_time))
        next(self.meanwhile, list)()
        return self.outbox.found()

    def claim(self, name: str, number: int, due: datetime) -> Claimed:
        return self.outbox.claim(name, number, due)

    def handed_over(self, claimed: Claimed) -> None:
        if self.dies:
            raise Lost
        self.outbox.handed_over(claimed)


@dataclass
class Setting:
    """One hospital that runs by itself, from its folder."""

    party: Party
    queue: Queue
    node: Timed
    source: Watched
    folder: Path
    fernet: Fernet
    ahead: timedelta = timedelta(0)

    def leave(self, *names: str) -> None:
        """Put a batch into the folder under each name; no two are the same."""
        for name in names:
            record = {"patient_id": name, "age": 45, "diagnosis": "test"}
            (self.folder / name).write_text(json.dumps(body(self.fernet, [record])))

    def clock(self) -> datetime:
        return START + timedelta(seconds=trio.current_time()) + self.ahead

    def diary(self) -> Diary:
        return Diary(self.party.engine, SUNDAYS)

    def files(self, directory: str) -> list[str]:
        return sorted(each.name for each in (self.folder / directory).iterdir())

    def scheduler(self) -> Scheduler:
        def backoff() -> Backoff:
            return Backoff(FIRST_PAUSE, LONGEST_PAUSE, SeededRandomness(b"pauses"))

        timetable = Timetable(SUNDAYS, UTC)
        return Scheduler(
            timetable,
            self.diary(),
            self.source,
            self.node,
            self.queue,
            RETRIES,
            backoff,
            self.clock,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.scheduler().run)
            yield
            nursery.cancel_scope.cancel()

    async def run_ends(self, number: int = 1) -> None:
        """Run until the end of the run after ``number - 1`` others, and stop."""
        over = 0
        known = await trio.to_thread.run_sync(self.diary().done_until, self.clock())
        async with self.running():
            while over < number:
                await trio.sleep(1)
                done = await trio.to_thread.run_sync(self.diary().done_until, self.clock())
                over += done != known
                known = done


@pytest.fixture
def setting(posting: Consortium, folder: Path, admission: Admission, fernet: Fernet) -> Setting:
    party = posting.parties[1]
    assert party.queue is not None

    async def unreachable() -> trio.SocketStream:
        raise OSError

    backoff = Backoff(1, 1, SeededRandomness(b"reconnect"))
    node = Node(party.client, party.queue, posting.policy.digest(), unreachable, backoff)
    source = Watched(Outbox(folder, admission, 10_000))
    return Setting(party, party.queue, Timed(node), source, folder, fernet)


async def test_what_lies_there_is_handed_over_when_it_is_due(
    setting: Setting, autojump_clock: MockClock
) -> None:
    setting.leave("b.json", "a.json")
    await setting.run_ends()
    assert min(setting.node.at) >= DUE + SETTLING
    assert setting.files("done") == ["000000001-a.json", "000000002-b.json"]
    queued = setting.queue.submissions()
    assert [(each.number, each.state, each.patients) for each in queued] == [
        (1, State.QUEUED, 1),
        (2, State.QUEUED, 1),
    ]


async def test_a_run_is_made_each_time(setting: Setting, autojump_clock: MockClock) -> None:
    async with setting.running():
        for week, name in enumerate(["a.json", "b.json"]):
            setting.leave(name)
            while len(setting.node.at) <= week:
                await trio.sleep(60)
    first, second = setting.node.at
    assert first >= DUE + SETTLING
    assert second >= DUE + WEEK + SETTLING


async def test_runs_that_were_missed_are_made_up_for_by_one(
    setting: Setting, autojump_clock: MockClock
) -> None:
    setting.diary().finish(START - timedelta(weeks=3))
    setting.leave("a.json")
    await setting.run_ends()
    assert setting.node.at[0] < DUE
    setting.leave("b.json")
    await setting.run_ends()
    assert setting.node.at[1] >= DUE + SETTLING
    assert len(setting.node.at) == 2


async def test_what_was_due_before_the_first_start_is_not_made_up_for(
    setting: Setting, autojump_clock: MockClock
) -> None:
    setting.leave("a.json")
    await setting.run_ends()
    assert setting.node.at[0] >= DUE


async def test_a_clock_that_is_set_is_noticed(setting: Setting, autojump_clock: MockClock) -> None:
    setting.leave("a.json")
    async with setting.running():
        await trio.sleep(600)
        assert setting.node.at == []
        setting.ahead = timedelta(hours=6)
        while not setting.node.at:
            await trio.sleep(1)
    assert setting.node.at[0] < DUE


async def test_a_file_that_is_being_written_is_left_until_it_is_whole(
    setting: Setting, autojump_clock: MockClock
) -> None:
    setting.leave("a.json", "b.json")
    growing = setting.folder / "a.json"
    whole = growing.read_text()
    growing.write_text(whole[:20])
    setting.source.meanwhile = iter([list, lambda: growing.write_text(whole)])
    with capture_logs() as logs:
        await setting.run_ends()
    assert setting.files("done") == ["000000001-b.json", "000000002-a.json"]
    assert setting.files("refused") == []
    (failed,) = (each for each in logs if each["event"] == "scheduled run failed")
    assert failed["reason"] == "1 files are still being written, the first is a.json"
    # It waited for the pause and then looked again.
    assert setting.source.at[2] - setting.source.at[1] >= FIRST_PAUSE / 2


async def test_a_run_that_fails_is_tried_again_with_growing_pauses_and_then_given_up(
    setting: Setting, autojump_clock: MockClock
) -> None:
    setting.folder.rename(setting.folder.with_name("elsewhere"))
    with capture_logs() as logs:
        await setting.run_ends()
    first, second, third = setting.source.at
    assert first >= DUE
    assert second - first >= FIRST_PAUSE / 2
    assert third - second >= FIRST_PAUSE
    events = [each["event"] for each in logs if each["log_level"] in ("warning", "error")]
    assert events == ["scheduled run failed"] * (RETRIES + 1) + ["scheduled run given up"]
    # The next one does not know of it.
    setting.folder.with_name("elsewhere").rename(setting.folder)
    setting.leave("a.json")
    await setting.run_ends()
    assert setting.files("done") == ["000000001-a.json"]


async def test_an_empty_folder_is_no_failure(setting: Setting, autojump_clock: MockClock) -> None:
    await setting.run_ends()
    assert len(setting.source.at) == 1
    assert setting.node.at == []


async def test_a_refused_batch_does_not_hold_up_the_others(
    setting: Setting, autojump_clock: MockClock
) -> None:
    setting.leave("a.json", "c.json")
    (setting.folder / "b.json").write_text("{}")
    await setting.run_ends()
    assert setting.files("done") == ["000000001-a.json", "000000002-c.json"]
    assert setting.files("refused") == ["000000002-b.json", "000000002-b.json.reason.txt"]


async def test_what_the_queue_has_no_room_for_waits(
    setting: Setting, autojump_clock: MockClock
) -> None:
    setting.leave(*(f"{i}.json" for i in range(6)))
    await setting.run_ends()
    assert len(setting.files("done")) == 4
    assert setting.files("taken") == ["000000005-4.json"]
    assert (setting.folder / "5.json").exists()
    # A batch makes room, and the next run goes on where this one was.
    with setting.party.engine.begin() as connection:
        setting.queue.withdraw(connection, ())
    await setting.run_ends()
    assert len(setting.files("done")) == 6
    numbers = [each.number for each in setting.queue.submissions() if each.state is State.QUEUED]
    assert numbers == [5, 6]


async def test_a_batch_takes_no_number_that_the_ehr_has_posted_for(
    setting: Setting, autojump_clock: MockClock
) -> None:
    await setting.node.node.submit(posted(7))
    setting.leave("a.json")
    await setting.run_ends()
    assert setting.files("done") == ["000000008-a.json"]
    assert [each.state for each in setting.queue.submissions()] == [State.QUEUED] * 2


async def test_a_hospital_that_has_left_submits_nothing(
    setting: Setting, autojump_clock: MockClock
) -> None:
    await setting.node.node.leave()
    setting.leave("a.json")
    with capture_logs() as logs:
        await setting.run_ends()
    assert (setting.folder / "a.json").exists()
    assert setting.queue.submissions() == ()
    reasons = [each["reason"] for each in logs if each["event"] == "scheduled run failed"]
    assert "take part again first" in reasons[0]
    await setting.node.node.return_()
    await setting.run_ends()
    assert setting.files("done") == ["000000001-a.json"]


async def test_a_process_that_dies_submits_nothing_twice(
    setting: Setting, autojump_clock: MockClock
) -> None:
    setting.leave("a.json")
    setting.source.dies = True
    with pytest.RaisesGroup(Lost, flatten_subgroups=True):
        await setting.run_ends()
    assert setting.files("taken") == ["000000001-a.json"]
    setting.source.dies = False
    setting.leave("0.json")
    await setting.run_ends()
    assert setting.files("done") == ["000000001-a.json", "000000002-0.json"]
    assert [each.number for each in setting.queue.submissions()] == [1, 2]


async def test_a_schedule_that_is_never_due_ends(
    setting: Setting, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Timetable, "after", lambda *_: None)
    with capture_logs() as logs:
        await setting.scheduler().run()
    assert logs[-1]["event"] == "no scheduled run"
