"""SIGKILL to a node whose EHR posts, at every point after the charge: what it owes and keeps."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import trio

from party.rehearsal import LossPoint
from secagg import policy
from secagg.transcript.record import Transcript, decode
from tests.integration.posting import HOSPITALS, Posting, patient, posting

VICTIM = "dora"
#: The process kills itself as soon as this much has left it.
POINTS = (
    LossPoint.CHARGED,
    LossPoint.MASKED_INPUT,
    LossPoint.CONSISTENCY_CHECK,
    LossPoint.UNMASKING,
    LossPoint.CERTIFICATION,
)
#: It is killed from outside, whatever it does by then, once its audit log has this line.
EVENTS = ("privacy charged", "answer released")


@dataclass(frozen=True, slots=True)
class Kept:
    """What a node's database says, read beside the node."""

    path: Path

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()

    def charges(self) -> list[tuple[int, bytes]]:
        """(round, session) of every charge."""
        return self.rows("SELECT round, session FROM charges ORDER BY id")

    def submissions(self) -> dict[int, tuple[str, int | None, bytes | None]]:
        """(state, round, session) of every submission, by the number it was posted for."""
        found = self.rows("SELECT number, state, round, session FROM submissions")
        return {number: (state, entered, session) for number, state, entered, session in found}

    def payloads(self) -> int:
        ((count,),) = self.rows("SELECT count(*) FROM submission_payloads")
        return int(count)


@dataclass(slots=True)
class Drill:
    """One hospital that is killed again and again, among three that are not."""

    made: Posting
    kept: Kept
    number: int = 0

    def body(self, name: str) -> dict[str, Any]:
        hospital = (*HOSPITALS, VICTIM).index(name)
        return self.made.body(name, self.number, [patient(10 * self.number + hospital)])

    async def round(self, event: str | None = None) -> dict[str, Any]:
        """One round in which the victim dies; returns what its EHR had posted.

        ``event``: the line of its audit log upon which it is killed; None: it kills itself.
        """
        self.number += 1
        posted = self.body(VICTIM)
        lines = 0 if event is None else self.count(event)

        async def others(name: str) -> None:
            answer = await self.made.post(name, self.body(name))
            assert "model_hash" in answer.json(), answer.text

        async def victim() -> None:
            try:
                answer = await self.made.post(VICTIM, posted)
            except requests.ConnectionError:
                return
            # The others' certificate may have come before the signal.
            assert answer.status_code == 200

        async with trio.open_nursery() as nursery:
            nursery.start_soon(victim)
            for name in HOSPITALS:
                nursery.start_soon(others, name)
            if event is not None:
                while self.count(event) == lines:
                    await trio.sleep(0.002)
                self.made.nodes[VICTIM].process.kill()
            await self.made.lost(VICTIM)
        return posted

    def count(self, event: str) -> int:
        log = self.made.home(VICTIM) / "state" / "audit.jsonl"
        return log.read_text().count(f'"event":"{event}"')

    def transcripts(self) -> list[Transcript]:
        """The server's record of every attempt."""
        files = (self.made.created.server.parent / "state" / "transcripts").glob("*.transcript")
        return [decode(file.read_bytes()) for file in sorted(files)]


async def test_killed_anywhere_after_the_charge(tmp_path: Path) -> None:
    async with posting(
        tmp_path, *HOSPITALS, VICTIM, timeout=420, epsilon="30", api__answer_deadline="60"
    ) as made:
        drill = Drill(made, Kept(made.home(VICTIM) / "state" / "party.sqlite3"))
        await made.serve(stage_deadline=2, gathering_window=20)
        await made.join(*HOSPITALS)
        bodies: dict[int, dict[str, Any]] = {}
        spent = -1.0
        for number, kill in enumerate((*POINTS, *EVENTS), start=1):
            itself = LossPoint(kill) if isinstance(kill, LossPoint) else None
            await made.join(VICTIM, lost=None if itself is None else (itself, number))
            spent = await increased(made, spent)
            bodies[number] = await drill.round(None if itself else str(kill))
            charged_round, session = drill.kept.charges()[-1]
            assert charged_round == number, kill
            if itself is not None:
                # Nothing is certified here yet, so the batch that entered is not used, nor lost.
                entered = [each for each in drill.kept.submissions().values() if each[2] == session]
                assert entered == [("queued", number, session)]
        await made.join(VICTIM)
        await increased(made, spent)
        await drained(drill)
        check_the_books(drill)
        for number, body in bodies.items():
            # Whoever asks again is told the round that has this very batch.
            answer = (await made.post(VICTIM, body)).json()
            assert "warning" not in answer
            assert answer["round"] == drill.kept.submissions()[number][1]
            assert len(answer["model_hash"]) == 64


