"""The log: one line for each decision, in its transaction, and the files never behind for long."""

from __future__ import annotations

import json
import resource
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import pytest
import trio
from sqlalchemy import URL, Engine, delete, func, select, update
from sqlalchemy.exc import IntegrityError, OperationalError
from structlog.testing import capture_logs

from party.audit import events as every_event
from party.audit.events import (
    Event,
    OptedOut,
    RefusalReason,
    Returned,
    RoundCertified,
    SubmissionRefused,
)
from party.audit.line import decode_head
from party.audit.log import AUDIT, AuditLog
from party.audit.verification import Verified, verify
from party.database import open_database
from party.journal import Journal
from party.ledger import CHARGES, Cost, Ledger
from party.models import ModelStore
from secagg.cli import CommandError
from secagg.crypto.randomness import SeededRandomness
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey
from secagg.policy import MAX_HOSPITALS, Member, Policy, VectorSpec
from secagg.privacy.budget import BudgetExceeded, Charge
from secagg.rounds.journal import Abandoned, Certified, Charged, Entered
from secagg.rounds.machine import Hospital
from tests.party.test_journal import EVERY_KIND, attempt

COST = Cost(Charge(10**6, 24), Charge(4 * 10**6, 24))
NOW = datetime(2026, 11, 24, 10, 30, 15, 999_999, UTC)
REFUSED = SubmissionRefused(RefusalReason.DATA_HASH, 4)


def hospital(seed: bytes = b"i") -> Hospital:
    """Anna, of three; ``seed`` is her identity key's."""
    identity = IdentityKey(Secret(seed * 32))
    others = [IdentityKey(Secret(bytes([number]) * 32)).public.hex() for number in range(3)]
    keys = (identity.public.hex(), *others[1:])
    policy = Policy(
        consortium="test",
        server_key=others[0],
        roster=tuple(map(Member, ("anna", "berta", "clara"), keys)),
        corrupt=1,
        dropouts=0,
        min_survivors=3,
        vector=VectorSpec(dimension=4, max_value=100, scale=1),
    )
    return Hospital(policy, 1, identity, Secret(b"j" * 32))


ANNA = hospital()


@pytest.fixture
def engine(place: Path | URL) -> Iterator[Engine]:
    """On SQLite and on PostgreSQL."""
    made = open_database(place)
    yield made
    made.dispose()


def opened(engine: Engine, directory: Path, whose: Hospital = ANNA) -> AuditLog:
    count = len(rows(engine))
    randomness = SeededRandomness(count.to_bytes(32, "big"))
    return AuditLog(engine, directory, whose, COST, randomness, lambda: NOW)


def rows(engine: Engine) -> list[bytes]:
    with engine.connect() as connection:
        return list(connection.execute(select(AUDIT.c.line).order_by(AUDIT.c.seq)).scalars())


def checked(engine: Engine, directory: Path, whose: Hospital = ANNA) -> Verified:
    """Files and database agree, and the file is a genuine log up to its head."""
    lines = (directory / "audit.jsonl").read_bytes().splitlines(keepends=True)
    assert lines == [row + b"\n" for row in rows(engine)]
    head = decode_head((directory / "audit.head").read_bytes())
    found = verify(lines, whose.identity.public.hex(), [head])
    assert found.head == head
    return found


def events(directory: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (directory / "audit.jsonl").read_bytes().splitlines()]


# --- what is written -----------------------------------------------------------------------------


def test_a_log_begins_with_who_writes_it(engine: Engine, tmp_path: Path) -> None:
    opened(engine, tmp_path)
    (first,) = events(tmp_path)
    assert first["event"] == "started"
    assert first["time"] == "2026-11-24T10:30:15Z"
    assert first["fields"] == {
        "hospital": "anna",
        "identity_key": ANNA.identity.public.hex(),
        "policy_digest": ANNA.policy.digest().hex(),
        "version": "0.1.0",
    }
    assert checked(engine, tmp_path).hospital == "anna"


def test_a_restarted_node_goes_on_with_its_log(engine: Engine, tmp_path: Path) -> None:
    opened(engine, tmp_path).stopped()
    log = opened(engine, tmp_path)
    log.write(REFUSED)
    assert [line["event"] for line in events(tmp_path)] == [
        "started",
        "stopped",
        "started",
        "submission refused",
    ]
    assert checked(engine, tmp_path).head == log.head()


def test_a_new_identity_key_is_announced_by_the_log(engine: Engine, tmp_path: Path) -> None:
    opened(engine, tmp_path)
    renewed = hospital(b"n")
    opened(engine, tmp_path, renewed)
    assert checked(engine, tmp_path, renewed).head.seq == 2


