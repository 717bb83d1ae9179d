"""How long to wait before the next attempt to reach the server."""

from __future__ import annotations

from typing import final

from secagg.crypto.randomness import Randomness

_DRAW_BYTES = 4
_DRAWN = 256**4


@final
class Backoff:
    """Pauses that double from ``initial`` to ``maximum`` seconds, each shortened at random by up
    to a half, so that hospitals that lost the server together do not come back in step.
    """

    def __init__(self, initial: float, maximum: float, randomness: Randomness) -> None:
        self._initial = initial
        self._maximum = maximum
        self._randomness = randomness
        self._ceiling = initial

    def after(self, connected_for: float) -> float:
        """The next pause in seconds, after a connection that held for so many seconds.

        A connection that held for longer than the longest pause that is due starts the doubling
        anew; one that the server closes at once does not.
        """
        if connected_for > self._ceiling:
            self._ceiling = self._initial
        drawn = int.from_bytes(self._randomness.draw(_DRAW_BYTES), "big")
        pause = self._ceiling * (1 - drawn / _DRAWN / 2)
        self._ceiling = min(2 * self._ceiling, self._maximum)
        return pause
