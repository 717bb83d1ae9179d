"""Preflight of a node whose database is a PostgreSQL server's."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import URL, insert, inspect

from party.database import open_database, open_for_reading
from party.participation import DECISIONS
from party.preflight import budget, clock, storage
from secagg.cli import ExitCode
from tests.party.postgresql_server import Server
from tests.party.preflight.conftest import Hospital


@pytest.fixture
def url(postgresql: Server) -> URL:
    return postgresql.empty()


@pytest.fixture
def there(hospital: Hospital, url: URL) -> Hospital:
    """A hospital whose database is there."""
    hospital.add(f'[database]\nurl = "{url.render_as_string(hide_password=False)}"\n')
    return hospital


def test_an_empty_database_is_left_as_it_is(there: Hospital, url: URL) -> None:
    site = there.site()
    assert "waits for its disk" in storage.database(site)
    assert "UTC" in clock.plausible(site)
    assert budget.affordable(site).startswith("pays for 12 more attempts")
    engine = open_for_reading(url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_it_waits_for_no_node_that_writes(there: Hospital, url: URL) -> None:
    engine = open_database(url)
    with engine.begin() as writer:
        writer.execute(insert(DECISIONS).values(decided_at=int(time.time()), left=True))
        assert budget.affordable(there.site()).startswith("pays for 12 more attempts")
        assert clock.plausible(there.site())
    engine.dispose()


def test_a_clock_behind_its_records_is_found(there: Hospital, url: URL) -> None:
    engine = open_database(url)
    with engine.begin() as writer:
        writer.execute(insert(DECISIONS).values(decided_at=int(time.time()) + 1000, left=True))
    engine.dispose()
    there.fails(clock.plausible, "newest record is of", ExitCode.USAGE)
