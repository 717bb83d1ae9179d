"""What one corrupt hospital says of itself does not decide for the others."""

from __future__ import annotations

import pytest

from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey
from secagg.policy import Member, Policy, VectorSpec, checked
from secagg.rounds.r0_advertise_keys import MAX_ROUND_GAP
from server.gathering import Open, Standby, View, opening

FAR = 2**53
POLICY = checked(
    Policy(
        consortium="tests",
        server_key=IdentityKey(Secret(bytes(32))).public.hex(),
        roster=tuple(
            Member(f"hospital-{u}", IdentityKey(Secret(bytes([u]) * 32)).public.hex())
            for u in range(1, 5)
        ),
        corrupt=1,
        dropouts=1,
        min_survivors=3,
        vector=VectorSpec(dimension=5, max_value=100),
    )
)
HONEST = Standby(1, (0, 0))
CORRUPT = (Standby(FAR, (0, 0)), Standby(1, (FAR, FAR)), Standby(1 + MAX_ROUND_GAP + 1, (0, 0)))


@pytest.mark.parametrize("corrupt", CORRUPT)
def test_a_number_out_of_reach_drags_nobody_there(corrupt: Standby) -> None:
    assert opening(POLICY, View(0, {1: HONEST, 2: HONEST, 3: corrupt}, {})) is None


@pytest.mark.parametrize("corrupt", CORRUPT)
def test_the_others_go_on_with_their_own_round(corrupt: Standby) -> None:
    view = View(0, {1: HONEST, 2: HONEST, 3: corrupt, 4: HONEST}, {})
    assert opening(POLICY, view) == Open(1, 1, frozenset({1, 2, 4}))


def test_a_number_within_reach_is_waited_for() -> None:
    late = Standby(1 + MAX_ROUND_GAP, (0, 0))
    plan = opening(POLICY, View(0, {1: HONEST, 2: HONEST, 3: late}, {}))
    assert plan == Open(1 + MAX_ROUND_GAP, 1, frozenset({1, 2, 3}))
