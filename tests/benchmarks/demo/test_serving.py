"""``secagg demo --serve``: whoever reads its one line can post to every hospital."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.fernet import Fernet

from benchmarks.demo.director import fetch
from benchmarks.heart_disease import dataset
from secagg.cli import ExitCode
from tests.benchmarks.demo.locks import still_runs

DEMO = [sys.executable, "-c", "from secagg.cli import main; main()", "demo", "--serve"]


@contextmanager
def serving(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The running demonstration, and what its line says."""
    with subprocess.Popen(
        [*DEMO, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        try:
            yield demo, json.loads(demo.stdout.readline())
        finally:
            demo.terminate()


def post(party: dict[str, str]) -> dict[str, Any]:
    answer = requests.post(
        f"{party['url']}/submit-federated-update",
        data=Path(party["batch_file"]).read_bytes(),
        headers={"Content-Type": "application/json"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def test_four_batches_posted_at_once_make_one_model(tmp_path: Path) -> None:
    with serving("--keep", str(tmp_path / "kept")) as (demo, line):
        assert set(line) == {"parties", "server", "dashboard"}
        assert tuple(line["parties"]) == dataset.HOSPITALS
        page = requests.get(line["dashboard"], timeout=60)
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        for name, party in line["parties"].items():
            assert set(party) == {"url", "token", "fernet_key_file", "batch_file"}
            status = fetch(party["url"])
            assert status is not None
            assert status.connected
            assert status.rounds == []  # nothing has begun
            check_batch(name, party)
        with ThreadPoolExecutor() as together:
            answers = list(together.map(post, line["parties"].values()))
        assert {answer["model_hash"] for answer in answers} == {answers[0]["model_hash"]}
        assert len(answers[0]["model_hash"]) == 64
        for answer in answers:
            assert (answer["round"], answer["participants"]) == (1, 4)
            assert "warning" not in answer
        demo.send_signal(signal.SIGTERM)
        out, err = demo.communicate(timeout=60)
    assert demo.returncode == ExitCode.OK, err
    assert out == ""
    assert "all processes have ended" in err
    for name in ("server", *dataset.HOSPITALS):
        assert not still_runs(tmp_path / "kept" / name)


def check_batch(name: str, party: dict[str, str]) -> None:
    """The file holds the hospital's own training records, and only its own key opens them."""
    key_file = Path(party["fernet_key_file"])
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    fernet = Fernet(key_file.read_text().strip())
    body = json.loads(Path(party["batch_file"]).read_bytes())
    assert body["round_number"] == 1
    tokens = [each["encrypted_data"] for each in body["patient_data_list"]]
    opened = [json.loads(fernet.decrypt(token)) for token in tokens]
    expected = [row.record for row in dataset.load()[name].train]
    assert sorted(opened, key=lambda each: each["patient_id"]) == sorted(
        expected, key=lambda each: str(each["patient_id"])
    )


def test_ctrl_c_ends_it_and_leaves_nothing_behind() -> None:
    with serving() as (demo, line):
        home = Path(line["parties"]["hungary"]["batch_file"]).parent
        assert home.is_dir()
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=60)
    assert demo.returncode == ExitCode.OK
    assert not home.parent.exists()
    with pytest.raises(requests.ConnectionError):
        requests.get(line["parties"]["hungary"]["url"], timeout=5)


def test_losses_are_for_the_played_demonstration() -> None:
    done = subprocess.run(
        [*DEMO, "--drop", "hungary@start"], capture_output=True, text=True, check=False
    )
    assert done.returncode == ExitCode.USAGE
    assert "Leave out --drop or --serve." in done.stderr
