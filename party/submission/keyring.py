"""The keys that a hospital's EHR encrypts records with, and its node opens them with.

A file of Fernet keys, one a line, the newest first: a new key is put on top, and an old one is
removed once nothing encrypted with it waits any more. Rotation works as in ``MultiFernet``, which
does not tell which key it was that fitted; the audit log wants to know.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

from cryptography.fernet import Fernet, InvalidToken

from party.private_files import check_private
from party.training.records import MAX_RECORD_BYTES
from secagg.cli import CommandError, ExitCode
from secagg.crypto.hashing import Label, digest
from secagg.crypto.secret import Secret

MAX_KEYS: Final = 64
_KEY_BYTES: Final = 32
_LONGEST_FILE: Final = 64 * 1024
_BLOCK: Final = 16
# Version, time, initial vector; padded ciphertext; MAC: in base64.
_TOKEN_BYTES: Final = 1 + 8 + 16 + (MAX_RECORD_BYTES // _BLOCK + 1) * _BLOCK + 32
MAX_TOKEN_LENGTH: Final = (_TOKEN_BYTES + 2) // 3 * 4
"""Of the token of the longest record."""


class DecryptionFailed(Exception):
    """No key of the hospital opens this token: another key, or an altered token."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What was in a token, and the fingerprint of the key that opened it."""

    plaintext: bytes = field(repr=False)
    key: str


@final
class Keyring:
    """The hospital's Fernet keys. A token's time is not judged: batches wait as long as they do."""

    def __init__(self, keys: list[Secret]) -> None:
        """``keys``: 32 bytes each, the newest first, at least one."""
        self._fernets = [Fernet(base64.urlsafe_b64encode(key.reveal())) for key in keys]
        #: One name for each key that tells nothing about it, for logs: 16 hex digits.
        self.fingerprints = tuple(digest(Label.EHR_KEY, key.reveal()).hex()[:16] for key in keys)

    @classmethod
    def load(cls, path: Path) -> Keyring:
        """The keys in ``path``; empty lines and lines that begin with # are not read.

        Raises CommandError if others may read the file, or naming the line that is no key.
        """
        check_private(path)
        with path.open("rb") as file:
            lines = file.read(_LONGEST_FILE).splitlines()
        keys = [
            _key(path, number, line.strip())
            for number, line in enumerate(lines, start=1)
            if line.strip() and not line.startswith(b"#")
        ]
        if not 1 <= len(keys) <= MAX_KEYS:
            raise CommandError(
                f"{path} holds {len(keys)} keys; 1 to {MAX_KEYS} are expected.",
                "Put into it what Fernet.generate_key() gives, one key a line, the newest first.",
                ExitCode.USAGE,
            )
        return cls(keys)

    def decrypt(self, token: str) -> Opened:
        """What is in ``token``. Raises DecryptionFailed."""
        if len(token) > MAX_TOKEN_LENGTH or not token.isascii():
            raise DecryptionFailed
        for fernet, fingerprint in zip(self._fernets, self.fingerprints, strict=True):
            try:
                return Opened(fernet.decrypt(token), fingerprint)
            except InvalidToken:
                continue
        raise DecryptionFailed

    def encrypt(self, plaintext: bytes) -> str:
        """A token of ``plaintext`` under the newest key."""
        return self._fernets[0].encrypt(plaintext).decode("ascii")

    def __repr__(self) -> str:
        return f"Keyring({len(self.fingerprints)} keys, <redacted>)"


def _key(path: Path, number: int, line: bytes) -> Secret:
    try:
        key = base64.b64decode(line, altchars=b"-_", validate=True)
    except binascii.Error:
        key = b""
    if len(key) != _KEY_BYTES:
        raise CommandError(
            f"{path}, line {number}, is no Fernet key: 44 characters of URL-safe base64 are "
            f"expected.",
            "Put into it what Fernet.generate_key() gives, one key a line, the newest first.",
            ExitCode.USAGE,
        )
    return Secret(key)
