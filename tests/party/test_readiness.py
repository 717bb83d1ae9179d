"""Readiness: a batch is offered if, and only if, nothing would refuse its attempt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from party.batches import Progress
from party.readiness import Readiness, Word, readiness
from secagg.rounds.journal import Standing
from tests.party.consortium import Consortium

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
OPEN = Standing(entered=(3, 1), closed=2)


def judged(
    consortium: Consortium, standing: Standing, since: int | None = 1, disputed: bool = False
) -> Readiness:
    party = consortium.parties[1]
    party.source.since = since
    progress = Progress(standing.closed, standing.closed)
    return readiness(consortium.policy, standing, progress, party.source, party.ledger, disputed)


@pytest.mark.parametrize(
    ("standing", "since", "number"),
    [
        (OPEN, 1, 3),
        (OPEN, 3, 3),
        (OPEN, 9, 9),
        (replace(OPEN, abandoning=3), 3, 4),
        (replace(OPEN, abandoning=5), 3, 6),
        (replace(OPEN, charged=2), 3, 3),
    ],
)
def test_a_batch_is_offered_for_the_lowest_round_that_may_be_entered(
    consortium: Consortium, standing: Standing, since: int, number: int
) -> None:
    assert judged(consortium, standing, since) == Readiness(number, Word.READY)


@pytest.mark.parametrize(
    ("standing", "state"),
    [
        (replace(OPEN, answered=3), "awaiting the end of the round"),
        (replace(OPEN, signed=3), "awaiting the end of the round"),
        (replace(OPEN, charged=3), "attempts exhausted"),
    ],
)
def test_a_hospital_that_may_enter_nothing_offers_nothing(
    consortium: Consortium, standing: Standing, state: str
) -> None:
    found = judged(consortium, standing)
    assert (found.number, found.state) == (None, state)


def test_a_dispute_and_an_empty_source_offer_nothing(consortium: Consortium) -> None:
    assert judged(consortium, OPEN, since=None) == Readiness(None, Word.NO_BATCH)
    disputed = judged(consortium, OPEN, disputed=True)
    assert (disputed.number, disputed.state) == (None, "disputed")
    assert "CHK-509" in (disputed.problem or "")


def test_a_hospital_that_has_left_offers_nothing(consortium: Consortium) -> None:
    party = consortium.parties[1]
    found = readiness(
        consortium.policy, OPEN, Progress(2, 2), party.source, party.ledger, False, left=True
    )
    assert found == Readiness(None, Word.HAS_LEFT)


@pytest.mark.parametrize("word", Word)
def test_operators_are_told_what_each_word_means(word: Word) -> None:
    assert f"| `{word}` | " in OPERATIONS.read_text(encoding="utf-8")