def test_every_entry_of_the_journal_is_an_event(engine: Engine, tmp_path: Path) -> None:
    log = opened(engine, tmp_path)
    journal = Journal(engine, None, ModelStore(engine), (log,))
    for number, entry in enumerate(EVERY_KIND, start=7):
        journal.record((entry,), batch=number)
        checked(engine, tmp_path)
    session = attempt(1).session.hex()
    assert [(line["event"], line["fields"]) for line in events(tmp_path)[1:]] == [
        ("round entered", {"round": 1, "attempt": 1, "session": session, "submission": 7}),
        (
            "privacy charged",
            {
                "round": 1,
                "attempt": 1,
                "session": session,
                "rho_sum": 10**6,
                "rho_own": 4 * 10**6,
                "samples": 24,
            },
        ),
        (
            "survivors signed",
            {"round": 1, "attempt": 1, "session": session, "survivors": [1, 2, 3]},
        ),
        ("answer released", {"round": 1, "attempt": 1, "session": session}),
        ("model signed", {"round": 1, "attempt": 1, "model_hash": (b"n" * 32).hex()}),
        (
            "round certified",
            {
                "round": 1,
                "attempt": 1,
                "model_hash": (b"n" * 32).hex(),
                "survivors": [1, 2, 3],
            },
        ),
        (
            "round entered",
            {"round": 2, "attempt": 1, "session": attempt(2).session.hex(), "submission": 13},
        ),
        ("abandonment signed", {"round": 2}),
        ("round abandoned", {"round": 2}),
    ]


def test_without_noise_there_is_no_cost_to_record(engine: Engine, tmp_path: Path) -> None:
    log = AuditLog(engine, tmp_path, ANNA, None, SeededRandomness(b"r"), lambda: NOW)
    Journal(engine, None, ModelStore(engine), (log,)).record((Charged(attempt(1), b"u" * 32),))
    fields = events(tmp_path)[1]["fields"]
    assert isinstance(fields, dict)
    assert [fields[name] for name in ("rho_sum", "rho_own", "samples")] == [None] * 3


def test_what_is_refused_by_the_ledger_is_in_neither(engine: Engine, tmp_path: Path) -> None:
    """The event and what it tells are one transaction."""
    log = opened(engine, tmp_path)
    poor = Ledger(engine, COST, Fraction(1, 10**6), Fraction(1, 1000))
    journal = Journal(engine, poor, ModelStore(engine), (log,))
    with pytest.raises(BudgetExceeded):
        journal.record((Entered(attempt(1)), Charged(attempt(1), b"u" * 32)))
    assert len(rows(engine)) == len(events(tmp_path)) == 1
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(CHARGES)) == 0
    log.write(REFUSED)
    checked(engine, tmp_path)


async def test_decisions_outside_the_journal_are_recorded_too(
    engine: Engine, tmp_path: Path
) -> None:
    log = opened(engine, tmp_path)
    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(log.record, REFUSED)
    assert checked(engine, tmp_path).head.seq == 13


def test_threads_together_write_one_chain(engine: Engine, tmp_path: Path) -> None:
    log = opened(engine, tmp_path)

    def write() -> None:
        for _ in range(10):
            log.write(OptedOut(1))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert checked(engine, tmp_path).head.seq == 41


def test_the_largest_round_there_can_be_fits_a_line(engine: Engine, tmp_path: Path) -> None:
    log = opened(engine, tmp_path)
    everybody = tuple(range(1, MAX_HOSPITALS + 1))
    log.write(RoundCertified(2**53, 2**53, bytes(32), everybody))
    assert checked(engine, tmp_path).head.seq == 2
    with pytest.raises(ValueError, match="an event of"):
        log.write(RoundCertified(1, 1, bytes(32), everybody * 4))
    assert checked(engine, tmp_path).head.seq == 2


def test_lines_cannot_be_changed_in_the_database(engine: Engine, tmp_path: Path) -> None:
    opened(engine, tmp_path)
    for statement in (update(AUDIT).values(line=b""), delete(AUDIT)):
        with (
            pytest.raises(IntegrityError, match="audit is append-only"),
            engine.begin() as connection,
        ):
            connection.execute(statement)
    checked(engine, tmp_path)


