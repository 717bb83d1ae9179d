"""The report, from what four nodes say about themselves."""

from __future__ import annotations

import msgspec
import pytest

from benchmarks.demo import printing
from benchmarks.demo.plan import Plan
from benchmarks.demo.report import Report, report
from benchmarks.heart_disease.policy import Target
from party.status import AccuracyReport, RoundReport, StatusReport
from secagg.cli import CommandError, ExitCode

NAMES = ("a", "b", "c", "d")
WITHOUT_D = ["a", "b", "c"]


def entry(number: int, participants: list[str], digits: str, accuracy: float | None) -> RoundReport:
    return RoundReport(
        round=number,
        attempt=1,
        participants=participants,
        model_hash=digits * 32,
        epsilon_sum=0.1 * number,
        epsilon_own=0.2 * number,
        accuracy=accuracy,
    )


def status(name: str, rounds: list[RoundReport]) -> StatusReport:
    return StatusReport(
        name=name,
        connected=True,
        state="no batch waits",
        problem=None,
        round=3,
        model_hash=rounds[-1].model_hash,
        rounds=rounds,
        budget=None,
        accuracy=AccuracyReport(federated=0.8, local_only=0.7),
    )


@pytest.fixture
def statuses() -> dict[str, StatusReport]:
    """Three rounds; ``d`` was lost in the second, and missed its certificate."""
    everything = [
        entry(1, list(NAMES), "01", 0.5),
        entry(2, WITHOUT_D, "02", 0.6),
        entry(3, list(NAMES), "03", 0.7),
    ]
    late = [entry(1, list(NAMES), "01", None), entry(3, list(NAMES), "03", 0.9)]
    return {name: status(name, late if name == "d" else everything) for name in NAMES}


def test_a_round_says_who_was_in_it_and_what_it_cost(statuses: dict[str, StatusReport]) -> None:
    first, second, third = report(statuses).rounds
    assert [first.round, second.round, third.round] == [1, 2, 3]
    assert first.dropped == []
    assert second.participants == WITHOUT_D
    assert second.dropped == ["d"]
    assert second.model_hash == "02" * 32
    assert second.model_hashes == dict.fromkeys(WITHOUT_D, "02" * 32)
    assert third.model_hashes == dict.fromkeys(NAMES, "03" * 32)
    assert third.epsilon == pytest.approx(dict.fromkeys(NAMES, 0.3))
    assert third.epsilon_own == pytest.approx(dict.fromkeys(NAMES, 0.6))
    assert third.accuracy == pytest.approx(0.75)
    assert third.accuracies == {"a": 0.7, "b": 0.7, "c": 0.7, "d": 0.9}
    assert first.accuracies == dict.fromkeys(WITHOUT_D, 0.5)


def test_the_document_has_its_schema_and_its_keys(statuses: dict[str, StatusReport]) -> None:
    document = msgspec.to_builtins(report(statuses))
    assert document["schema"] == "secagg-demo/1"
    assert document["accuracy"] == {
        "local": dict.fromkeys(NAMES, 0.7),
        "federated": dict.fromkeys(NAMES, 0.8),
    }
    assert {
        *("round", "attempt", "participants", "dropped"),
        *("model_hash", "model_hashes", "accuracy", "epsilon"),
    } <= document["rounds"][0].keys()
    assert msgspec.convert(document, Report) == report(statuses)


def test_two_models_for_one_round_are_a_failure(statuses: dict[str, StatusReport]) -> None:
    statuses["c"].rounds[0] = entry(1, list(NAMES), "ff", 0.5)
    with pytest.raises(CommandError, match="Round 1 gave different models to c") as failed:
        report(statuses)
    assert failed.value.exit_code is ExitCode.FAILED_ROUND


def test_the_tables_say_all_of_it(
    statuses: dict[str, StatusReport], capsys: pytest.CaptureFixture[str]
) -> None:
    printing.show(report(statuses), Plan(3, (), Target("exact", "1"), 0))
    shown = capsys.readouterr().out
    assert "exact, epsilon = 1 at delta = 0.001" in shown
    rounds, models, accuracies = shown.split("\n\n")[:3]
    assert "│     2 │       1 │ a, b, c      │ d       │" in rounds
    assert "0.300" in rounds
    assert "0.600" in rounds
    assert models.count("0202020202020202") == 3
    assert models.count("0303030303030303") == 4
    assert models.count("away") == 1
    assert accuracies.count("+0.100") == 5


def test_a_round_in_a_line(statuses: dict[str, StatusReport]) -> None:
    lines = [printing.one_line(found) for found in report(statuses).rounds]
    assert "dropped: nobody" in lines[0]
    assert "3 participants, dropped: d, model 0202020202020202, accuracy 0.600" in lines[1]
    assert "accuracy" not in lines[0]  # d has not measured it


def test_without_noise_nothing_is_said_to_be_spent(
    statuses: dict[str, StatusReport], capsys: pytest.CaptureFixture[str]
) -> None:
    for each in statuses.values():
        for found in each.rounds:
            found.epsilon_sum = found.epsilon_own = None
    printing.show(report(statuses), Plan(3, (), None, 0))
    shown = capsys.readouterr().out
    assert "no noise" in shown
    assert shown.count("no limit") == 6
