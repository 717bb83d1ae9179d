"""``secagg party enroll``, ``secagg init --enrollment``, ``secagg party install``, as typed."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from party import config as party_config
from secagg.cli import GROUP, ExitCode, main
from secagg.enrollment.document import read

COMMANDS = [
    EntryPoint("init", "server.consortium_cli:init", GROUP),
    EntryPoint("party", "party.cli:app", GROUP),
]
NAMES = ("anna", "berta", "clara")


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)), COMMANDS)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def found(directory: Path) -> tuple[object, ...]:
    """The arguments of `secagg init` for the three enrolled hospitals."""
    files = [directory / name / f"{name}.enrollment.json" for name in NAMES]
    options = (word for path in files for word in ("--enrollment", path))
    return ("init", directory / "new", *options, "--policy-template", "respiratory-cardiac")


def test_a_hospital_joins_from_the_first_key_to_its_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: dict[str, str] = {}
    for name in NAMES:
        assert run("party", "enroll", name, "--directory", tmp_path / name) == ExitCode.OK
        printed = capsys.readouterr().out
        shown[name] = read((tmp_path / name / f"{name}.enrollment.json").read_bytes()).fingerprint
        assert shown[name] in printed
    assert run(*found(tmp_path)) == ExitCode.OK
    printed = capsys.readouterr().out
    for name in NAMES:
        assert f"{name}: {shown[name]}" in printed
    for name in NAMES:
        answer = tmp_path / "new" / "answers" / f"{name}.answer.json"
        home = tmp_path / name
        assert run("party", "install", answer, "--directory", home, "--epsilon", "2") == ExitCode.OK
        assert f"secagg preflight --config {home}/party.toml" in capsys.readouterr().out
        assert party_config.load(home / "party.toml").name == name


def test_json_says_the_same_to_a_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prints: dict[str, str] = {}
    for name in NAMES:
        home = tmp_path / name
        assert run("party", "enroll", name, "--directory", home, "--format", "json") == ExitCode.OK
        facts = json.loads(capsys.readouterr().out)
        assert facts["enrollment"] == str(tmp_path / name / f"{name}.enrollment.json")
        prints[name] = facts["fingerprint"]
    assert run(*found(tmp_path), "--format", "json") == ExitCode.OK
    founded = json.loads(capsys.readouterr().out)
    assert founded["enrollment_fingerprints"] == prints
    options = (
        *("--directory", tmp_path / "anna", "--epsilon", "1", "--format", "json"),
        *("--policy-fingerprint", founded["policy_fingerprint"]),
    )
    assert run("party", "install", founded["answers"]["anna"], *options) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == {
        "configuration": str(tmp_path / "anna" / "party.toml"),
        "policy_digest": founded["policy_digest"],
        "policy_fingerprint": founded["policy_fingerprint"],
    }


@pytest.mark.parametrize("epsilon", ["much", "0", "-1", "nan", "inf"])
def test_a_budget_is_a_positive_decimal(
    tmp_path: Path, epsilon: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("party", "install", tmp_path / "answer", "--epsilon", epsilon) == ExitCode.USAGE
    assert "means nothing" in capsys.readouterr().err


def test_a_trial_and_an_enrolled_consortium_are_two_things(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in NAMES:
        assert run("party", "enroll", name, "--directory", tmp_path / name) == ExitCode.OK
    assert run(*found(tmp_path), "--hospital", "doris") == ExitCode.USAGE
    assert "not both" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
