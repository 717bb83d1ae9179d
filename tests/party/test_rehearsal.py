"""A rehearsed loss happens after the named stage of the named round, and at no other message."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import trio

from party.backoff import Backoff
from party.node import Node
from party.rehearsal import Loss, LossPoint
from secagg.crypto.randomness import SeededRandomness
from secagg.simulate import STAGES
from tests.party.consortium import Consortium
from tests.party.coordinator import Coordinator

ALL_SENT = [
    "Ready",
    "AdvertiseKeys",
    "ShareKeys",
    "VectorChunk",
    "MaskedInputSignature",
    "SurvivorSignature",
    "UnmaskingAnswer",
    "CertificateShare",
]
SENT_BEFORE = {
    LossPoint.START: 1,
    LossPoint.ADVERTISE_KEYS: 2,
    LossPoint.SHARE_KEYS: 3,
    LossPoint.CHARGED: 3,
    LossPoint.MASKED_INPUT: 5,
    LossPoint.CONSISTENCY_CHECK: 6,
    LossPoint.UNMASKING: 7,
    LossPoint.CERTIFICATION: 8,
}


def test_the_stages_of_the_simulation_are_among_the_points() -> None:
    others = {LossPoint.CHARGED, LossPoint.CERTIFICATION}
    assert tuple(point for point in LossPoint if point not in others) == STAGES


class Died(BaseException):
    """Instead of SIGKILL, in the test's own process."""


@pytest.mark.parametrize("point", LossPoint)
async def test_everything_up_to_the_point_is_sent_and_nothing_after_it(
    consortium: Consortium, point: LossPoint
) -> None:
    sent: list[str] = []
    lost = trio.Event()

    quiet = trio.CancelScope()  # ends when nothing has come for a while after the loss

    def die() -> None:
        lost.set()
        quiet.deadline = trio.current_time() + 0.5
        raise Died

    async def one(node: Node) -> None:
        try:
            await node.run()
        except* Died:
            assert lost.is_set()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            coordinator = Coordinator(consortium, nursery)
            party, backoff = consortium.parties[1], Backoff(0.01, 0.05, SeededRandomness(b"1"))
            digest = consortium.policy.digest()
            loss = Loss(point, 2, die)
            node = Node(party.client, party.source, digest, coordinator.dial, backoff, loss)
            nursery.start_soon(one, node)
            for u in (2, 3, 4):
                nursery.start_soon(coordinator.node(u).run)
            await coordinator.all_ready(1)
            await coordinator.deliver(consortium.announce(1))
            await coordinator.go_on()
            await coordinator.all_ready(2)
            sent.append("Ready")
            await coordinator.deliver(consortium.announce(2))
            with quiet:
                while True:
                    u, message = await coordinator.take()
                    if lost.is_set():
                        quiet.deadline = trio.current_time() + 0.5
                    if u == 1:
                        sent.append(type(message).__name__)
                    gone = {1} if lost.is_set() else set[int]()
                    await coordinator.deliver(consortium.collect([(u, message)]) - gone)
            assert lost.is_set()
            nursery.cancel_scope.cancel()
    assert sent == ALL_SENT[: SENT_BEFORE[point]]


def test_it_is_a_kill_that_leaves_no_time_for_anything() -> None:
    code = (
        "import atexit\n"
        "from party.rehearsal import Loss, LossPoint\n"
        "atexit.register(print, 'goodbye')\n"
        "Loss(LossPoint.START, 1).die()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == ""
