"""Rehearsing the loss of this hospital: the process kills itself at a known point of a round.

For drills, demonstrations and tests. It is a real ``SIGKILL``: nothing is closed, flushed or said
goodbye to, so what follows is what follows a power cut at that point.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import final

from secagg.simulate import LAST_OF_STAGE
from secagg.wire.messages import AdvertiseKeys, VectorChunk, Wire


class LossPoint(StrEnum):
    """What the hospital has done when it is lost: each stage of a round, and two points between.

    After ``START`` the round is entered in the journal, and nothing of it has left; after
    ``CHARGED`` its privacy cost is charged, and nothing masked has left.
    """

    START = "start"
    ADVERTISE_KEYS = "advertise_keys"
    SHARE_KEYS = "share_keys"
    CHARGED = "charged"
    MASKED_INPUT = "masked_input"
    CONSISTENCY_CHECK = "consistency_check"
    UNMASKING = "unmasking"
    CERTIFICATION = "certification"


def _kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@final
@dataclass(frozen=True, slots=True)
class Loss:
    """Die in training round ``number``, as soon as the last message up to ``point`` has left."""

    point: LossPoint
    number: int
    die: Callable[[], None] = field(default=_kill_this_process)

    def leaving(self, message: Wire, number: int) -> None:
        """``message`` of round ``number`` is about to be sent; what had to be durable, is."""
        match message:
            case AdvertiseKeys():
                reached = LossPoint.START
            case VectorChunk(start=0):
                reached = LossPoint.CHARGED
            case _:
                return
        if (reached, number) == (self.point, self.number):
            self.die()

    def left(self, message: Wire, number: int) -> None:
        """The network has taken all of ``message``."""
        stage = LAST_OF_STAGE.get(type(message))
        if number == self.number and stage is not None and stage.value == self.point.value:
            self.die()
