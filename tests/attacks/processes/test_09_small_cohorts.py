"""Attack 9 on a real node: a survivor set below the policy's floor."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from secagg.checks import Check
from secagg.policy import Policy, checked
from secagg.privacy.mechanism import Mechanism
from secagg.rounds.r2_masked_input import Masking
from secagg.rounds.r3_consistency_check import Checking
from secagg.wire.messages import Signed, SurvivorSet, SurvivorSignatures
from tests.attacks.processes.siege import besieged, siege_policy
from tests.cohorts import (
    Facts,
    Loot,
    delivered,
    opened_sum,
    plain_sum,
    reach,
    refused,
    template,
    without,
)

FEW = (1, 2, 3, 4)


def six_or_nothing() -> Policy:
    """A floor of six and a quorum of four."""
    roster = template(6, corrupt=1, dropouts=0, min_survivors=6).roster
    return checked(
        msgspec.structs.replace(siege_policy(), roster=roster, dropouts=0, min_survivors=6)
    )


def test_a_node_signs_no_set_below_the_floor(tmp_path: Path) -> None:
    with besieged(tmp_path, policy=six_or_nothing()) as siege:
        session = reach(siege.cohort, Checking).attempt.session
        with refused(Check.U3_LARGE_ENOUGH):
            siege.tell(SurvivorSet(session, FEW))


def test_without_the_floor_the_server_reads_a_sum_that_the_policy_forbids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[Check | str] = [Check.U3_LARGE_ENOUGH, "floor-in-the-mechanism"]
    monkeypatch.setattr(Mechanism, "surplus", lambda *_: range(0))
    with besieged(tmp_path, policy=six_or_nothing(), removed=removed) as siege:
        cohort = siege.cohort
        facts = Facts.of(reach(cohort, Masking))
        reach(cohort, Checking)
        session, loot = facts.attempt.session, Loot(siege.policy.threshold)
        with without(Check.U3_LARGE_ENOUGH):
            signatures = tuple(
                Signed(u, delivered(cohort, u, SurvivorSet(session, FEW))[0].signature) for u in FEW
            )
        for u in FEW:
            (answer,) = delivered(cohort, u, SurvivorSignatures(session, signatures))
            loot.take_answer(u, answer)
        read = opened_sum(cohort, facts, FEW, loot.seeds(), loot.privates())
        assert read is not None
        assert np.array_equal(read, plain_sum(cohort, FEW))
