"""Frames on a byte stream: a 4-byte big-endian length, then that many bytes. Sans-IO."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

from secagg.errors import DecodeError

HEADER_BYTES: Final = 4
MAX_FRAME_BYTES: Final = 4 * 2**20
"""Largest frame; the largest message (shares for 4096 clients) stays below it."""


def frame(payload: bytes) -> bytes:
    """``payload`` with its length before it; raises DecodeError if it is too large or empty."""
    _check_length(len(payload))
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload


@final
class FrameReader:
    """Cuts received bytes into frames; holds at most one frame and what came with it.

    ``limit`` bounds the frames of this direction and moment, in bytes: a peer that is not yet
    authenticated is given a small one.
    """

    __slots__ = ("_buffer", "limit")

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self._buffer = bytearray()
        self.limit = limit

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take received bytes; yields each payload that is now whole.

        Raises DecodeError as soon as a header announces a frame over the limit or an empty one.
        """
        self._buffer += data
        while len(self._buffer) >= HEADER_BYTES:
            length = int.from_bytes(self._buffer[:HEADER_BYTES], "big")
            _check_length(length, self.limit)
            end = HEADER_BYTES + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[HEADER_BYTES:end])
            del self._buffer[:end]
            yield payload

    def finish(self) -> None:
        """The stream has ended; raises DecodeError if it ended inside a frame."""
        if self._buffer:
            raise DecodeError(f"the stream ended inside a frame ({len(self._buffer)} bytes of it)")


def _check_length(length: int, limit: int = MAX_FRAME_BYTES) -> None:
    if not 1 <= length <= limit:
        raise DecodeError(f"a frame has 1 to {limit} bytes, not {length}")
