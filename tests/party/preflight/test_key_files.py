from __future__ import annotations

import os

import pytest
from cryptography.fernet import Fernet

from party.preflight import key_files
from secagg.cli import ExitCode
from tests.party.preflight.conftest import Hospital

SECRET = ["identity.key", "journal.key", "party.key"]


def test_a_trials_keys_are_in_order(hospital: Hospital) -> None:
    assert key_files.modes(hospital.site()) == "3 files, for their owner alone"
    hospital.change("# token_hash_file", "token_hash_file")
    assert key_files.modes(hospital.site()) == "4 files, for their owner alone"


@pytest.mark.parametrize("name", [*SECRET, "api.token-sha256"])
def test_a_key_that_others_can_read_is_found(hospital: Hospital, name: str) -> None:
    hospital.change("# token_hash_file", "token_hash_file")
    (hospital.home / name).chmod(0o640)
    hospital.fails(key_files.modes, f"{name} is open to other users.*chmod 600", ExitCode.USAGE)


@pytest.mark.parametrize("name", SECRET)
def test_a_key_that_is_gone_is_named(hospital: Hospital, name: str) -> None:
    (hospital.home / name).unlink()
    hospital.fails(key_files.modes, f"{name} cannot be read", ExitCode.USAGE)


@pytest.mark.parametrize("name", ["identity.key", "journal.key", "api.token-sha256"])
def test_what_is_no_key_is_named(hospital: Hospital, name: str) -> None:
    hospital.change("# token_hash_file", "token_hash_file")
    (hospital.home / name).write_text("0123")
    hospital.fails(key_files.modes, f"{name} (is no|holds no)", ExitCode.USAGE)


def test_another_users_keys_are_found(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    words = f"belongs to the user {owner}, and this runs as {owner + 1}"
    hospital.fails(key_files.modes, words, ExitCode.USAGE)
    hospital.fails(key_files.ehr, words, ExitCode.USAGE)


def test_a_directory_where_others_can_replace_keys_is_found(hospital: Hospital) -> None:
    hospital.home.chmod(0o770)
    hospital.fails(key_files.modes, "replace the keys in it.*chmod go-w", ExitCode.USAGE)


def test_the_ehrs_keys_are_counted(hospital: Hospital) -> None:
    assert "1 Fernet key, the newest " in key_files.ehr(hospital.site())
    path = hospital.home / "fernet.key"
    path.write_bytes(Fernet.generate_key() + b"\n" + path.read_bytes())
    assert "2 Fernet keys, the newest " in key_files.ehr(hospital.site())


@pytest.mark.parametrize(
    ("content", "words"), [("", "holds 0 keys"), ("nonsense", "line 1, is no Fernet key")]
)
def test_what_is_no_fernet_key_is_named(hospital: Hospital, content: str, words: str) -> None:
    (hospital.home / "fernet.key").write_text(content)
    hospital.fails(key_files.ehr, words, ExitCode.USAGE)


def test_a_fernet_key_that_others_can_read_is_found(hospital: Hospital) -> None:
    (hospital.home / "fernet.key").chmod(0o644)
    hospital.fails(key_files.ehr, "open to other users", ExitCode.USAGE)


def test_a_fernet_key_that_is_gone_is_named(hospital: Hospital) -> None:
    (hospital.home / "fernet.key").unlink()
    hospital.fails(key_files.ehr, r"fernet\.key cannot be read", ExitCode.USAGE)


def test_with_a_standing_batch_no_fernet_key_is_needed(hospital: Hospital) -> None:
    hospital.change(
        '[ehr]  # batches are posted\nfernet_key_file = "fernet.key"',
        '[data]\ntrain = "train.jsonl"\nrounds = 1',
    )
    assert "not needed" in key_files.ehr(hospital.site())
