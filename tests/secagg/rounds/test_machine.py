"""The base of all states, and the little functions that every round uses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.checks import Check
from secagg.crypto.secret import Secret
from secagg.errors import PeerViolation
from secagg.rounds.machine import Hospital, abort, ascending, require
from tests.cohorts import assembled, opened, stranger


@given(st.lists(st.integers(-3, 8)))
def test_ascending_means_sorted_and_each_once(listed: list[int]) -> None:
    assert ascending(listed) == (listed == sorted(set(listed)))
    assert ascending(iter(listed)) == ascending(listed)


def test_require_says_which_check_who_and_what() -> None:
    require(True, Check.U3_LARGE_ENOUGH, "server")
    with pytest.raises(PeerViolation) as caught:
        require(False, Check.U3_LARGE_ENOUGH, "server", "2 clients")
    assert str(caught.value) == (
        "CHK-302 (U3 has at least min_survivors members) broken by server: 2 clients"
    )
    assert (caught.value.check, caught.value.peer, caught.value.detail) == (
        Check.U3_LARGE_ENOUGH,
        "server",
        "2 clients",
    )


def test_a_hospital_holds_the_identity_that_its_policy_pins() -> None:
    cohort = assembled()
    one = cohort.hospitals[1]
    for u, identity in ((1, stranger(b"x")), (2, one.identity)):
        with pytest.raises(ValueError, match="enroll the key that this node holds"):
            Hospital(cohort.policy, u, identity, Secret(bytes(32)))


def test_a_hospital_shows_neither_of_its_keys() -> None:
    hospital = assembled().hospitals[1]
    assert hospital.journal_key.reveal().hex() not in repr(hospital)
    assert repr(hospital.journal_key.reveal())[2:-1] not in repr(hospital)


def test_an_aborted_attempt_awaits_nobody_and_sends_nothing() -> None:
    state = abort(opened().server.state, "why", frozenset({2}))
    assert state.reason == "why"
    assert state.omit == {2}
    assert state.awaited() == frozenset()
    assert state.outbound(1) == ()
