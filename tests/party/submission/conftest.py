from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from party.submission.keyring import Keyring
from tests.party.ehr import key_file


@pytest.fixture
def fernet() -> Fernet:
    """The EHR's."""
    return Fernet(b"A" * 43 + b"=")


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    """The node's, with the same key."""
    return Keyring.load(key_file(tmp_path / "fernet.key", b"A" * 43 + b"="))
