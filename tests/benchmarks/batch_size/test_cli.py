"""``secagg bench batch-size`` with real processes, on the smallest scale."""

import json

import pytest

from benchmarks.batch_size.cli import batch_size
from secagg.cli import Format


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    batch_size(size=[5, 20], repetitions=1, seeds=1, output=Format.JSON)
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "secagg-bench-batch-size/1"
    assert document["privacy"]["all"] == pytest.approx(1, abs=1e-5)
    assert [each["patients"] for each in document["times"]] == [5, 20]
    small, large = document["times"]
    assert 5 * 300 < small["body"] < large["body"]
    for each in document["times"]:
        assert each["answer"] > each["judging"] + each["training"] > 0
    assert [each["patients"] for each in document["accuracies"]] == [5, 20]
