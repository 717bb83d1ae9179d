from collections import Counter

import pytest

from benchmarks.heart_disease import selection
from benchmarks.heart_disease.dataset import HOSPITALS, Split, load
from benchmarks.heart_disease.policy import CHOSEN, Constants
from benchmarks.heart_disease.selection import (
    FOLDS,
    TIE,
    Candidate,
    evaluate,
    fold_of,
    grid,
    select,
)


def candidate(name: str, accuracy: float, log_loss: float) -> Candidate:
    return Candidate(Constants(1, 1, name, "1"), (accuracy, accuracy), log_loss)


def test_the_chosen_constants_were_among_the_candidates() -> None:
    assert CHOSEN in grid()
    assert len(set(grid())) == len(grid()) == 48


def test_among_equals_the_lower_log_loss_is_chosen() -> None:
    best = candidate("best", 0.8, 0.6)
    tied = candidate("tied", 0.8 - 0.9 * TIE, 0.5)
    worse = candidate("worse", 0.8 - 1.1 * TIE, 0.4)
    assert select([best, tied, worse]) == tied
    assert select([worse, best]) == best


@pytest.mark.parametrize("hospital", HOSPITALS)
def test_folds_have_equal_shares_of_each_label(hospital: str) -> None:
    rows = load()[hospital].train
    fold = fold_of(rows, repetition=0)
    for label in (False, True):
        shares = Counter(fold[row.row_id] for row in rows if row.diseased is label)
        counts = [shares[each] for each in range(FOLDS)]
        assert max(counts) - min(counts) <= 1
    assert fold_of(rows, repetition=1) != fold


def test_test_rows_decide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = evaluate(CHOSEN, repetitions=1, noise_seeds=1)
    without = {name: Split(train=split.train, test=()) for name, split in load().items()}
    monkeypatch.setattr(selection, "load", lambda: without)
    assert evaluate(CHOSEN, repetitions=1, noise_seeds=1) == quick
    assert 0.7 < quick.score < 0.9
