"""A byte string that does not leak by accident."""

from __future__ import annotations

import hmac
from typing import Final, Never, final

_REDACTED: Final = "Secret(<redacted>)"


@final
class Secret:
    """Secret bytes, readable only through :meth:`reveal`.

    Text forms are redacted, pickling and copying are refused, equality takes a time that depends
    on the length alone. Call ``reveal()`` inside the expression that uses the bytes, so that no
    local variable holds them.
    """

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes | bytearray | memoryview) -> None:
        """Keep a copy of ``octets``. Raises ValueError when there are none."""
        self._octets = bytearray(octets)
        if not self._octets:
            raise ValueError("a secret of no bytes is no secret")

    def reveal(self) -> bytes:
        """The bytes themselves. Raises ValueError after :meth:`wipe`."""
        if not self._octets:
            raise ValueError("this secret has been wiped; it can be used no more")
        return bytes(self._octets)

    def wipe(self) -> None:
        """Overwrite the bytes held here and forget them; doing so twice is harmless.

        Python may hold other copies (whatever :meth:`reveal` has returned), so this shortens the
        life of a secret in memory and does not end it.
        """
        self._octets[:] = bytes(len(self._octets))
        self._octets.clear()

    def __len__(self) -> int:
        """Number of bytes; 0 once wiped."""
        return len(self._octets)

    def __eq__(self, other: object) -> bool:
        """Constant-time comparison of contents. A wiped secret equals nothing."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._octets, other._octets) and bool(self._octets)

    # A wiped secret would change its hash, and a hash of the content would leak some of it.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return _REDACTED

    def __format__(self, format_spec: str) -> str:
        return _REDACTED

    # Both pickle and copy ask for the state first, whatever the protocol.
    def __getstate__(self) -> Never:
        raise TypeError("a Secret refuses to be pickled or copied; pass the object itself")
