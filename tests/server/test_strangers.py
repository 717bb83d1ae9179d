"""When there is no place left, the oldest stranger makes room, and only it."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from server.strangers import Strangers


async def test_the_oldest_makes_room(autojump_clock: MockClock) -> None:
    strangers, stayed = Strangers(2), list[int]()

    async def stranger(number: int) -> None:
        with strangers.admitted():
            await trio.sleep(10)
            stayed.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(stranger, number)
            await trio.sleep(1)
    assert stayed == [2, 3]


async def test_who_has_left_makes_room_by_itself(autojump_clock: MockClock) -> None:
    strangers, stayed = Strangers(1), list[int]()
    for number in range(3):
        with strangers.admitted():
            await trio.sleep(1)
            stayed.append(number)
    assert stayed == [0, 1, 2]
