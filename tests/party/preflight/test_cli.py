"""``secagg preflight`` as a process: with a server that runs, beside a node, and without both."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from party.preflight.plan import CHECKS
from secagg.cli import GROUP, ExitCode, main
from tests.party.preflight.conftest import Hospital
from tests.party.processes import run, started

PREFLIGHT = EntryPoint("preflight", "party.preflight.cli:preflight", GROUP)


def typed(*options: object) -> int:
    """The command in this process; its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(["preflight", *map(str, options)], [PREFLIGHT])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.usefixtures("serving")
def test_a_hospital_that_is_ready_passes(
    hospital: Hospital, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(hospital.home.rglob("*"))
    assert typed("--config", hospital.configuration) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "PASSED"
    assert len(lines) == len(CHECKS) + 2
    assert all(line.startswith("PASSED") for line in lines)
    assert sorted(hospital.home.rglob("*")) == before


@pytest.mark.usefixtures("serving")
def test_it_can_be_run_beside_a_node(hospital: Hospital, tmp_path: Path) -> None:
    with started(tmp_path / "log", "party", "start", "--config", hospital.configuration):
        done = run("preflight", "--config", hospital.configuration, "--format", "json")
    assert done.returncode == ExitCode.OK, done.stdout + done.stderr
    said = {each["check"]: each["said"] for each in json.loads(done.stdout)["checks"]}
    assert said["state directory"] == "a node is running on it"
    assert said["database"] == "sound"
    assert "the node answers" in said["HTTP interface"]


def test_the_exit_status_is_that_of_the_first_failure(
    hospital: Hospital, capsys: pytest.CaptureFixture[str]
) -> None:
    port = hospital.site().config.server.port
    hospital.change(f"port = {port}", "port = 1")
    assert typed("--config", hospital.configuration) == ExitCode.CONNECTION
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"FAILED: 1 of {len(CHECKS) + 1} checks"
    (hospital.home / "journal.key").chmod(0o644)
    assert typed("--config", hospital.configuration) == ExitCode.USAGE
    printed = capsys.readouterr().out
    assert "chmod 600" in printed
    assert "could not be made" in printed.splitlines()[-1]


def test_a_configuration_that_cannot_be_read_is_the_one_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed("--config", tmp_path / "party.toml", "--format", "json") == ExitCode.USAGE
    (finding,) = json.loads(capsys.readouterr().out)["checks"]
    assert finding["check"] == "configuration"
    assert finding["outcome"] == "FAILED"