async def test_killed_and_away_while_the_others_go_on(tmp_path: Path) -> None:
    """It gets the certificate of a later round only, and asks for what it missed."""
    async with posting(tmp_path, *HOSPITALS, VICTIM, timeout=180) as made:
        drill = Drill(made, Kept(made.home(VICTIM) / "state" / "party.sqlite3"))
        await made.serve(stage_deadline=2, gathering_window=6)
        await made.join(*HOSPITALS)
        await made.join(VICTIM, lost=(LossPoint.MASKED_INPUT, 1))
        body = await drill.round()
        await others_post(drill)
        await made.join(VICTIM)
        while "warning" in (answer := (await made.post(VICTIM, body)).json()):
            await trio.sleep(0.05)  # the server has not answered yet
        assert (answer["round"], answer["participants"]) == (1, 4)
        ((number, session),) = drill.kept.charges()
        assert drill.kept.submissions() == {1: ("used", number, session)}
        assert "certified meanwhile" in made.nodes[VICTIM].log.read_text()


async def increased(made: Posting, before: float) -> float:
    """What the restarted node says is spent: more than ``before`` the kill."""
    budget: Mapping[str, float] = await made.get(VICTIM, "/privacy-budget")
    assert budget["epsilon_used"] > before
    return budget["epsilon_used"]


async def drained(drill: Drill) -> None:
    """Go on until nothing is left in the victim's queue."""
    while any(state == "queued" for state, _, _ in drill.kept.submissions().values()):
        await others_post(drill)


async def others_post(drill: Drill) -> None:
    """One more round for all but the victim, unless it has something in its queue."""
    drill.number += 1
    async with trio.open_nursery() as nursery:
        for name in HOSPITALS:
            nursery.start_soon(drill.made.post, name, drill.body(name))


def check_the_books(drill: Drill) -> None:
    """No submission is lost or used twice; no session is charged twice, nor holds two vectors."""
    kept, made = drill.kept, drill.made
    submissions = kept.submissions()
    assert sorted(submissions) == list(range(1, len(POINTS) + len(EVENTS) + 1))
    assert {state for state, _, _ in submissions.values()} == {"used"}
    assert kept.payloads() == 0
    rounds = [entered for _, entered, _ in submissions.values()]
    assert len(set(rounds)) == len(rounds)
    charged = Counter(session for _, session in kept.charges())
    assert set(charged.values()) == {1}
    for _, _, session in submissions.values():
        assert session is not None
        assert charged[session] == 1

    pinned = policy.load((made.home(VICTIM) / "policy.json").read_bytes())
    u = pinned.client(VICTIM)
    masked: dict[bytes, set[bytes]] = {}
    survived: set[bytes] = set()
    for transcript in drill.transcripts():
        session = transcript.attempt.session
        for record in transcript.masked_inputs:
            if record.u == u:
                masked.setdefault(session, set()).add(record.masked_digest)
        if transcript.published is not None and u in transcript.published.u3:
            survived.add(session)
    assert all(len(digests) == 1 for digests in masked.values())
    assert len(set.union(*masked.values())) == len(masked)
    assert masked.keys() <= charged.keys()
    # What was released is what is used, each by a charge of its own.
    assert survived == {session for _, _, session in submissions.values()}
    assert "violation" not in (made.server.log.read_text() if made.server else "")
