"""The queue: what a posted number means, what becomes of a batch, and what is erased when."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from numpy.typing import NDArray
from sqlalchemy import URL, Connection, Engine, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from party.batches import BatchError, Progress, SetAside
from party.database import open_database
from party.journal import Journal
from party.models import ModelStore
from party.queue import (
    PAYLOADS,
    SESSIONS,
    SUBMISSIONS,
    InFlight,
    NumberTooFar,
    Queue,
    QueueFull,
    State,
    Submission,
)
from party.submission.posted import Posted
from secagg.context import Attempt
from secagg.model import Model, initial
from secagg.rounds.journal import Abandoned, Certified, Charged, Entered, Entry
from secagg.rounds.r0_advertise_keys import MAX_ROUND_GAP
from secagg.wire.messages import Certificate, Signed
from tests.party.consortium import SPEC

U, LIMIT = 2, 4
MODEL: Model = initial(SPEC)


@dataclass(slots=True)
class Bytes:
    """A training whose contribution is the payload's own bytes; ``unreadable`` payloads fail."""

    unreadable: set[bytes] = field(default_factory=set)

    def contribution(self, kind: str, payload: bytes, model: Model) -> NDArray[np.int64]:
        if payload in self.unreadable:
            raise BatchError("no key of this node opens it")
        return np.frombuffer(payload, np.uint8).astype(np.int64)


def posted(number: int, content: str = "a", tokens: str = "") -> Posted:
    """``content`` tells batches apart; ``tokens`` two encryptions of one batch."""
    payload = f"CIPHERTEXT {number} {content} {tokens}".encode() * 20
    digest = f"{number} {content}".encode().ljust(32)
    return Posted(
        number=number,
        kind="records",
        digest=digest,
        payload=payload,
        patients=len(content),
        encrypted_bytes=len(payload),
    )


def attempt(number: int, which: int = 1) -> Attempt:
    nonce = number.to_bytes(16, "big") + which.to_bytes(16, "big")
    return Attempt(bytes(32), number, which, bytes(32), nonce)


def certificate(it: Attempt, u3: tuple[int, ...]) -> Certificate:
    return Certificate(
        policy_digest=it.policy_digest,
        round=it.round,
        attempt=it.attempt,
        base_model_hash=it.base_model_hash,
        server_nonce=it.server_nonce,
        u2_hash=bytes(32),
        u3=u3,
        sum_digest=bytes(32),
        model_hash=it.round.to_bytes(32, "big"),
        signatures=(Signed(1, bytes(64)),),
    )


