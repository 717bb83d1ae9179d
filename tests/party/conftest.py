"""Fixtures for the tests of the node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

from tests.party.consortium import Consortium, assemble
from tests.party.postgresql_server import REQUIRED, Server, programs, running


@pytest.fixture
def consortium(tmp_path: Path) -> Iterator[Consortium]:
    """Four hospitals with noise, and a budget that pays for about ten attempts."""
    made = assemble(tmp_path)
    yield made
    made.close()


@pytest.fixture
def posting(tmp_path: Path) -> Iterator[Consortium]:
    """The same, with queues instead of standing batches."""
    made = assemble(tmp_path, posting=True)
    yield made
    made.close()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server; the tests that ask for it are passed over where none is installed."""
    binaries = programs()
    if binaries is None:
        assert not REQUIRED, "PostgreSQL is required here: apt-get install postgresql"
        pytest.skip("PostgreSQL is not installed")
    with running(binaries) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | URL:
    """Where an empty database is to be, on either kind."""
    if request.param == "sqlite":
        return tmp_path / "party.sqlite3"
    server: Server = request.getfixturevalue("postgresql")
    return server.empty()
