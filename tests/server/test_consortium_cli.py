"""``secagg init`` as it is typed."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path

import msgspec
import pytest

from benchmarks.heart_disease.policy import CHOSEN, Target, model_spec, schema
from secagg import policy as policies
from secagg.cli import GROUP, ExitCode, main
from server.policy_template import Template

INIT = EntryPoint("init", "server.consortium_cli:init", GROUP)
NAMES = ("a", "b", "c", "d")


@pytest.fixture
def template(tmp_path: Path) -> Path:
    noise = Target("exact", "1").noise(model_spec(), CHOSEN.rounds)
    path = tmp_path / "template.json"
    path.write_bytes(
        msgspec.json.encode(Template(noise=noise, model=model_spec(), features=schema()))
    )
    return path


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["init", *map(str, arguments)], [INIT])
    assert isinstance(ended.value.code, int)
    return ended.value.code


HOSPITALS = tuple(word for name in NAMES for word in ("--hospital", name))


def test_json_names_what_was_made(
    tmp_path: Path, template: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "new"
    settings = ("--policy-template", template, "--server-host", "10.0.0.7", "--format", "json")
    assert run(directory, *HOSPITALS, *settings) == ExitCode.OK
    printed = json.loads(capsys.readouterr().out)
    policy = policies.load((directory / "policy.json").read_bytes())
    assert printed == {
        "policy_digest": policy.digest().hex(),
        "server": str(directory / "server" / "server.toml"),
        "hospitals": {name: str(directory / name / "party.toml") for name in NAMES},
    }
    assert 'host = "10.0.0.7"' in (directory / "a" / "party.toml").read_text()


def test_text_says_what_to_do_next(
    tmp_path: Path, template: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "new", *HOSPITALS, "--policy-template", template) == ExitCode.OK
    printed = capsys.readouterr().out
    assert f"secagg server start --config {tmp_path}/new/server/server.toml" in printed
    assert f"secagg party start --config {tmp_path}/new/d/party.toml" in printed


@pytest.mark.parametrize("name", ["respiratory-cardiac", "heart-disease"])
def test_a_template_that_comes_along_has_a_name(tmp_path: Path, name: str) -> None:
    assert run(tmp_path / "new", *HOSPITALS, "--policy-template", name, "--ehr") == ExitCode.OK
    policy = policies.load((tmp_path / "new" / "policy.json").read_bytes())
    assert policy.model is not None
    assert "[ehr]" in (tmp_path / "new" / "a" / "party.toml").read_text()


def test_an_unknown_template_is_refused_with_the_names_of_those_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "new", *HOSPITALS, "--policy-template", "lungs") == ExitCode.USAGE
    assert "heart-disease, respiratory-cardiac" in capsys.readouterr().err


def test_a_template_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "new", *HOSPITALS) == ExitCode.USAGE
    assert "or FILE.json" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_no_hospital_is_too_few(
    tmp_path: Path, template: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "new", "--policy-template", template) == ExitCode.USAGE
    assert "the roster has n = 0" in capsys.readouterr().err
