"""Attack 8 on a real node: it is announced another model than the others'."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from secagg.checks import Check
from secagg.context import Attempt
from secagg.rounds.r5_certification import Certifying
from secagg.wire.messages import AdvertiseKeys
from tests.attacks.processes.siege import besieged
from tests.attacks.processes.weakened import session_without_model
from tests.attacks.test_08_different_models import VICTIM, announced_to_victim
from tests.cohorts import changed, plain_sum, reach, refused, step


def test_a_model_that_it_does_not_hold_is_refused(tmp_path: Path) -> None:
    with besieged(tmp_path, real=VICTIM) as siege, refused(Check.BASE_MODEL_HELD):
        siege.tell(announced_to_victim(siege.cohort))


def test_without_that_check_the_session_it_enters_is_nobodys(tmp_path: Path) -> None:
    """The id of the session has its own model in it, so the signature is on another one."""
    with (
        besieged(tmp_path, real=VICTIM, removed=[Check.BASE_MODEL_HELD]) as siege,
        refused(Check.ANNOUNCEMENT_SIGNED),
    ):
        siege.tell(announced_to_victim(siege.cohort))


def test_if_the_session_left_the_model_out_its_update_would_be_in_the_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Attempt, "session", property(session_without_model))
    removed: list[Check | str] = ["model-in-the-session", Check.BASE_MODEL_HELD]
    with besieged(tmp_path, real=VICTIM, removed=removed) as siege:
        cohort = siege.cohort
        step(cohort, [1, 2, 3])
        (entered,) = siege.tell(announced_to_victim(cohort))
        assert isinstance(entered, AdvertiseKeys)
        cohort.collect(VICTIM, changed(entered, base_model_hash=cohort.base_model_hash))
        reach(cohort, Certifying)
        assert cohort.total is not None
        assert np.array_equal(cohort.total, plain_sum(cohort, cohort.policy.members))