@dataclass(slots=True)
class Node:
    """A queue and the journal that it follows, on one database; what a client does with both."""

    engine: Engine
    training: Bytes = field(default_factory=Bytes)
    clock: Iterator[int] = field(default_factory=lambda: itertools.count(1000))
    queue: Queue = field(init=False)
    journal: Journal = field(init=False)
    engaged: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new process: nothing is live."""
        self.queue = Queue(
            self.engine, self.training, U, LIMIT, clock=lambda: float(next(self.clock))
        )
        self.journal = Journal(self.engine, None, ModelStore(self.engine), [self.queue])
        self.engaged = set()

    @property
    def progress(self) -> Progress:
        return Progress(self.journal.standing.closed, 0)

    def waiting(self) -> int | None:
        return self.queue.waiting(self.progress)

    def submit(self, batch: Posted) -> Submission:
        return self.queue.submit(batch, self.progress.closed, self.engaged)

    def enter(self, it: Attempt) -> Submission:
        """Take the batch that counts and enter; the attempt is live from here on."""
        taken = self.queue.take(it.round, self.progress, MODEL)
        assert taken.batch is not None
        self.journal.record((Entered(it),), batch=taken.batch)
        self.engaged = {it.session}
        return self.of(taken.batch)

    def lose(self) -> None:
        """The attempt dies without a word."""
        self.engaged = set()

    def certify(self, it: Attempt, *u3: int) -> None:
        self.record(Certified(certificate(it, u3)))

    def record(self, entry: Entry) -> None:
        self.journal.record((entry,))
        self.engaged = set()

    def of(self, submission: int) -> Submission:
        found = self.queue.submission(submission)
        assert found is not None
        return found

    def payloads(self) -> int:
        with self.engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(PAYLOADS)).scalar_one()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    engine = open_database(tmp_path / "party.sqlite3")
    yield Node(engine)
    engine.dispose()


# --- for which round a batch counts ---------------------------------------------------------------


def test_nothing_waits_in_an_empty_queue(node: Node) -> None:
    assert node.waiting() is None
    assert node.queue.submissions() == ()
    with pytest.raises(BatchError, match="no batch in the queue counts for round 1"):
        node.queue.take(1, node.progress, MODEL)


def test_a_batch_counts_for_its_number_and_later_ones(node: Node) -> None:
    node.submit(posted(5))
    assert node.waiting() == 5
    with pytest.raises(BatchError, match="counts for round 4"):
        node.queue.take(4, node.progress, MODEL)
    taken = node.queue.take(9, node.progress, MODEL)
    assert (taken.number, taken.batch) == (5, 1)
    assert bytes(taken.vector.astype(np.uint8)) == posted(5).payload


def test_what_is_closed_is_past(node: Node) -> None:
    node.submit(posted(5))
    node.record(Abandoned(7))
    assert node.waiting() == 8
    assert node.queue.take(8, node.progress, MODEL).number == 8


def test_the_lowest_number_comes_first_and_gaps_do_not_matter(node: Node) -> None:
    for number in (9, 3, 700):
        node.submit(posted(number))
    used = []
    while (waiting := node.waiting()) is not None:
        used.append(node.enter(attempt(waiting)).number)
        node.certify(attempt(waiting), 1, U, 3)
    assert used == [3, 9, 700]
    assert node.journal.standing.closed == 700


def test_a_number_behind_still_comes_first(node: Node) -> None:
    node.record(Abandoned(6))
    node.submit(posted(8))
    node.submit(posted(2))
    assert node.waiting() == 7
    assert node.enter(attempt(7)).number == 2


def test_a_number_out_of_reach_is_refused(node: Node) -> None:
    node.record(Abandoned(6))
    node.submit(posted(6 + MAX_ROUND_GAP))
    with pytest.raises(NumberTooFar, match="the last finished one is 6"):
        node.submit(posted(6 + MAX_ROUND_GAP + 1))


# --- posting again --------------------------------------------------------------------------------


def test_the_same_batch_again_is_the_same_submission(node: Node) -> None:
    first = node.submit(posted(5, tokens="encrypted once"))
    again = node.submit(posted(5, tokens="encrypted anew"))
    assert again == replace(first, repeated=True)
    assert not first.repeated
    assert node.payloads() == 1
    assert node.queue.take(5, node.progress, MODEL).vector.tolist() == list(
        posted(5, tokens="encrypted once").payload
    )


def test_what_was_taken_out_unused_is_not_known(node: Node) -> None:
    batch = posted(1)
    assert not node.queue.knows(batch.digest)
    node.submit(batch)
    assert node.queue.knows(batch.digest)
    node.submit(posted(1, "b"))
    assert not node.queue.knows(batch.digest)


def test_the_same_patients_under_another_number_are_another_batch(node: Node) -> None:
    one, other = node.submit(posted(5)), node.submit(posted(6))
    assert one.id != other.id
    assert not other.repeated


def test_other_data_replace_what_waits_under_a_number(node: Node) -> None:
    first = node.submit(posted(5, "a"))
    second = node.submit(posted(5, "bb"))
    assert second.replaced
    assert not second.repeated
    assert node.of(first.id).state is State.REPLACED
    assert node.of(first.id).finished_at is not None
    assert node.payloads() == 1
    assert node.enter(attempt(5)).id == second.id


def test_a_replaced_batch_may_come_back(node: Node) -> None:
    first = node.submit(posted(5, "a"))
    second = node.submit(posted(5, "b"))
    back = node.submit(posted(5, "a"))
    assert (back.id, back.state, back.replaced, back.repeated) == (
        first.id, State.QUEUED, True, False,
    )  # fmt: skip
    assert node.of(second.id).state is State.REPLACED
    assert node.enter(attempt(5)).id == first.id


def test_what_is_in_flight_is_not_replaced(node: Node) -> None:
    first = node.submit(posted(5, "a"))
    node.enter(attempt(5))
    with pytest.raises(InFlight, match="round 5 is in a round that is being computed"):
        node.submit(posted(5, "b"))
    assert node.submit(posted(5, "a")).id == first.id
    assert node.of(first.id).state is State.QUEUED
    node.submit(posted(6, "b"))


def test_a_batch_whose_attempt_died_is_free_again(node: Node) -> None:
    first = node.submit(posted(5, "a"))
    node.enter(attempt(5))
    node.lose()
    assert node.enter(attempt(5, 2)).id == first.id
    node.lose()
    assert node.submit(posted(5, "b")).replaced
    assert node.of(first.id).state is State.REPLACED


def test_a_used_number_takes_other_data_for_a_later_round(node: Node) -> None:
    first = node.submit(posted(5, "a"))
    node.enter(attempt(5))
    node.certify(attempt(5), 1, U, 3)
    second = node.submit(posted(5, "b"))
    assert not second.replaced
    assert node.waiting() == 6
    assert node.submit(posted(5, "a")) == replace(node.of(first.id), repeated=True)
    assert node.enter(attempt(6)).id == second.id


def test_a_full_queue_takes_replacements_and_repetitions_only(node: Node) -> None:
    for number in range(1, LIMIT + 1):
        node.submit(posted(number))
    with pytest.raises(QueueFull, match=f"{LIMIT} batches wait already"):
        node.submit(posted(LIMIT + 1))
    assert node.submit(posted(1)).repeated
    assert node.submit(posted(2, "b")).replaced
    node.enter(attempt(1))
    node.certify(attempt(1), 1, U, 3)
    node.submit(posted(LIMIT + 1))


def test_the_database_itself_holds_one_waiting_batch_for_each_number(node: Node) -> None:
    node.submit(posted(5, "a"))
    second = node.submit(posted(6, "b"))
    move = update(SUBMISSIONS).where(SUBMISSIONS.c.id == second.id).values(number=5)
    with pytest.raises(IntegrityError), node.engine.begin() as connection:
        connection.execute(move)


# --- what is used ---------------------------------------------------------------------------------


def test_only_a_survivors_batch_is_used(node: Node) -> None:
    batch = node.submit(posted(5))
    node.enter(attempt(5))
    node.certify(attempt(5), 1, 3, 4)  # without this hospital
    assert node.of(batch.id).state is State.QUEUED
    assert node.waiting() == 6
    node.enter(attempt(6))
    node.certify(attempt(6), 1, U, 4)
    used = node.of(batch.id)
    assert (used.state, used.round, used.session) == (State.USED, 6, attempt(6).session)
    assert used.finished_at is not None
    assert used.finished_at > used.submitted_at
    assert node.waiting() is None


def test_a_new_model_outdates_the_updates_of_an_old_one(node: Node) -> None:
    records = node.submit(posted(7))
    stale, later = (node.submit(replace(posted(n), kind="update")) for n in (5, 8))
    node.record(Abandoned(4))
    assert node.of(stale.id).state is State.QUEUED  # the model is the same still
    node.enter(attempt(5))
    node.certify(attempt(5), 1, 3, 4)  # without this hospital
    assert [node.of(each.id).state for each in (stale, later)] == [State.OUTDATED] * 2
    assert node.of(stale.id).finished_at is not None
    assert node.of(records.id).state is State.QUEUED
    assert node.payloads() == 1


def test_an_update_that_is_in_the_new_model_is_used(node: Node) -> None:
    batch = node.submit(replace(posted(5), kind="update"))
    node.enter(attempt(5))
    node.certify(attempt(5), 1, U, 4)
    assert node.of(batch.id).state is State.USED
    assert node.payloads() == 0


def test_a_certificate_of_another_attempt_uses_nothing(node: Node) -> None:
    batch = node.submit(posted(5))
    node.enter(attempt(5, 2))
    node.certify(attempt(5, 1), 1, U, 3)
    assert node.of(batch.id).state is State.QUEUED


def test_an_abandoned_round_uses_nothing(node: Node) -> None:
    batch = node.submit(posted(5))
    node.enter(attempt(5))
    node.record(Abandoned(5))
    assert node.of(batch.id).state is State.QUEUED
    assert node.waiting() == 6


@pytest.mark.parametrize("restarted", [False, True])
def test_an_attempt_given_up_for_dead_may_still_be_certified(node: Node, restarted: bool) -> None:
    """Its batch was in the sum, whatever took its place meanwhile."""
    first = node.submit(posted(5, "a"))
    node.enter(attempt(5))
    node.lose()
    second = node.submit(posted(5, "b"))
    node.enter(attempt(5, 2))
    if restarted:
        node.restart()
    node.certify(attempt(5, 1), 1, U, 3)
    assert node.of(first.id).state is State.USED
    assert node.of(second.id).state is State.QUEUED
    assert node.waiting() == 6
    assert node.submit(posted(5, "a")) == replace(node.of(first.id), repeated=True)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_batch_of_a_round_whose_end_was_missed_is_held_back(node: Node, restarted: bool) -> None:
    batch = node.submit(posted(5))
    node.enter(attempt(5))
    node.record(Charged(attempt(5), bytes(32)))
    assert node.waiting() == 5  # the round is open: another attempt of it may take the batch
    node.certify(attempt(8, 7), 1, 3, 4)
    if restarted:
        node.restart()
    assert node.queue.undecided(node.progress) == (5,)
    assert node.waiting() is None
    with pytest.raises(BatchError):
        node.queue.take(9, node.progress, MODEL)
    assert node.submit(posted(5)) == replace(node.of(batch.id), repeated=True)
    node.submit(posted(6))
    assert node.waiting() == 9


def in_doubt(node: Node) -> Submission:
    batch = node.submit(posted(5))
    node.enter(attempt(5))
    node.record(Charged(attempt(5), bytes(32)))
    node.certify(attempt(8, 7), 1, 3, 4)
    assert node.queue.undecided(node.progress) == (5,)
    return batch


def test_a_late_certificate_tells_that_it_was_used(node: Node) -> None:
    update = replace(posted(9, "update"), kind="update")
    batch = in_doubt(node)
    later = node.submit(update)
    node.certify(attempt(5), 1, U, 3)
    used = node.of(batch.id)
    assert (used.state, used.round) == (State.USED, 5)
    assert node.queue.undecided(node.progress) == ()
    assert node.of(later.id).state is State.QUEUED  # no newer model than the one it is for
    assert [held.round for held in node.journal.certificates] == [5, 8]
    node.restart()
    assert [held.round for held in node.journal.certificates] == [5, 8]
    assert node.journal.standing.closed == 8


@pytest.mark.parametrize(
    "end",
    [
        lambda node: node.queue.settle(5),
        lambda node: node.certify(attempt(5), 1, 3, 4),
        lambda node: node.certify(attempt(5, 2), 1, U, 3),
        lambda node: node.record(Abandoned(5)),
    ],
    ids=["nothing known", "not a survivor", "another attempt", "abandoned"],
)
def test_whatever_else_ended_the_round_it_is_free(node: Node, end: Callable[[Node], None]) -> None:
    batch = in_doubt(node)
    end(node)
    assert node.queue.undecided(node.progress) == ()
    assert node.enter(attempt(9)).id == batch.id


def test_what_was_never_masked_is_not_in_doubt(node: Node) -> None:
    node.submit(posted(5))
    node.enter(attempt(5))
    node.certify(attempt(8, 7), 1, 3, 4)
    assert node.queue.undecided(node.progress) == ()
    assert node.waiting() == 9


def test_what_a_session_carried_is_on_record(node: Node) -> None:
    batch = node.submit(posted(5))
    node.enter(attempt(5))
    node.restart()
    assert node.queue.batch_in(attempt(5).session) == batch.id
    assert node.queue.batch_in(attempt(5, 2).session) is None
    with (
        pytest.raises(IntegrityError, match="append-only"),
        node.engine.begin() as connection,
    ):
        connection.execute(delete(SESSIONS))


def test_entries_without_a_batch_mean_nothing_here(node: Node) -> None:
    node.journal.record((Entered(attempt(1)),))
    node.certify(attempt(1), 1, U, 3)
    assert node.queue.submissions() == ()


# --- what cannot be opened ------------------------------------------------------------------------


def test_a_batch_that_cannot_be_opened_holds_up_no_other(node: Node) -> None:
    bad, good = posted(3), posted(4)
    node.training.unreadable.add(bad.payload)
    node.submit(bad)
    node.submit(good)
    with pytest.raises(SetAside, match="posted for round 3: no key of this node opens it"):
        node.queue.take(3, node.progress, MODEL)
    assert node.waiting() == 4
    assert node.enter(attempt(4)).number == 4
    node.certify(attempt(4), 1, U, 3)
    assert node.waiting() is None
    assert node.of(1).state is State.QUEUED
    node.restart()  # with the key put back
    node.training.unreadable.clear()
    assert node.enter(attempt(5)).id == 1


def test_posted_anew_it_is_opened_by_its_new_encryption(node: Node) -> None:
    bad = posted(3, tokens="under a lost key")
    node.training.unreadable.add(bad.payload)
    first = node.submit(bad)
    with pytest.raises(SetAside):
        node.queue.take(3, node.progress, MODEL)
    again = node.submit(posted(3, tokens="under the new key"))
    assert (again.id, again.repeated) == (first.id, True)
    assert node.enter(attempt(3)).id == first.id


# --- what is erased -------------------------------------------------------------------------------


def used(node: Node) -> None:
    node.enter(attempt(5))
    node.certify(attempt(5), 1, U, 3)


def replaced(node: Node) -> None:
    node.submit(posted(5, "b"))


def withdrawn(node: Node) -> None:
    with node.engine.begin() as connection:
        assert node.queue.withdraw(connection, ()) == 1
    node.queue.committed()


@pytest.mark.parametrize("end", [used, replaced, withdrawn])
def test_a_payload_is_erased_from_every_file(
    node: Node, tmp_path: Path, end: Callable[[Node], None]
) -> None:
    batch = posted(5, "a")
    node.submit(batch)
    marker = batch.payload[:16]

    def files() -> list[str]:
        return [path.name for path in tmp_path.iterdir() if marker in path.read_bytes()]

    assert files()
    end(node)
    assert not files()
    assert node.of(1).encrypted_bytes == len(batch.payload)


def test_what_is_in_flight_is_not_withdrawn(node: Node) -> None:
    node.submit(posted(5))
    node.submit(posted(6))
    node.enter(attempt(5))

    def withdraw() -> int:
        with node.engine.begin() as connection:
            return node.queue.withdraw(connection, node.engaged)

    assert withdraw() == 1
    assert [each.state for each in node.queue.submissions()] == [State.QUEUED, State.WITHDRAWN]
    node.lose()
    assert withdraw() == 1
    assert node.waiting() is None
    back = node.submit(posted(6))
    assert (back.id, back.state, back.repeated) == (2, State.QUEUED, False)


def test_neither_payload_nor_digest_is_shown() -> None:
    batch = posted(5, "CANARY")
    assert "CANARY" not in repr(batch)


# --- on either database ---------------------------------------------------------------------------


def test_a_life_on_either_database(place: Path | URL) -> None:
    engine = open_database(place)
    node = Node(engine)
    first = node.submit(posted(1, "a"))
    node.submit(posted(1, "b"))
    node.enter(attempt(1))
    node.lose()
    node.submit(posted(1, "a"))
    node.certify(attempt(1), 1, U, 3)
    node.restart()
    assert [(each.id, each.state) for each in node.queue.submissions()] == [
        (first.id, State.QUEUED),
        (2, State.USED),
    ]
    assert node.submit(posted(1, "b")).repeated
    assert node.waiting() == 2
    assert node.payloads() == 1
    engine.dispose()


# --- any order of events --------------------------------------------------------------------------


@dataclass(slots=True)
class Expected:
    """What a model of the queue, without any database, says of one submission.

    ``round``: of the newest attempt. ``masked``: something of it has left, and how it ended is not
    known.
    """

    number: int
    state: State = State.QUEUED
    round: int = 0
    masked: bool = False


class AnyOrder(RuleBasedStateMachine):
    """Posts, attempts, deaths, certificates and restarts, in any order, against a model."""

    @initialize()
    def open(self) -> None:
        self.directory = TemporaryDirectory()
        self.node = Node(open_database(Path(self.directory.name) / "party.sqlite3"))
        self.expected: dict[bytes, Expected] = {}
        self.sessions: dict[int, list[tuple[Attempt, bytes]]] = {}
        self.live: Attempt | None = None
        self.carried = b""
        self.attempts = itertools.count(1)
        self.closed = 0
        for number in (2, 5):
            self.node.submit(posted(number, "a"))
            self.expected[posted(number, "a").digest] = Expected(number)

    def teardown(self) -> None:
        self.node.engine.dispose()
        self.directory.cleanup()

    def queued(self) -> list[bytes]:
        return [d for d, each in self.expected.items() if each.state is State.QUEUED]

    def in_doubt(self, digest: bytes) -> bool:
        each = self.expected[digest]
        return each.masked and each.round <= self.closed

    def usable(self) -> list[bytes]:
        return [digest for digest in self.queued() if not self.in_doubt(digest)]

    def doubted(self) -> list[int]:
        return sorted({self.expected[d].round for d in self.expected if self.in_doubt(d)})

    def closes(self, number: int) -> None:
        """Round ``number`` has ended, and how is known."""
        self.closed, self.live = max(self.closed, number), None
        for each in self.expected.values():
            each.masked &= each.round != number

    def uses(self, number: int, digest: bytes) -> None:
        self.expected[digest].state, self.expected[digest].round = State.USED, number

    @rule(number=st.integers(1, 9), content=st.sampled_from("abc"))
    def post(self, number: int, content: str) -> None:
        batch = posted(number, content)
        known = self.expected.get(batch.digest)
        if known is not None and known.state in {State.QUEUED, State.USED}:
            assert self.node.submit(batch).repeated
            return
        others = [d for d in self.queued() if self.expected[d].number == number]
        if not others and len(self.queued()) >= LIMIT:
            with pytest.raises(QueueFull):
                self.node.submit(batch)
            return
        if others and self.live is not None and others[0] == self.carried:
            with pytest.raises(InFlight):
                self.node.submit(batch)
            return
        submission = self.node.submit(batch)
        assert submission.replaced == bool(others)
        assert not submission.repeated
        for other in others:
            self.expected[other].state = State.REPLACED
        self.expected.setdefault(batch.digest, Expected(number)).state = State.QUEUED

    @precondition(lambda self: self.live is None and self.usable())
    @rule(later=st.integers(0, 2), charged=st.booleans())
    def enter(self, later: int, charged: bool) -> None:
        lowest = min(self.usable(), key=lambda digest: self.expected[digest].number)
        number = max(self.closed + 1, self.expected[lowest].number) + later
        it = attempt(number, next(self.attempts))
        assert self.node.enter(it).digest == lowest
        self.sessions.setdefault(number, []).append((it, lowest))
        self.live, self.carried = it, lowest
        self.expected[lowest].round, self.expected[lowest].masked = number, charged
        if charged:
            self.node.journal.record((Charged(it, bytes(32)),))

    @precondition(lambda self: self.live is not None)
    @rule(killed=st.booleans())
    def die(self, killed: bool) -> None:
        self.live = None
        if killed:
            self.node.restart()
        else:
            self.node.lose()

    @precondition(lambda self: any(number > self.closed for number in self.sessions))
    @rule(data=st.data(), survived=st.booleans())
    def certify(self, data: st.DataObject, survived: bool) -> None:
        """Any attempt of an open round, the newest or not."""
        number = data.draw(st.sampled_from([n for n in self.sessions if n > self.closed]))
        self.certified(data, number, survived)

    @precondition(lambda self: self.doubted())
    @rule(data=st.data(), survived=st.booleans())
    def learn(self, data: st.DataObject, survived: bool) -> None:
        """The certificate of a round that was closed unseen."""
        number = data.draw(st.sampled_from(self.doubted()))
        assert self.node.queue.undecided(self.node.progress) == tuple(self.doubted())
        self.certified(data, number, survived)

    def certified(self, data: st.DataObject, number: int, survived: bool) -> None:
        it, digest = data.draw(st.sampled_from(self.sessions[number]))
        self.node.certify(it, 1, 3, *((U,) if survived else ()))
        if survived:
            self.uses(number, digest)
        self.closes(number)

    @precondition(lambda self: self.doubted())
    @rule(data=st.data())
    def never_learn(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.doubted()))
        self.node.queue.settle(number)
        for each in self.expected.values():
            each.masked &= each.round != number

    @precondition(lambda self: self.sessions)
    @rule(gap=st.integers(1, 2))
    def away(self, gap: int) -> None:
        """It is gone while the others close a round beyond every one that it has entered."""
        number = max(self.closed, *self.sessions) + gap
        self.node.restart()
        self.node.certify(attempt(number, 0), 1, 3, 4)
        self.closes(number)

    @rule()
    def abandon(self) -> None:
        self.node.record(Abandoned(self.closed + 1))
        self.closes(self.closed + 1)

    @rule()
    def withdraw(self) -> None:
        with self.node.engine.begin() as connection:
            self.node.queue.withdraw(connection, self.node.engaged)
        for digest in self.queued():
            if self.live is None or digest != self.carried:
                self.expected[digest].state = State.WITHDRAWN

    @invariant()
    def the_queue_is_as_expected(self) -> None:
        found = self.node.queue.submissions()
        assert {each.digest: (each.number, each.state) for each in found} == {
            digest: (each.number, each.state) for digest, each in self.expected.items()
        }
        assert len({each.digest for each in found}) == len(found)
        assert all((each.finished_at is None) == (each.state is State.QUEUED) for each in found)
        with self.node.engine.connect() as connection:
            kept = _kept(connection)
        assert kept == {each.id for each in found if each.state is State.QUEUED}

    @invariant()
    def what_waits_is_the_lowest(self) -> None:
        numbers = [self.expected[digest].number for digest in self.queued()]
        assert len(set(numbers)) == len(numbers) <= LIMIT
        usable = [self.expected[digest].number for digest in self.usable()]
        lowest = max(min(usable), self.closed + 1) if usable else None
        assert self.node.waiting() == lowest
        assert self.node.queue.undecided(self.node.progress) == tuple(self.doubted())


def _kept(connection: Connection) -> set[int]:
    return set(connection.execute(select(PAYLOADS.c.submission)).scalars())


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
