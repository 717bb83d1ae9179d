"""A certified model on its way from a party to a server that lacks its bytes."""

from __future__ import annotations

from typing import final

from secagg.checks import Check
from secagg.rounds.machine import require
from secagg.wire.messages import ModelChunk


@final
class ModelIntake:
    """``wanted``: the model's hash; ``size``: the length that every model of the policy has."""

    def __init__(self, wanted: bytes, size: int) -> None:
        self.wanted = wanted
        self._size = size
        self._data = bytearray()

    def receive(self, chunk: ModelChunk, sender: str) -> bytes | None:
        """Take the next chunk; the bytes when they are whole, hash unchecked.

        Raises PeerViolation unless the chunk continues the model.
        """
        end = chunk.start + len(chunk.data)
        require(
            chunk.start == len(self._data) and end <= self._size,
            Check.STREAM_IN_ORDER,
            sender,
            f"model bytes from {chunk.start} on",
        )
        self._data += chunk.data
        return bytes(self._data) if end == self._size else None
