from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from benchmarks.heart_disease.policy import schema
from party.submission.admission import Admission
from party.submission.keyring import Keyring
from party.submission.posted import digest_key
from secagg.crypto.secret import Secret
from tests.party.ehr import key_file

KEY = b"A" * 43 + b"="


@pytest.fixture
def fernet() -> Fernet:
    """The EHR's."""
    return Fernet(KEY)


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    """The node's, with the same key."""
    return Keyring.load(key_file(tmp_path / "fernet.key", KEY))


@pytest.fixture
def admission(keyring: Keyring) -> Admission:
    """Under the policy of the heart-disease consortium, but for batches of at most three."""
    return Admission(keyring, schema(), 3, digest_key(Secret(b"j" * 32)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where an EHR leaves batches."""
    made = tmp_path / "outbox"
    made.mkdir()
    return made
