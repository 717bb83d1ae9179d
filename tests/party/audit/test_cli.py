"""``secagg audit verify``: what it is given, what it says, and its exit status."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from party.audit.line import encode
from secagg.cli import ExitCode, main
from tests.party.audit.test_log import ANNA as HOSPITAL
from tests.party.audit.written import STORY, file_lines, head, started, written
from tests.party.files import NAME, install

IDENTITY = HOSPITAL.identity
KEY = IDENTITY.public.hex()
LINES = written((started(IDENTITY), *STORY[1:]), IDENTITY)
AUDIT = EntryPoint("audit", "party.audit.cli:app", "secagg.commands")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of anna, with its head and her policy beside it."""
    (tmp_path / "policy.json").write_bytes(HOSPITAL.policy.canonical())
    (tmp_path / "audit.head").write_bytes(encode(head(LINES, identity=IDENTITY)) + b"\n")
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"".join(file_lines(LINES)))
    return path


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit status, stdout, stderr of ``secagg audit verify``."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["audit", "verify", *map(str, arguments)], [AUDIT])
    captured = capsys.readouterr()
    code = ended.value.code
    assert isinstance(code, int)
    return code, captured.out, captured.err


def options(log: Path) -> list[Sequence[object]]:
    """Every way of saying whose log it is."""
    policy = log.parent / "policy.json"
    return [
        (log, "--policy", policy),
        (log, "--policy", policy, "--hospital", "anna"),
        (log, "--key", KEY),
        (log, "--key", KEY.upper()),
    ]


def test_a_genuine_log_is_verified(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for given in options(log):
        code, out, err = run(*given, capsys=capsys)
        assert (code, err) == (ExitCode.OK, "")
        assert "whole and genuine" in out
        assert f"{len(LINES)} lines of 'anna'" in out
        assert "held to 1 head." in out
        assert LINES[-1].hash in out


def test_what_is_wrong_is_named(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = file_lines(LINES)
    log.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    for given in options(log):
        code, out, err = run(*given, capsys=capsys)
        assert (code, out) == (ExitCode.FAILED_ROUND, "")
        assert "line 3: lines were removed: line 3 is missing before line 4" in err


def test_a_cut_end_is_found_by_the_head_beside_the_log(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.write_bytes(b"".join(file_lines(LINES[:-1])))
    code, _, err = run(log, "--key", KEY, capsys=capsys)
    assert code == ExitCode.FAILED_ROUND
    assert "the end was cut off" in err


def test_a_cut_end_is_found_by_a_head_kept_elsewhere(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever cuts the log can put the head of that time beside it."""
    kept = tmp_path / "elsewhere.json"
    kept.write_text(json.dumps(json.loads((tmp_path / "audit.head").read_bytes()), indent=2))
    log.write_bytes(b"".join(file_lines(LINES[:-1])))
    (tmp_path / "audit.head").write_bytes(encode(head(LINES[:-1], identity=IDENTITY)))
    code, out, _ = run(log, "--key", KEY, capsys=capsys)
    assert code == ExitCode.OK
    assert "held to 1 head." in out
    code, _, err = run(log, "--key", KEY, "--head", kept, capsys=capsys)
    assert code == ExitCode.FAILED_ROUND
    assert "the end was cut off" in err


def test_without_any_head_it_says_what_would_not_show(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "audit.head").unlink()
    code, out, _ = run(log, "--key", KEY, capsys=capsys)
    assert code == ExitCode.OK
    assert "lines cut off its end would not show" in out


def test_the_log_of_another_hospital_is_not_ones_own(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(
        log, "--policy", tmp_path / "policy.json", "--hospital", "berta", capsys=capsys
    )
    assert code == ExitCode.FAILED_ROUND
    assert "the log of another hospital" in err


def test_json_is_one_object(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(log, "--key", KEY, "--format", "json", capsys=capsys)
    assert (code, err) == (ExitCode.OK, "")
    assert json.loads(out) == {
        "schema": "secagg-audit/1",
        "verified": True,
        "log": str(log),
        "lines": len(LINES),
        "hospital": "anna",
        "head": {
            "seq": len(LINES),
            "hash": LINES[-1].hash,
            "identity_key": KEY,
            "signature": LINES[-1].signature,
        },
        "first": "2026-11-24T10:00:00Z",
        "last": "2026-11-24T10:00:00Z",
        "heads_held_to": 1,
        "fault": None,
        "line": None,
        "detail": None,
    }
    log.write_bytes(b"".join(file_lines(LINES))[:-1])
    code, out, err = run(log, "--key", KEY, "--format", "json", capsys=capsys)
    assert code == ExitCode.FAILED_ROUND
    assert "cannot be trusted" in err
    found = json.loads(out)
    assert (found["verified"], found["line"]) == (False, len(LINES))
    assert found["fault"] == "the last line is incomplete"
    log.write_bytes(b"")
    code, out, err = run(log, "--key", KEY, "--format", "json", capsys=capsys)
    assert (code, json.loads(out)["line"]) == (ExitCode.FAILED_ROUND, None)


def test_a_nodes_own_configuration_says_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = install(tmp_path, 1)
    pinned = files.policy.identity_key(files.policy.client(NAME)).hex()
    code, _, err = run("--config", files.configuration, capsys=capsys)
    assert code == ExitCode.USAGE
    assert "audit.jsonl cannot be read" in err
    monkeypatch.chdir(tmp_path)  # where party.toml is
    (tmp_path / "state").mkdir(exist_ok=True)
    (tmp_path / "state" / "audit.jsonl").write_bytes(b"".join(file_lines(LINES)))
    code, _, err = run(capsys=capsys)
    assert code == ExitCode.FAILED_ROUND
    assert f"{pinned} was expected" in err


WRONG: list[tuple[list[str], str]] = [
    ([], "cannot be read as a configuration"),
    (["--key", KEY], "No log is named"),
    (["missing.jsonl", "--key", KEY], "cannot be read: No such file"),
    (["audit.jsonl", "--key", "abc"], "64 hexadecimal digits"),
    (["audit.jsonl", "--key", KEY, "--policy", "policy.json"], "--key leaves nothing"),
    (["audit.jsonl", "--key", KEY, "--hospital", "anna"], "--key leaves nothing"),
    (["audit.jsonl", "--policy", "missing.json"], "missing.json cannot be used"),
    (["audit.jsonl", "--policy", "audit.jsonl"], "audit.jsonl cannot be used"),
    (["audit.jsonl", "--policy", "policy.json", "--hospital", "dora"], "anna, berta, clara"),
    (["policy.json", "--policy", "policy.json"], "does not say which hospital's it is"),
    (["audit.jsonl", "--key", KEY, "--head", "policy.json"], "policy.json is not a signed head"),
    (["audit.jsonl", "--key", KEY, "--head", "missing"], "missing is not a signed head"),
]


@pytest.mark.parametrize(("arguments", "problem"), WRONG)
def test_what_it_was_given_wrongly_is_said(
    log: Path,
    arguments: list[str],
    problem: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(log.parent)
    code, out, err = run(*arguments, capsys=capsys)
    assert (code, out) == (ExitCode.USAGE, "")
    assert problem in err
