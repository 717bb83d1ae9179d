"""Attack 1 on a real node: it is asked for the other kind of share after it has answered."""

from __future__ import annotations

from pathlib import Path

from secagg.checks import Check
from secagg.rounds.r3_consistency_check import Checking
from secagg.rounds.r5_certification import Certifying
from secagg.wire.messages import SurvivorSet, SurvivorSignature
from tests.attacks.processes.siege import besieged
from tests.cohorts import refused

EVERYBODY, THE_OTHERS = (1, 2, 3, 4), (1, 2, 3)


def test_a_node_signs_one_survivor_set(tmp_path: Path) -> None:
    with besieged(tmp_path) as siege:
        siege.open()
        session = siege.reach(Checking).attempt.session
        (signed,) = siege.tell(SurvivorSet(session, EVERYBODY))
        assert isinstance(signed, SurvivorSignature)
        with refused(Check.EXPECTED_MESSAGE):
            siege.tell(SurvivorSet(session, THE_OTHERS))


def test_an_honest_round(tmp_path: Path) -> None:
    with besieged(tmp_path) as siege:
        siege.open()
        siege.reach(Certifying)
        assert siege.cohort.total is not None
        expected = siege.vector() + sum(siege.cohort.vectors[u] for u in (2, 3, 4))
        assert siege.cohort.total.tolist() == expected.tolist()
