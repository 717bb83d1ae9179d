"""Attack 2 on a real node: different survivor sets, and a second sum after an answer."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from secagg.checks import Check
from secagg.policy import Policy, checked
from secagg.rounds.r5_certification import Certifying
from secagg.wire.messages import SurvivorSignatures
from tests.attacks.processes.siege import besieged, siege_policy
from tests.attacks.test_02_two_survivor_sets import COLLUDER, VIEWS, split
from tests.cohorts import (
    Loot,
    colluding,
    delivered,
    opened_sum,
    plain_sum,
    reach,
    refused,
    template,
    vectors,
    without,
)

REAL, TARGET = 3, 4
SECOND = (1, 2, 3)


def six() -> Policy:
    """n = 6, c = 1, so t = 4."""
    roster = template(6, corrupt=1)
    return checked(
        msgspec.structs.replace(
            siege_policy(),
            roster=roster.roster,
            dropouts=roster.dropouts,
            min_survivors=roster.min_survivors,
        )
    )


def test_a_node_answers_a_quorum_alone(tmp_path: Path) -> None:
    with besieged(tmp_path, real=REAL, policy=six()) as siege:
        facts, _, signatures = split(siege.cohort)
        shown = tuple(s for s in signatures if VIEWS[s.u] == VIEWS[REAL])
        assert 1 <= len(shown) < siege.policy.threshold
        with refused(Check.SURVIVORS_QUORUM):
            delivered(siege.cohort, REAL, SurvivorSignatures(facts.attempt.session, shown))


def test_without_the_quorum_the_server_reads_a_sum_of_two(tmp_path: Path) -> None:
    with besieged(tmp_path, real=REAL, policy=six(), removed=[Check.SURVIVORS_QUORUM]) as siege:
        cohort = siege.cohort
        facts, own_key, signatures = split(cohort)
        loot = Loot(siege.policy.threshold)
        colluding(cohort, COLLUDER, loot)
        with without(Check.SURVIVORS_QUORUM):
            for u in VIEWS:
                own = tuple(s for s in signatures if s.u == u)
                (answer,) = delivered(cohort, u, SurvivorSignatures(facts.attempt.session, own))
                loot.take_answer(u, answer)
        keys = loot.privates() | {COLLUDER: own_key}
        read = opened_sum(cohort, facts, [2, REAL], loot.seeds(), keys)
        assert read is not None
        assert np.array_equal(read, plain_sum(cohort, [2, REAL]))


@pytest.mark.parametrize(("round_number", "attempt"), [(1, 2), (2, 1)])
def test_a_node_that_has_answered_enters_nothing_else(
    tmp_path: Path, round_number: int, attempt: int
) -> None:
    with besieged(tmp_path) as siege:
        reach(siege.cohort, Certifying)
        siege.open(round_number, attempt)
        (announcement,) = siege.cohort.to_client(siege.real)
        with refused(Check.ROUND_OPEN):
            siege.tell(announcement)


def test_without_that_two_sums_differ_by_the_target(tmp_path: Path) -> None:
    with besieged(tmp_path, removed=[Check.ROUND_OPEN]) as siege:
        cohort = siege.cohort
        reach(cohort, Certifying)
        first = cohort.total
        with without(Check.ROUND_OPEN):
            siege.open(1, 2)
            reach(cohort, Certifying, SECOND)
        assert first is not None
        assert cohort.total is not None
        assert np.array_equal(first - cohort.total, vectors(siege.policy)[TARGET])
