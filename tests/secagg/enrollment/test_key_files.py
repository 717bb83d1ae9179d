from __future__ import annotations

import base64
import hashlib

from secagg.crypto.randomness import SeededRandomness
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey
from secagg.enrollment.key_files import HospitalSecrets

SECRETS = HospitalSecrets.generate(SeededRandomness(b"hospital"))


def test_each_file_has_the_form_that_its_reader_expects() -> None:
    files = SECRETS.files()
    assert set(files) == {
        "identity.key",
        "journal.key",
        "fernet.key",
        "api.token",
        "api.token-sha256",
    }
    seed = bytes.fromhex(files["identity.key"].decode())
    assert IdentityKey(Secret(seed)).public == SECRETS.public
    assert len(bytes.fromhex(files["journal.key"].decode())) == 32
    assert len(base64.urlsafe_b64decode(files["fernet.key"])) == 32
    token = files["api.token"].rstrip(b"\n")
    assert len(base64.urlsafe_b64decode(token + b"=")) == 32
    assert files["api.token-sha256"] == hashlib.sha256(token).hexdigest().encode() + b"\n"


def test_no_two_secrets_are_one() -> None:
    secrets = [SECRETS.identity, SECRETS.journal, SECRETS.fernet, SECRETS.token]
    assert len({secret.reveal() for secret in secrets}) == 4


def test_secrets_are_not_shown() -> None:
    shown = repr(SECRETS)
    for content in SECRETS.files().values():
        assert content.decode().strip() not in shown
