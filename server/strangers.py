"""Connections that have not shown yet who they are: so many at once, and the oldest goes first.

Refusing the newest instead would let whoever fills all places keep every hospital out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import trio


@final
class Strangers:
    """At most ``limit`` strangers at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._scopes: dict[trio.CancelScope, None] = {}

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Be a stranger for the length of the block; it is cancelled if room is needed.

        A cancelled block just ends: what it would have found out stays unknown.
        """
        if len(self._scopes) >= self._limit:
            oldest = next(iter(self._scopes))
            del self._scopes[oldest]
            oldest.cancel()
        with trio.CancelScope() as scope:
            self._scopes[scope] = None
            try:
                yield
            finally:
                self._scopes.pop(scope, None)
