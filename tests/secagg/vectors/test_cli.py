"""`secagg vectors check` and `make`, as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from secagg.cli import ExitCode, main

FOLDER = Path(__file__).parents[2] / "vectors"


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["vectors", *arguments])
    return int(str(ended.value.code))


def test_given_files_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(FOLDER / f"{name}.json") for name in ("primitive-prg", "refused-chk-101")]
    assert run("check", *files) == ExitCode.OK
    assert "2 of 2 vectors hold" in capsys.readouterr().out


def test_an_altered_file_is_told_with_its_places(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (FOLDER / "primitive-prg.json").read_text()
    altered = tmp_path / "altered.json"
    altered.write_text(text.replace('"bits": 13', '"bits": 14', 1))
    broken = tmp_path / "broken.json"
    broken.write_text(text[:-5])
    assert run("check", str(altered), str(broken)) == ExitCode.FAILED_ROUND
    captured = capsys.readouterr()
    assert "$.operations[2]" in captured.out
    assert "not a vector" in captured.out
    assert "0 of 2 vectors hold" in captured.out
    assert "2 vectors do not hold" in captured.err


def test_where_there_are_none_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("check") == ExitCode.USAGE
    assert "There are no vectors" in capsys.readouterr().err
    assert run("check", "missing.json") == ExitCode.USAGE
    assert "cannot be read" in capsys.readouterr().err
    assert run("make") == ExitCode.USAGE
    assert "--folder" in capsys.readouterr().err


def test_all_are_written_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("make", "--folder", str(tmp_path)) == ExitCode.OK
    made = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert made == {file.name: file.read_bytes() for file in FOLDER.glob("*.json")}
    assert f"{len(made)} vectors written" in capsys.readouterr().out
