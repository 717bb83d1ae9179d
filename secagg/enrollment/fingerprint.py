"""What two people read to each other on the telephone, to know that they hold the same document."""

from __future__ import annotations

import re
from typing import Final

_BYTES: Final = 12
_GROUP: Final = 4


def fingerprint(digest: bytes) -> str:
    """The first 96 bits of ``digest`` (at least 12 bytes) as six groups of four hex digits.

    Somebody who wants another document with a given fingerprint has to try 2^96 of them.
    """
    digits = digest[:_BYTES].hex()
    return " ".join(digits[i : i + _GROUP] for i in range(0, len(digits), _GROUP))


def is_fingerprint(typed: str, digest: bytes) -> bool:
    """Whether ``typed`` is the fingerprint of ``digest``, however it is spaced; or all of it."""
    digits = re.sub(r"[\s:-]", "", typed).lower()
    return digits in (digest[:_BYTES].hex(), digest.hex())
