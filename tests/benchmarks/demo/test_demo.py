"""The demonstration itself, as whoever has just cloned the repository starts it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from benchmarks.heart_disease.dataset import HOSPITALS
from secagg.cli import ExitCode
from tests.benchmarks.demo.locks import still_runs

DEMO = [sys.executable, "-c", "from secagg.cli import main; main()", "demo"]
THREE = ["cleveland", "hungary", "va-long-beach"]


def test_three_rounds_one_loss_one_model() -> None:
    done = subprocess.run(
        [*DEMO, "--format", "json", "--rounds", "3"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == ExitCode.OK, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == "secagg-demo/1"
    assert [found["round"] for found in document["rounds"]] == [1, 2, 3]
    first, second, third = document["rounds"]
    assert first["participants"] == list(HOSPITALS)
    assert first["dropped"] == []
    assert second["participants"] == THREE
    assert second["dropped"] == ["switzerland"]
    for found in document["rounds"]:
        assert len(found["model_hash"]) == 64
        assert found["model_hashes"] == dict.fromkeys(HOSPITALS, found["model_hash"])
    assert len({found["model_hash"] for found in document["rounds"]}) == 3
    # Whoever was lost before it sent a masked byte is not charged for the round.
    assert second["epsilon"]["switzerland"] == first["epsilon"]["switzerland"]
    if "switzerland" in third["participants"]:
        assert third["epsilon"]["switzerland"] > second["epsilon"]["switzerland"]
    for name in THREE:
        spent = [found["epsilon"][name] for found in document["rounds"]]
        assert 0 < spent[0] < spent[1] < spent[2] <= 1
        assert third["epsilon_own"][name] > spent[2]
    assert third["accuracy"] > 0.7
    assert document["accuracy"]["local"].keys() == set(HOSPITALS)
    assert all(document["accuracy"]["federated"][name] > 0.5 for name in HOSPITALS)
    for event in (
        "the server listens on",
        "switzerland is gone: its process was killed in round 2, after share_keys",
        "switzerland is started again",
        "switzerland is back",
        "all processes have ended",
    ):
        assert event in done.stderr


def test_stopped_in_the_middle_it_leaves_no_process_behind(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*DEMO, "--rounds", "100", "--keep", str(tmp_path / "kept")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stderr is not None
        while "round 1 opens" not in demo.stderr.readline():
            assert demo.poll() is None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            demo.send_signal(number)
        out, err = demo.communicate(timeout=60)
    assert demo.returncode == ExitCode.FAILED_ROUND
    assert out == ""
    assert "all its processes have ended" in err
    for name in ("server", *HOSPITALS):
        log = (tmp_path / "kept" / "logs" / f"{name}.log").read_text()
        assert '"event": "stopping"' in log
        assert not still_runs(tmp_path / "kept" / name)
