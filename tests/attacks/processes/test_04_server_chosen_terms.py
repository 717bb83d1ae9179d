"""Attack 4 on a real node: terms that the server chose, and an announcement of a stranger's."""

from __future__ import annotations

from pathlib import Path

from secagg.checks import Check
from secagg.wire.messages import AdvertiseKeys, Announcement
from tests.attacks.processes.siege import Siege, besieged
from tests.attacks.test_04_server_chosen_terms import announced_under, another_ring
from tests.cohorts import changed, message_for, refused, stranger


def test_another_policy_is_refused(tmp_path: Path) -> None:
    with besieged(tmp_path) as siege:
        cohort = siege.cohort
        with refused(Check.POLICY_PINNED):
            siege.tell(announced_under(cohort, another_ring(cohort.policy), cohort.base_model_hash))


def forged(siege: Siege) -> Announcement:
    """The last attempt that the round can have, announced by a stranger."""
    original = message_for(siege.cohort, siege.real)
    statement = siege.cohort.server.state.attempt.statement()
    signature = stranger(b"server").sign(*statement)
    announcement: Announcement = changed(original, attempt=1000, signature=signature)
    return announcement


def test_a_strangers_announcement_is_refused(tmp_path: Path) -> None:
    with besieged(tmp_path) as siege:
        with refused(Check.ANNOUNCEMENT_SIGNED):
            siege.tell(forged(siege))
        # The honest one is still good.
        (entered,) = siege.tell(message_for(siege.cohort, siege.real))
        assert isinstance(entered, AdvertiseKeys)


def test_without_that_check_a_stranger_spoils_the_round(tmp_path: Path) -> None:
    with besieged(tmp_path, removed=[Check.ANNOUNCEMENT_SIGNED]) as siege:
        (entered,) = siege.tell(forged(siege))
        assert isinstance(entered, AdvertiseKeys)
        with refused(Check.ATTEMPT_INCREASES):
            siege.tell(message_for(siege.cohort, siege.real))
