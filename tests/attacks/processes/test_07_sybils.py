"""Attack 7 on a real node: sybils, and one hospital counted often."""

from __future__ import annotations

from pathlib import Path

from secagg.checks import Check
from secagg.rounds.r1_share_keys import Sharing
from secagg.rounds.r4_unmasking import Unmasking
from secagg.wire.messages import UnmaskingAnswer
from tests.attacks.processes.siege import besieged
from tests.attacks.test_07_sybils import SYBIL
from tests.cohorts import advertisement_of, changed, message_for, reach, refused, stranger


def test_a_sybil_in_u1_is_refused(tmp_path: Path) -> None:
    with besieged(tmp_path) as siege:
        state = reach(siege.cohort, Sharing)
        roster, two = message_for(siege.cohort, siege.real), state.advertised[2]
        sybil = advertisement_of(
            stranger(b"sybil"),
            state.attempt.session,
            SYBIL,
            two.channel_keys,
            two.advertisement.mask_key,
        ).delivered_to(siege.real)
        with refused(Check.U1_WELL_FORMED):
            siege.tell(changed(roster, advertised=(*roster.advertised, sybil)))


def test_no_survivor_is_counted_twice(tmp_path: Path) -> None:
    with besieged(tmp_path) as siege:
        reach(siege.cohort, Unmasking)
        shown = message_for(siege.cohort, siege.real)
        alone = shown.signatures[:1] * siege.policy.threshold
        with refused(Check.SURVIVORS_WELL_FORMED):
            siege.tell(changed(shown, signatures=alone))


def test_without_that_check_one_signature_is_a_quorum(tmp_path: Path) -> None:
    with besieged(tmp_path, removed=[Check.SURVIVORS_WELL_FORMED]) as siege:
        reach(siege.cohort, Unmasking)
        shown = message_for(siege.cohort, siege.real)
        alone = shown.signatures[:1] * siege.policy.threshold
        (answer,) = siege.tell(changed(shown, signatures=alone))
        assert isinstance(answer, UnmaskingAnswer)
        assert answer.self_mask_shares
