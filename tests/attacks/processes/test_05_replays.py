"""Attack 5 on a real node: an announcement is replayed, also after the node was killed."""

from __future__ import annotations

from pathlib import Path

from secagg.checks import Check
from secagg.rounds.r2_masked_input import Masking
from secagg.wire.messages import AdvertiseKeys
from tests.attacks.processes.siege import besieged
from tests.cohorts import message_for, reach, refused


def test_a_killed_node_does_not_enter_the_attempt_again(tmp_path: Path) -> None:
    with besieged(tmp_path) as siege:
        announcement = message_for(siege.cohort, siege.real)
        reach(siege.cohort, Masking)
        with refused(Check.ATTEMPT_INCREASES):
            siege.tell(announcement)
        siege.kill()
        siege.start()
        assert siege.said == []
        assert siege.hellos[-1].entered_attempt == 1
        with refused(Check.ATTEMPT_INCREASES):
            siege.tell(announcement)


def test_without_that_check_one_session_has_two_sets_of_keys(tmp_path: Path) -> None:
    with besieged(tmp_path, removed=[Check.ATTEMPT_INCREASES]) as siege:
        announcement = message_for(siege.cohort, siege.real)
        (first,) = siege.tell(announcement)
        siege.kill()
        siege.start()
        (second,) = siege.tell(announcement)
        assert isinstance(first, AdvertiseKeys)
        assert isinstance(second, AdvertiseKeys)
        assert first.session == second.session
        assert first.advertisement.mask_key != second.advertisement.mask_key
