import pytest

from benchmarks.heart_disease.study import PUBLISHED, Result, Study, run


@pytest.fixture(scope="module")
def study() -> Study:
    return run(seeds=20)


def row(study: Study, mode: str, epsilon: str) -> Result:
    (found,) = (
        result
        for result in study.results
        if result.target and (result.target.mode, result.target.epsilon) == (mode, epsilon)
    )
    return found


@pytest.mark.parametrize(
    ("mode", "epsilon", "goal"),
    [
        ("exact", "1", 0.82),
        ("at_least", "1", 0.82),
        ("local", "1", 0.81),
        ("exact", "0.1", 0.77),
    ],
)
def test_the_goals_are_met(study: Study, mode: str, epsilon: str, goal: float) -> None:
    result = row(study, mode, epsilon)
    assert result.mean >= goal
    assert result.mean == pytest.approx(sum(result.hospitals.values()) / 4)


def test_training_together_beats_training_alone(study: Study) -> None:
    alone, together = study.results[:2]
    assert alone.target is together.target is None
    assert alone.spent is together.spent is None
    assert together.mean > alone.mean
    assert row(study, "local", "1").mean > alone.mean


def test_each_private_row_is_above_what_flamby_publishes_for_it(study: Study) -> None:
    for figure in PUBLISHED:
        if figure.epsilon is not None:
            for mode in ("exact", "at_least", "local"):
                assert row(study, mode, figure.epsilon).mean > figure.accuracy
