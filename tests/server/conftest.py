"""Fixtures for the tests of the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from tests.server.scripted import Starter, World


@pytest.fixture
async def begin(tmp_path: Path, nursery: trio.Nursery) -> Starter:
    """Starts a server, by default over four parties whose noise covers an abandonment.

    A test that waits takes ``autojump_clock`` too.
    """

    async def started(**settings: Any) -> World:
        world = World(tmp_path, nursery, **settings)
        await world.start()
        return world

    return started
