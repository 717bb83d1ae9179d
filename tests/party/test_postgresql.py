"""A PostgreSQL database keeps what SQLite's file promises."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, insert, inspect, text
from sqlalchemy.exc import IntegrityError, InternalError, OperationalError

from party.audit.verification import verify
from party.database import METADATA, claimed, empty_log, open_database, reading
from party.ledger import CHARGES
from party.postgresql import postgresql_engine
from party.queue import State
from secagg.cli import CommandError
from secagg.context import Attempt
from secagg.rounds.journal import Abandoned, Charged, Entered
from tests.party.consortium import assemble, posted
from tests.party.postgresql_server import Server
from tests.party.test_journal import EVERY_KIND, opened

ONE_CHARGE = insert(CHARGES).values(
    {column.name: 5_000_000_000 for column in CHARGES.c if column.name not in {"id", "session"}}
)
COUNT = text("SELECT count(*) FROM charges")


@pytest.fixture
def url(postgresql: Server) -> URL:
    return postgresql.empty()


@pytest.fixture
def engine(url: URL) -> Iterator[Engine]:
    made = open_database(url)
    yield made
    made.dispose()


def test_all_tables_are_made_and_opened_again(engine: Engine, url: URL) -> None:
    with engine.begin() as connection:
        connection.execute(ONE_CHARGE, {"session": b"s"})
    again = open_database(url)
    assert set(inspect(again).get_table_names()) == set(METADATA.tables)
    with reading(again).connect() as connection:
        assert connection.execute(COUNT).scalar_one() == 1
    again.dispose()


def test_every_connection_waits_for_the_disk(engine: Engine, url: URL, postgresql: Server) -> None:
    """Whatever the server's own default is."""
    postgresql.execute(f"ALTER DATABASE {url.database} SET synchronous_commit = off")
    again = open_database(url)
    for each in (engine, again):
        with reading(each).connect() as first, each.begin() as second:
            for connection in (first, second):
                assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"
    again.dispose()


def test_writers_take_turns_and_readers_do_not_wait(engine: Engine, url: URL) -> None:
    impatient = postgresql_engine(url, "reading", busy_seconds=1)
    with engine.begin() as writer:
        writer.execute(ONE_CHARGE, {"session": b"s"})
        with reading(impatient).connect() as reader:
            assert reader.execute(COUNT).scalar_one() == 0
        with pytest.raises(OperationalError, match="lock timeout"):
            impatient.begin().__enter__()
    with impatient.begin() as writer:
        assert writer.execute(COUNT).scalar_one() == 1
    impatient.dispose()


def test_a_writer_that_fails_lets_the_next_one_in(engine: Engine) -> None:
    def fail() -> None:
        with engine.begin() as connection:
            connection.execute(ONE_CHARGE, {"session": b"s"})
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with engine.begin() as connection:
        assert connection.execute(COUNT).scalar_one() == 0


def test_reading_sees_one_snapshot_and_cannot_write(engine: Engine) -> None:
    with reading(engine).connect() as snapshot:
        assert snapshot.execute(COUNT).scalar_one() == 0
        with engine.begin() as writer:
            writer.execute(ONE_CHARGE, {"session": b"s"})
        assert snapshot.execute(COUNT).scalar_one() == 0
        with pytest.raises(InternalError, match="read-only"):
            snapshot.execute(ONE_CHARGE, {"session": b"t"})


