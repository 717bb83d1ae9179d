from __future__ import annotations

import base64
import struct
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from party.submission.keyring import MAX_TOKEN_LENGTH, DecryptionFailed, Keyring
from party.training.records import MAX_RECORD_BYTES
from secagg.cli import CommandError, ExitCode
from tests.party.ehr import key_file

OLD, NEW, FOREIGN = (base64.urlsafe_b64encode(bytes([i]) * 32) for i in (1, 2, 3))


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring.load(key_file(tmp_path / "fernet.key", NEW, OLD))


@pytest.mark.parametrize("key", [NEW, OLD])
def test_every_key_opens(keyring: Keyring, key: bytes) -> None:
    opened = keyring.decrypt(Fernet(key).encrypt(b"record").decode())
    assert opened.plaintext == b"record"
    assert opened.key == keyring.fingerprints[(NEW, OLD).index(key)]
    assert "record" not in repr(opened)


def test_the_first_key_encrypts(keyring: Keyring) -> None:
    token = keyring.encrypt(b"record")
    assert Fernet(NEW).decrypt(token) == b"record"


@pytest.mark.parametrize(
    "token",
    [
        "",
        "token",
        "\u00fc",
        "\ud800",
        "gAAAAA",
        Fernet(FOREIGN).encrypt(b"record").decode(),
        Fernet(NEW).encrypt(b"record").decode()[:-4],
        "A" * (MAX_TOKEN_LENGTH + 4),
    ],
    ids=["empty", "a word", "a letter", "no letter", "its beginning", "foreign", "cut", "too long"],
)
def test_nothing_else_opens(keyring: Keyring, token: str) -> None:
    with pytest.raises(DecryptionFailed) as failed:
        keyring.decrypt(token)
    assert str(failed.value) == ""


def test_an_altered_token_does_not_open(keyring: Keyring) -> None:
    octets = bytearray(base64.urlsafe_b64decode(keyring.encrypt(b"record")))
    for place in (0, 5, 20, 30, -1):
        altered = bytearray(octets)
        altered[place] ^= 1
        with pytest.raises(DecryptionFailed):
            keyring.decrypt(base64.urlsafe_b64encode(altered).decode())


@pytest.mark.parametrize("time", [0, 2**40])
def test_the_time_of_a_token_is_not_judged(keyring: Keyring, time: int) -> None:
    token = Fernet(NEW).encrypt_at_time(b"record", time).decode()
    assert struct.unpack(">Q", base64.urlsafe_b64decode(token)[1:9]) == (time,)
    assert keyring.decrypt(token).plaintext == b"record"


def test_the_longest_record_fits_its_token(keyring: Keyring) -> None:
    token = keyring.encrypt(bytes(MAX_RECORD_BYTES))
    assert len(token) == MAX_TOKEN_LENGTH
    assert keyring.decrypt(token).plaintext == bytes(MAX_RECORD_BYTES)


def test_a_key_is_named_without_being_told(keyring: Keyring) -> None:
    assert len(set(keyring.fingerprints)) == 2
    assert all(len(bytes.fromhex(each)) == 8 for each in keyring.fingerprints)
    for shown in (repr(keyring), str(keyring.fingerprints)):
        assert NEW.decode() not in shown
        assert base64.urlsafe_b64decode(NEW).hex() not in shown


def test_comments_and_empty_lines_are_not_keys(tmp_path: Path) -> None:
    keyring = Keyring.load(key_file(tmp_path / "fernet.key", b"# since May", b"", NEW, b" " + OLD))
    assert len(keyring.fingerprints) == 2


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([], "holds 0 keys"),
        ([NEW] * 65, "holds 65 keys"),
        ([NEW, b"CANARY"], "line 2, is no Fernet key"),
        ([NEW[:-4] + b"AA=="], "line 1, is no Fernet key"),
        ([NEW + b"!"], "line 1, is no Fernet key"),
        ([b"\xff\xfe"], "line 1, is no Fernet key"),
    ],
)
def test_a_file_that_is_no_key_file_is_explained(
    tmp_path: Path, lines: list[bytes], problem: str
) -> None:
    with pytest.raises(CommandError, match=problem) as refused:
        Keyring.load(key_file(tmp_path / "fernet.key", *lines))
    assert refused.value.exit_code is ExitCode.USAGE
    assert "CANARY" not in str(refused.value)


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = key_file(tmp_path / "fernet.key", NEW)
    path.chmod(0o640)
    with pytest.raises(CommandError, match="open to other users"):
        Keyring.load(path)
