"""Fixtures for the tests of the node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.party.consortium import Consortium, assemble


@pytest.fixture
def consortium(tmp_path: Path) -> Iterator[Consortium]:
    """Four hospitals with noise, and a budget that pays for about ten attempts."""
    made = assemble(tmp_path)
    yield made
    made.close()