@pytest.mark.parametrize(
    "statement",
    ["UPDATE charges SET rho_sum = 0", "DELETE FROM charges", "TRUNCATE charges"],
)
def test_what_is_append_only_stays(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(ONE_CHARGE, {"session": b"s"})
    with (
        pytest.raises(IntegrityError, match="charges is append-only"),
        engine.begin() as connection,
    ):
        connection.execute(text(statement))
    with reading(engine).connect() as connection:
        assert connection.execute(COUNT).scalar_one() == 1


def test_there_is_no_log_to_empty(engine: Engine) -> None:
    empty_log(engine)
    with reading(engine).connect() as connection:
        assert connection.execute(COUNT).scalar_one() == 0


def test_one_node_at_a_time_has_the_database(engine: Engine, url: URL) -> None:
    other = open_database(url)
    with claimed(engine):
        with pytest.raises(CommandError, match="Another node is running"), claimed(other, 0.1):
            pass
        with other.begin() as connection:  # which is for nodes: others may still charge and read
            connection.execute(ONE_CHARGE, {"session": b"s"})
    with claimed(other):
        pass
    other.dispose()


def test_a_server_that_does_not_wait_for_its_disk_is_refused(
    engine: Engine, url: URL, postgresql: Server
) -> None:
    postgresql.execute("ALTER SYSTEM SET fsync = off")
    postgresql.reload("fsync", "off")
    with pytest.raises(CommandError, match="fsync = on"):
        open_database(url)
    postgresql.execute("ALTER SYSTEM RESET fsync")
    postgresql.reload("fsync", "on")
    open_database(url).dispose()


def test_a_server_that_is_not_there_is_named(url: URL) -> None:
    nowhere = url.update_query_dict({"host": "/nonexistent"})
    with pytest.raises(OperationalError, match="nonexistent"):
        open_database(nowhere)


def test_a_missing_driver_is_named(url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(CommandError, match=r"secagg\[postgresql\]"):
        open_database(url)


# --- what a node does on it ----------------------------------------------------------------------


def test_every_entry_of_a_journal_is_read_back(engine: Engine) -> None:
    journal = opened(engine)
    for entry in EVERY_KIND:
        journal.record((entry,))
        again = opened(engine)
        assert journal.standing == again.standing
        assert journal.resumable == again.resumable
        assert journal.certificates == again.certificates


def test_numbers_may_be_as_large_as_the_protocols(engine: Engine) -> None:
    large = Attempt(bytes(32), 2**53, 2**53, bytes(32), bytes(32))
    opened(engine).record((Entered(large), Charged(large, b"u" * 32), Abandoned(2**53)))
    assert opened(engine).standing.closed == 2**53


def test_hospitals_train_restart_and_go_on(tmp_path: Path, postgresql: Server) -> None:
    """Rounds with journal, ledger, models and queue in PostgreSQL, through a restart."""
    consortium = assemble(tmp_path)
    for party in consortium.parties.values():
        party.place = postgresql.empty()
        party.restart()
    consortium.round(1)
    for party in consortium.parties.values():
        party.restart()
    consortium.round(2)
    for party in consortium.parties.values():
        assert party.journal.standing.closed == 2
        assert party.chain.held.model == consortium.model
        assert party.ledger is not None
        assert party.ledger.budget().spent.rho == 2 * party.ledger.cost.sum.rho
        assert party.engine.dialect.name == "postgresql"
    consortium.close()


def test_what_an_ehr_posts_is_queued_replaced_and_used(tmp_path: Path, postgresql: Server) -> None:
    consortium = assemble(tmp_path, posting=True)
    for u, party in consortium.parties.items():
        (party.path.with_suffix("") / "audit.jsonl").unlink()  # of the file, which is left behind
        party.place = postgresql.empty()
        party.restart()
        assert party.queue is not None
        party.client.submit(posted(1, (9, 9, 9, 0, 1, 16)))
        kept = party.client.submit(posted(1, (u, -u, 2 * u, 0, 1, 16)))
        assert kept.replaced
        party.restart()
        assert [each.state for each in party.queue.submissions()] == [State.REPLACED, State.QUEUED]
    consortium.round(1)
    key = consortium.policy.identity_key(1).hex()
    for party in consortium.parties.values():
        assert party.queue is not None
        assert [each.state for each in party.queue.submissions()] == [State.REPLACED, State.USED]
        assert party.chain.held.model == consortium.model
    log = tmp_path / "1" / "audit.jsonl"
    events = [json.loads(line)["event"] for line in log.read_bytes().splitlines()]
    assert "submission accepted" in events
    assert events[-1] == "round certified"
    assert consortium.parties[1].audit is not None
    head = consortium.parties[1].audit.head()
    assert verify(log.read_bytes().splitlines(keepends=True), key, [head]).head == head
    consortium.close()
