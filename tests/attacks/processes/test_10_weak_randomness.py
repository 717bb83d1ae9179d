"""Attack 10 on a real node: the same machine state twice, as from a snapshot."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from secagg.wire.messages import AdvertiseKeys
from tests.attacks.processes.siege import besieged
from tests.cohorts import message_for


def advertised_twice(directory: Path, removed: Sequence[str] = ()) -> list[AdvertiseKeys]:
    """What two clones of one machine advertise for the same attempt."""
    found: list[AdvertiseKeys] = []
    with besieged(directory, removed=removed) as siege:
        announcement = message_for(siege.cohort, siege.real)
        for _ in range(2):
            (entered,) = siege.tell(announcement)
            assert isinstance(entered, AdvertiseKeys)
            found.append(entered)
            siege.kill()
            shutil.rmtree(directory / "state")
            siege.start()
    return found


def test_clones_have_no_key_in_common(tmp_path: Path) -> None:
    first, second = advertised_twice(tmp_path)
    assert first.session == second.session
    keys = [{x.advertisement.mask_key, *x.channel_keys} for x in (first, second)]
    assert not keys[0] & keys[1]


def test_with_a_generator_that_repeats_they_have_all(tmp_path: Path) -> None:
    """One key in two runs: b_u opened in the one and the mask key in the other unmask both."""
    first, second = advertised_twice(tmp_path, ["fresh-randomness"])
    assert first == second
