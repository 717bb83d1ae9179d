"""Attack 1 on a real node: it is asked for both kinds of share of one hospital."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from secagg.checks import Check
from secagg.rounds.r2_masked_input import Masked, Masking
from secagg.rounds.r3_consistency_check import Checking
from secagg.rounds.r5_certification import Certifying
from secagg.rounds.session import ClientSession
from secagg.wire.messages import Signed, SurvivorSet, SurvivorSignatures, UnmaskingAnswer
from tests.attacks.processes.siege import Siege, besieged
from tests.cohorts import (
    Facts,
    Loot,
    delivered,
    opened_sum,
    plain_sum,
    reach,
    refused,
    state_of,
)

TARGET = 4
EVERYBODY, THE_OTHERS = (1, 2, 3, 4), (1, 2, 3)


def test_an_honest_round_is_what_the_attacks_start_from(tmp_path: Path) -> None:
    with besieged(tmp_path) as siege:
        reach(siege.cohort, Certifying)
        assert siege.cohort.total is not None
        assert np.array_equal(siege.cohort.total, plain_sum(siege.cohort, EVERYBODY))


def answers(siege: Siege, u3: tuple[int, ...], masked: dict[int, Masked], loot: Loot) -> None:
    """All but the target answer for ``u3``, going back to where they had masked."""
    cohort, session = siege.cohort, siege.cohort.server.state.attempt.session
    for u, state in masked.items():
        cohort.sessions[u] = ClientSession(state)
    signatures = []
    for u in THE_OTHERS:
        (signed,) = delivered(cohort, u, SurvivorSet(session, u3))
        signatures.append(Signed(u, signed.signature))
    for u in THE_OTHERS:
        (answer,) = delivered(cohort, u, SurvivorSignatures(session, tuple(signatures)))
        assert isinstance(answer, UnmaskingAnswer)
        loot.take_answer(u, answer)


def test_a_node_signs_one_survivor_set(tmp_path: Path) -> None:
    with besieged(tmp_path) as siege:
        reach(siege.cohort, Checking)
        masked = {u: state_of(siege.cohort, u, Masked) for u in (2, 3)}
        loot = Loot(siege.policy.threshold)
        answers(siege, EVERYBODY, masked, loot)
        with refused(Check.EXPECTED_MESSAGE):
            answers(siege, THE_OTHERS, masked, loot)


def test_a_node_that_goes_back_gives_the_target_away(tmp_path: Path) -> None:
    with besieged(tmp_path, removed=["states-once-left"]) as siege:
        facts = Facts.of(reach(siege.cohort, Masking))
        reach(siege.cohort, Checking)
        masked = {u: state_of(siege.cohort, u, Masked) for u in (2, 3)}
        loot = Loot(siege.policy.threshold)
        for u3 in (EVERYBODY, THE_OTHERS):
            answers(siege, u3, masked, loot)
        read = opened_sum(siege.cohort, facts, [TARGET], loot.seeds(), loot.privates())
        assert read is not None
        assert np.array_equal(read, siege.cohort.vectors[TARGET])
