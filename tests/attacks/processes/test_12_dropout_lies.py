"""Attack 12 on a real node: a lie about dropouts, to have it disclose noise that must stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from secagg.checks import Check
from secagg.policy import NoiseSpec, Policy, checked
from secagg.privacy.accounting import RHO_UNIT
from secagg.rounds.r2_masked_input import Masking
from secagg.wire.messages import Signed, SurvivorSet, SurvivorSignatures, UnmaskingAnswer
from tests.attacks.processes.siege import Siege, besieged, siege_policy
from tests.cohorts import delivered, reach, refused, step, template

GONE, HERE, EVERYBODY = 5, (1, 2, 3, 4), (1, 2, 3, 4, 5)


def five() -> Policy:
    """n = 5, c = 1, t = 4, noise exact."""
    base, roster = siege_policy(), template(5)
    assert base.model is not None
    noise = NoiseSpec(
        mode="exact",
        sensitivity=base.model.contribution.sensitivity,
        rho_units=int(1 / RHO_UNIT),
    )
    return checked(
        msgspec.structs.replace(
            base,
            roster=roster.roster,
            dropouts=roster.dropouts,
            min_survivors=roster.min_survivors,
            noise=noise,
        )
    )


def told_that_nobody_dropped(siege: Siege) -> list[Any]:
    """Only the node is told that hospital 5 has survived; the others sign the truth."""
    cohort = siege.cohort
    reach(cohort, Masking)
    step(cohort, HERE)
    session = cohort.server.state.attempt.session
    signatures = []
    for u in HERE:
        shown = EVERYBODY if u == siege.real else HERE
        (signed,) = delivered(cohort, u, SurvivorSet(session, shown))
        signatures.append(Signed(u, signed.signature))
    return siege.tell(SurvivorSignatures(session, tuple(signatures)))


def test_the_surplus_is_set_by_the_set_that_a_quorum_signed(tmp_path: Path) -> None:
    with besieged(tmp_path, policy=five()) as siege, refused(Check.SURVIVORS_VALID):
        told_that_nobody_dropped(siege)


def test_without_that_check_it_discloses_noise_that_must_stay(tmp_path: Path) -> None:
    with besieged(tmp_path, policy=five(), removed=[Check.SURVIVORS_VALID]) as siege:
        (answer,) = told_that_nobody_dropped(siege)
        assert isinstance(answer, UnmaskingAnswer)
        # With hospital 5 gone, the true survivor set needs all noise: nothing is surplus.
        assert len(siege.policy.mechanism.surplus(5, 4)) == 0
        assert len(answer.surplus_seeds) == 1
