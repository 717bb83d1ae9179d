"""Where random bytes come from: an argument, never ambient.

Whatever draws randomness takes a :class:`Randomness`. Product code hands in
:class:`SystemRandomness`; tests and vectors hand in :class:`SeededRandomness`.
"""

from __future__ import annotations

import hmac
from typing import Final, Protocol, final

import nacl.utils

from secagg.crypto.hashing import Label, digest, encode, u64

_BLOCK_BYTES: Final = 32


class Randomness(Protocol):
    """A source of independent, uniform bytes."""

    def draw(self, size: int) -> bytes:
        """The next ``size`` bytes (``size >= 0``)."""
        ...


@final
class SystemRandomness:
    """The operating system's generator: the one place where entropy enters."""

    __slots__ = ()

    def draw(self, size: int) -> bytes:
        """``size`` fresh bytes. Raises ValueError for a negative size."""
        _check_size(size)
        return nacl.utils.random(size)


@final
class SeededRandomness:
    """A reproducible stream, for tests and vectors only: whoever knows the seed knows it all.

    The rule, complete::

        encode(part, ...) = for each part: 8-byte big-endian length || part
        key     = SHA-256(encode("secagg/1/seeded randomness", seed))
        stream  = block(0) || block(1) || ...
        block(i) = HMAC-SHA256(key, i as 8 bytes, big-endian)
        child seed of fork(a, b, ...) =
                  HMAC-SHA256(key, encode("secagg/1/seeded randomness fork", a, b, ...))

    Each draw takes the next bytes of the stream; none is skipped or used twice, so two draws of
    5 and 11 bytes give the same bytes as one draw of 16.
    """

    __slots__ = ("_key", "_next_block", "_unused")

    def __init__(self, seed: bytes) -> None:
        """Start the stream of ``seed``, which may have any length."""
        self._key = digest(Label.SEEDED_RANDOMNESS, seed)
        self._next_block = 0
        self._unused = b""

    def draw(self, size: int) -> bytes:
        """The next ``size`` bytes of the stream. Raises ValueError for a negative size."""
        _check_size(size)
        blocks = [self._unused]
        available = len(self._unused)
        while available < size:
            blocks.append(hmac.digest(self._key, u64(self._next_block), "sha256"))
            self._next_block += 1
            available += _BLOCK_BYTES
        stream = b"".join(blocks)
        self._unused = stream[size:]
        return stream[:size]

    def fork(self, *parts: bytes) -> SeededRandomness:
        """An independent stream named by ``parts``, whatever has been drawn from this one."""
        return SeededRandomness(
            hmac.digest(self._key, encode(Label.SEEDED_RANDOMNESS_FORK, *parts), "sha256")
        )


def _check_size(size: int) -> None:
    if size < 0:
        raise ValueError(f"cannot draw {size} bytes")
