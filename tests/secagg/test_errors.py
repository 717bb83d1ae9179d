"""Errors are told apart by whose fault it is, and keep what they were told."""

from __future__ import annotations

import pytest

from secagg.checks import Check
from secagg.errors import DecodeError, LocalMisuse, PeerViolation, SecaggError, SessionAborted

KINDS = (DecodeError, LocalMisuse, PeerViolation, SessionAborted)


def test_no_kind_is_taken_for_another_and_all_are_the_packages_own() -> None:
    for kind in KINDS:
        assert issubclass(kind, SecaggError)
        assert not any(issubclass(kind, other) for other in KINDS if other is not kind)


@pytest.mark.parametrize(("detail", "tail"), [("", ""), ("2 of 3", ": 2 of 3")])
def test_a_violation_says_what_who_and_with_what(detail: str, tail: str) -> None:
    check = Check.U1_LARGE_ENOUGH
    error = PeerViolation(check, "hospital-2", detail)
    assert str(error) == f"{check.id} ({check.statement}) broken by hospital-2{tail}"
    assert (error.check, error.peer, error.detail) == (check, "hospital-2", detail)


def test_an_aborted_attempt_keeps_its_reason() -> None:
    error = SessionAborted("only 2 of 3 hospitals answered")
    assert str(error) == error.reason == "only 2 of 3 hospitals answered"
