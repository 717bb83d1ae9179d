"""Attack 3 on a real node: shares that are reflected, re-addressed, swapped."""

from __future__ import annotations

from pathlib import Path

import pytest

from secagg.checks import Check
from secagg.wire.messages import Complaint
from tests.attacks.processes.siege import besieged
from tests.attacks.test_03_reflected_shares import (
    DEALER,
    FORGERIES,
    ME,
    Forgery,
    forged,
    readdressed,
)
from tests.cohorts import delivered, refused


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_node_takes_what_its_dealer_signed(tmp_path: Path, forgery: Forgery) -> None:
    with besieged(tmp_path, real=ME) as siege:
        delivery = forged(siege.cohort, forgery)
        with refused(Check.SHARE_COMMITTED):
            siege.tell(delivery)


def test_without_that_check_it_accuses_an_honest_dealer(tmp_path: Path) -> None:
    with besieged(tmp_path, real=ME, removed=[Check.SHARE_COMMITTED]) as siege:
        delivery = forged(siege.cohort, readdressed)
        (complaint,) = delivered(siege.cohort, ME, delivery)
        assert isinstance(complaint, Complaint)
        assert complaint.dealer == DEALER
