"""What a journal's entries amount to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.context import Attempt
from secagg.rounds.journal import (
    Abandoned,
    AbandonmentSigned,
    AnswerReleased,
    CertificateSigned,
    Certified,
    Charged,
    Entered,
    Entry,
    Standing,
    SurvivorSigned,
)
from tests.cohorts import changed
from tests.secagg.wire.samples import CERTIFICATE, PUBLISHED, SIGNATURE, A, B, C


def attempt(number: int, count: int = 1) -> Attempt:
    return Attempt(A, number, count, B, C)


def certified(number: int) -> Certified:
    return Certified(changed(CERTIFICATE, round=number))


def signed(number: int) -> CertificateSigned:
    return CertificateSigned(A, changed(PUBLISHED, round=number), B, SIGNATURE)


def after(*entries: Entry, start: Standing | None = None) -> Standing:
    standing = start or Standing()
    for entry in entries:
        standing = standing.after(entry)
    return standing


@pytest.mark.parametrize(
    ("entries", "standing"),
    [
        ([], Standing()),
        ([Entered(attempt(1))], Standing(entered=(1, 1))),
        ([Entered(attempt(1, 5)), Entered(attempt(2))], Standing(entered=(2, 1))),
        ([Charged(attempt(1), A), Charged(attempt(1, 2), A)], Standing(charged=2)),
        ([SurvivorSigned(attempt(1), A, (1, 2, 3), SIGNATURE, b"")], Standing()),
        ([AnswerReleased(attempt(1))], Standing(answered=1)),
        ([signed(1)], Standing(signed=1)),
        ([AbandonmentSigned(1, SIGNATURE)], Standing(abandoning=1)),
        (
            [AbandonmentSigned(2, SIGNATURE), AbandonmentSigned(1, SIGNATURE)],
            Standing(abandoning=2),
        ),
        ([AnswerReleased(attempt(1)), signed(1), certified(1)], Standing(closed=1)),
        ([AnswerReleased(attempt(1)), Abandoned(1)], Standing(closed=1)),
        ([AnswerReleased(attempt(1)), Abandoned(2)], Standing(closed=2)),
        ([AnswerReleased(attempt(2)), certified(1)], Standing(closed=1, answered=2)),
        ([signed(2), Abandoned(1)], Standing(closed=1, signed=2)),
        ([AbandonmentSigned(2, SIGNATURE), certified(1)], Standing(closed=1, abandoning=2)),
        ([AbandonmentSigned(2, SIGNATURE), Abandoned(2)], Standing(closed=2)),
        ([certified(3), certified(1)], Standing(closed=3)),
        ([certified(3), Abandoned(2)], Standing(closed=3)),
    ],
)
def test_what_entries_amount_to(entries: list[Entry], standing: Standing) -> None:
    assert after(*entries) == standing


def test_only_a_newer_certificate_makes_room_for_charges() -> None:
    """A server that shows an old one again, or has a round abandoned, drains no budget by it."""
    spent = after(certified(2), Charged(attempt(3), A), Charged(attempt(3, 2), A))
    assert spent.charged == 2
    assert after(certified(2), start=spent).charged == 2
    assert after(certified(1), start=spent).charged == 2
    assert after(Abandoned(3), start=spent).charged == 2
    assert after(certified(3), start=spent).charged == 0


NUMBERS = st.integers(1, 5)
ENTRIES: st.SearchStrategy[Any] = st.one_of(
    st.builds(Entered, st.builds(attempt, NUMBERS, NUMBERS)),
    st.builds(Charged, st.builds(attempt, NUMBERS), st.just(A)),
    st.builds(AnswerReleased, st.builds(attempt, NUMBERS)),
    st.builds(signed, NUMBERS),
    st.builds(certified, NUMBERS),
    st.builds(AbandonmentSigned, NUMBERS, st.just(SIGNATURE)),
    st.builds(Abandoned, NUMBERS),
)


@given(st.lists(ENTRIES, max_size=12), ENTRIES)
def test_nothing_ever_goes_back(entries: list[Entry], entry: Entry) -> None:
    before = after(*entries)
    now = before.after(entry)
    assert now.entered >= before.entered
    assert now.closed >= before.closed
    for open_round in (now.answered, now.signed, now.abandoning):
        assert open_round is None or open_round > now.closed or not closes(entry)
    assert now.charged >= before.charged or isinstance(entry, Certified)


def closes(entry: Entry) -> bool:
    return isinstance(entry, Certified | Abandoned)
