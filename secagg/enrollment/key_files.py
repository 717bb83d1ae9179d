"""The secrets that a hospital begins with, and the files that hold them; only its TLS key is not
among them, for that is made by the TLS library.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Final, Self, final

from secagg.crypto.randomness import Randomness
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey

IDENTITY_KEY: Final = "identity.key"
JOURNAL_KEY: Final = "journal.key"
FERNET_KEY: Final = "fernet.key"
API_TOKEN: Final = "api.token"  # noqa: S105 - a file's name
API_TOKEN_HASH: Final = "api.token-sha256"  # noqa: S105


@final
@dataclass(frozen=True, slots=True)
class HospitalSecrets:
    """Four independent secrets of 32 bytes each.

    ``identity``: seed of the Ed25519 key that the policy pins. ``journal``: seals what the node
    keeps. ``fernet``: the EHR encrypts patients' records with it, the node opens them. ``token``:
    callers of the node's HTTP interface show it, if it is demanded.
    """

    identity: Secret
    journal: Secret
    fernet: Secret
    token: Secret

    @classmethod
    def generate(cls, randomness: Randomness) -> Self:
        """Fresh ones."""
        identity, journal, fernet, token = (Secret(randomness.draw(32)) for _ in range(4))
        return cls(identity, journal, fernet, token)

    @property
    def public(self) -> bytes:
        """The identity's public key, 32 bytes."""
        return IdentityKey(self.identity).public

    def files(self) -> dict[str, bytes]:
        """Content by file name; each is for the eyes of its owner alone (mode 0600)."""
        token = _token(self.token)
        return {
            IDENTITY_KEY: hex_line(self.identity),
            JOURNAL_KEY: hex_line(self.journal),
            FERNET_KEY: base64.urlsafe_b64encode(self.fernet.reveal()) + b"\n",
            API_TOKEN: token + b"\n",
            API_TOKEN_HASH: hashlib.sha256(token).hexdigest().encode() + b"\n",
        }


def hex_line(secret: Secret) -> bytes:
    """A key file's content: the secret in hexadecimal digits, one line."""
    return secret.reveal().hex().encode() + b"\n"


def _token(secret: Secret) -> bytes:
    """A bearer token (RFC 6750): 43 characters of URL-safe base64. Its hash is of these."""
    return base64.urlsafe_b64encode(secret.reveal()).rstrip(b"=")