def test_the_files_are_for_their_owner_alone(engine: Engine, tmp_path: Path) -> None:
    opened(engine, tmp_path)
    for name in ("audit.jsonl", "audit.head"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_heads_are_logged_for_another_machine(engine: Engine, tmp_path: Path) -> None:
    log = opened(engine, tmp_path)
    journal = Journal(engine, None, ModelStore(engine), (log,))
    for entry in EVERY_KIND:
        with capture_logs() as told:
            journal.record((entry,))
        heads = [line["hash"] for line in told if line["event"] == "audit head"]
        ended = isinstance(entry, Certified | Abandoned)
        assert heads == ([log.head().hash] if ended else [])


# --- crashes -------------------------------------------------------------------------------------


def append_without_mirror(engine: Engine, log: AuditLog, count: int) -> None:
    """What is on disk if the process is killed right after the commit."""
    with engine.begin() as connection:
        for _ in range(count):
            log.append(connection, REFUSED)


@pytest.mark.parametrize("count", [1, 3, 2000])
def test_the_files_make_up_for_what_a_crash_left_out(
    engine: Engine, tmp_path: Path, count: int
) -> None:
    log = opened(engine, tmp_path)
    append_without_mirror(engine, log, count)
    assert len(events(tmp_path)) == 1
    opened(engine, tmp_path)
    assert checked(engine, tmp_path).head.seq == 1 + count + 1


@pytest.mark.parametrize("torn", [b"{", b'{"seq":2,"time"', b"\x00" * 700, b"x" * 16_000])
def test_a_torn_last_line_is_written_again(engine: Engine, tmp_path: Path, torn: bytes) -> None:
    log = opened(engine, tmp_path)
    append_without_mirror(engine, log, 1)
    with (tmp_path / "audit.jsonl").open("ab") as file:
        file.write(torn)
    opened(engine, tmp_path)
    assert checked(engine, tmp_path).head.seq == 3


def test_any_part_of_the_newest_lines_may_be_missing(engine: Engine, tmp_path: Path) -> None:
    """Wherever a power cut stops the write."""
    log = opened(engine, tmp_path)
    log.write(REFUSED)
    whole = (tmp_path / "audit.jsonl").read_bytes()
    for length in range(0, len(whole), 97):
        (tmp_path / "audit.jsonl").write_bytes(whole[:length])
        opened(engine, tmp_path)
        checked(engine, tmp_path)
        whole = (tmp_path / "audit.jsonl").read_bytes()


def test_files_that_are_gone_are_written_again(engine: Engine, tmp_path: Path) -> None:
    log = opened(engine, tmp_path)
    log.write(REFUSED)
    for _ in range(2):  # once while the node runs, once between two runs
        for name in ("audit.jsonl", "audit.head"):
            (tmp_path / name).unlink()
        log.write(REFUSED)
        checked(engine, tmp_path)
        log = opened(engine, tmp_path)
        checked(engine, tmp_path)


def test_the_head_of_a_crash_is_replaced(engine: Engine, tmp_path: Path) -> None:
    opened(engine, tmp_path)
    (tmp_path / "audit.head.new").write_bytes(b'{"seq":')
    (tmp_path / "audit.head").write_bytes(b"")
    opened(engine, tmp_path)
    checked(engine, tmp_path)


KILLED = """
import os, signal, sys
from pathlib import Path
from party.database import open_database
from tests.party.audit.test_log import REFUSED, opened

directory = Path(sys.argv[1])
engine = open_database(directory / "party.sqlite3")
log = opened(engine, directory)
match sys.argv[2]:
    case "committed":
        log.committed = lambda: os.kill(os.getpid(), signal.SIGKILL)
    case "any":
        print("started", flush=True)
while True:
    log.write(REFUSED)
    print("written", flush=True)
"""


def killed(directory: Path, when: str, after: int = 0) -> int:
    """A process that writes events until it is killed; how many it said were written."""
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(directory), when], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told = [process.stdout.readline() for _ in range(after)]
    if when == "any":
        process.kill()
    told += process.stdout.readlines()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    return told.count("written\n")


def test_killed_between_commit_and_files(tmp_path: Path) -> None:
    assert killed(tmp_path, "committed") == 0
    assert len(events(tmp_path)) == 1  # only the start
    engine = open_database(tmp_path / "party.sqlite3")
    assert len(rows(engine)) == 2
    opened(engine, tmp_path)
    assert checked(engine, tmp_path).head.seq == 3
    engine.dispose()


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """Nothing that was reported as written is lost, nothing is there twice."""
    lines = 0
    for run in range(5):
        told = lines + 1 + killed(tmp_path, "any", after=1 + 2 * run)
        engine = open_database(tmp_path / "party.sqlite3")
        assert told <= len(rows(engine)) <= told + 1
        opened(engine, tmp_path)
        lines = checked(engine, tmp_path).head.seq
        engine.dispose()


@contextmanager
def full_disk(beyond: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: the kernel writes what fits, and then refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (beyond, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 1, 300, 5000])
def test_a_full_disk_delays_the_files_and_loses_nothing(
    engine: Engine, tmp_path: Path, room: int
) -> None:
    log = opened(engine, tmp_path)
    size = (tmp_path / "audit.jsonl").stat().st_size
    append_without_mirror(engine, log, 20)
    with full_disk(size + room):
        log.committed()
    assert log.behind
    assert (tmp_path / "audit.jsonl").stat().st_size <= size + room
    log.write(REFUSED)
    assert not log.behind
    assert checked(engine, tmp_path).head.seq == 22


def test_a_full_disk_at_the_head_leaves_the_old_one(engine: Engine, tmp_path: Path) -> None:
    log = opened(engine, tmp_path)
    old = (tmp_path / "audit.head").read_bytes()
    (tmp_path / "audit.jsonl").unlink()  # written anew, in 600 bytes; the head does not fit
    append_without_mirror(engine, log, 0)
    with full_disk(100):
        log.committed()
    assert (tmp_path / "audit.head").read_bytes() == old


def test_a_database_that_refuses_the_event_refuses_the_decision(tmp_path: Path) -> None:
    """Never a decision without its line: the caller is told, and the step is not made."""
    engine = open_database(tmp_path / "party.sqlite3")
    log = opened(engine, tmp_path)
    journal = Journal(engine, None, ModelStore(engine), (log,))
    before = rows(engine)
    with full_disk(1), pytest.raises(OperationalError, match="disk"):
        journal.record((Entered(attempt(1)),))
    assert rows(engine) == before
    assert journal.standing.entered == (0, 0)
    journal.record((Entered(attempt(1)),))
    checked(engine, tmp_path)
    engine.dispose()


# --- files that contradict the database ----------------------------------------------------------


def contradicted(engine: Engine, directory: Path, match: str) -> None:
    """The node refuses to start, leaves the file as it is, and starts once that is put aside."""
    found = (directory / "audit.jsonl").read_bytes()
    with pytest.raises(CommandError, match=match) as refused:
        opened(engine, directory)
    assert "mv audit.jsonl" in refused.value.remedy
    assert (directory / "audit.jsonl").read_bytes() == found
    (directory / "audit.jsonl").rename(directory / "audit.jsonl.kept")
    opened(engine, directory)
    checked(engine, directory)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_edited_file_is_evidence(engine: Engine, tmp_path: Path, number: int) -> None:
    log = opened(engine, tmp_path)
    log.write(REFUSED)
    log.write(OptedOut(2))
    lines = (tmp_path / "audit.jsonl").read_bytes().splitlines(keepends=True)
    lines[number - 1] = lines[number - 1].replace(b"T10:", b"T11:")
    (tmp_path / "audit.jsonl").write_bytes(b"".join(lines))
    contradicted(engine, tmp_path, f"differs from the database in line {number}")


def test_a_file_with_a_line_cut_out_is_evidence(engine: Engine, tmp_path: Path) -> None:
    log = opened(engine, tmp_path)
    log.write(REFUSED)
    log.write(OptedOut(2))
    lines = (tmp_path / "audit.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "audit.jsonl").write_bytes(b"".join([lines[0], lines[2]]))
    contradicted(engine, tmp_path, "differs from the database in line 2")


def test_an_older_database_is_found_by_its_log(tmp_path: Path) -> None:
    """It has forgotten charges, too."""
    path = tmp_path / "party.sqlite3"
    engine = open_database(path)
    log = opened(engine, tmp_path)
    engine.dispose()
    old = path.read_bytes()
    log.write(Returned())
    engine.dispose()
    path.write_bytes(old)
    engine = open_database(path)
    contradicted(engine, tmp_path, "has line 2, and the database ends before")
    engine.dispose()


def test_a_file_cut_while_the_node_runs_is_left_as_it_is(engine: Engine, tmp_path: Path) -> None:
    log = opened(engine, tmp_path)
    log.write(REFUSED)
    cut = (tmp_path / "audit.jsonl").read_bytes()[:50]
    (tmp_path / "audit.jsonl").write_bytes(cut)
    with capture_logs() as told:
        log.write(REFUSED)
    assert "was cut to 50 bytes" in told[0]["reason"]
    assert log.behind
    assert (tmp_path / "audit.jsonl").read_bytes() == cut


# --- what a reader learns ------------------------------------------------------------------------


KINDS = [
    each
    for each in vars(every_event).values()
    if isinstance(each, type) and issubclass(each, Event) and each is not Event
]


def test_every_event_has_a_name_of_its_own() -> None:
    names = [kind.NAME for kind in KINDS]
    assert len(set(names)) == len(names) == 16
    assert all(name.isascii() and len(name) < 40 for name in names)
