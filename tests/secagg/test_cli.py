"""The command line: what is installed is offered, and every ending has its exit code."""

import subprocess
import sys
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path

import pytest

from secagg.cli import GROUP, CommandError, ExitCode, main

COMMANDS = '''
from typing import Annotated
import typer
from secagg.cli import CommandError, ExitCode

app = typer.Typer(help="Hospital things.")

@app.command()
def start(port: int = 1) -> None:
    """Start it."""
    print(f"started on {port}")

@app.command()
def refuse() -> None:
    """Never works."""
    raise CommandError("No epsilon left.", "Ask the board.", ExitCode.BUDGET_REFUSED)

lonely = typer.Typer(help="One command only.")

@lonely.command("go")
def go() -> None:
    """Go."""
    print("gone")

def greet(name: Annotated[str, typer.Option()] = "you") -> None:
    """Say hello."""
    print(f"hello {name}")

def fail_in_a_nursery() -> None:
    """Fails inside two nurseries."""
    failure = CommandError("Nobody came.", "Invite them.", ExitCode.TOO_FEW)
    raise ExceptionGroup("outer", [ExceptionGroup("inner", [failure])])

def fail_unexpectedly() -> None:
    """Has a bug."""
    secret = "hunter2 in a local variable"
    raise ZeroDivisionError(len(secret))

def end_early() -> None:
    """Ends with the status of a failed round."""
    raise typer.Exit(ExitCode.FAILED_ROUND)
'''


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """A package with commands of every kind, one of them not installed."""
    (tmp_path / "shell_under_test.py").write_text(COMMANDS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "shell_under_test", raising=False)
    names = {
        "hospital": "app",
        "lonely": "lonely",
        "greet": "greet",
        "nursery": "fail_in_a_nursery",
        "bug": "fail_unexpectedly",
        "early": "end_early",
    }
    found = [EntryPoint(name, f"shell_under_test:{a}", GROUP) for name, a in names.items()]
    return [*found, EntryPoint("absent", "package_that_is_absent.cli:app", GROUP)]


def status_of(arguments: list[str], installed: list[EntryPoint]) -> int:
    with pytest.raises(SystemExit) as ending:
        main(arguments, installed)
    return int(ending.value.code or 0)


def test_a_typer_app_becomes_a_group(
    installed: list[EntryPoint], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["hospital", "start", "--port", "7"], installed) == ExitCode.OK
    assert capsys.readouterr().out == "started on 7\n"


def test_a_typer_app_of_one_command_is_a_group_too(
    installed: list[EntryPoint], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["lonely", "go"], installed) == ExitCode.OK
    assert capsys.readouterr().out == "gone\n"


def test_a_function_becomes_a_command(
    installed: list[EntryPoint], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["greet", "--name", "Cleveland"], installed) == ExitCode.OK
    assert capsys.readouterr().out == "hello Cleveland\n"


def test_help_lists_every_command_and_says_which_is_not_installed(
    installed: list[EntryPoint], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["--help"], installed) == ExitCode.OK
    shown = capsys.readouterr().out
    for words in ("Hospital things.", "Say hello.", "Not installed: package_that_is_absent."):
        assert words in shown


@pytest.mark.parametrize("arguments", [[], ["start", "--port", "1"], ["--help"]])
def test_a_command_that_is_not_installed_says_so_when_called(
    arguments: list[str], installed: list[EntryPoint], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["absent", *arguments], installed) == ExitCode.USAGE
    shown = capsys.readouterr().err
    assert "`secagg absent` needs the Python module `package_that_is_absent`" in shown


def test_a_dotted_entry_point_adds_a_command_to_anothers_group(
    installed: list[EntryPoint], capsys: pytest.CaptureFixture[str]
) -> None:
    added = [
        EntryPoint("hospital.greet", "shell_under_test:greet", GROUP),
        EntryPoint("hospital.far", "package_that_is_absent:far", GROUP),
    ]
    everything = [*installed, *added]
    assert status_of(["hospital", "greet", "--name", "Basel"], everything) == ExitCode.OK
    assert status_of(["hospital", "start"], everything) == ExitCode.OK
    assert capsys.readouterr().out == "hello Basel\nstarted on 1\n"
    assert status_of(["hospital", "far"], everything) == ExitCode.USAGE
    assert "`secagg hospital far` needs" in capsys.readouterr().err
    assert status_of(["hospital", "--help"], everything) == ExitCode.OK
    shown = capsys.readouterr().out
    for words in ("Start it.", "Say hello.", "Not installed: package_that_is_absent."):
        assert words in shown


def test_a_dotted_name_is_no_command_of_its_own(
    installed: list[EntryPoint], capsys: pytest.CaptureFixture[str]
) -> None:
    everything = [*installed, EntryPoint("hospital.greet", "shell_under_test:greet", GROUP)]
    assert status_of(["hospital.greet"], everything) == ExitCode.USAGE
    assert status_of(["--help"], everything) == ExitCode.OK
    assert "hospital.greet" not in capsys.readouterr().out


def test_a_groups_own_command_stands_above_an_added_one(
    installed: list[EntryPoint], capsys: pytest.CaptureFixture[str]
) -> None:
    usurper = EntryPoint("hospital.start", "shell_under_test:greet", GROUP)
    assert status_of(["hospital", "start"], [*installed, usurper]) == ExitCode.OK
    assert capsys.readouterr().out == "started on 1\n"


def test_nothing_is_imported_before_it_is_asked_for(installed: list[EntryPoint]) -> None:
    assert status_of(["absent"], installed) == ExitCode.USAGE
    assert "shell_under_test" not in sys.modules


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["no-such-command"], ExitCode.USAGE),
        (["hospital", "start", "--port", "many"], ExitCode.USAGE),
        (["hospital", "refuse"], ExitCode.BUDGET_REFUSED),
        (["nursery"], ExitCode.TOO_FEW),
        (["early"], ExitCode.FAILED_ROUND),
        (["bug"], ExitCode.BUG),
    ],
)
def test_every_ending_has_its_exit_code(
    arguments: list[str], status: ExitCode, installed: list[EntryPoint]
) -> None:
    assert status_of(arguments, installed) == status


def test_a_refusal_is_printed_with_its_remedy_and_no_traceback(
    installed: list[EntryPoint], capsys: pytest.CaptureFixture[str]
) -> None:
    status_of(["hospital", "refuse"], installed)
    assert capsys.readouterr() == ("", "secagg: No epsilon left.\nAsk the board.\n")


def test_a_bug_prints_its_traceback_without_local_variables(
    installed: list[EntryPoint], capsys: pytest.CaptureFixture[str]
) -> None:
    status_of(["bug"], installed)
    shown = capsys.readouterr().err
    assert "ZeroDivisionError: 27" in shown
    assert "report it" in shown
    assert "secret = " not in shown


def test_of_two_commands_of_one_name_the_first_holds(
    installed: list[EntryPoint], capsys: pytest.CaptureFixture[str]
) -> None:
    usurper = EntryPoint("greet", "shell_under_test:fail_unexpectedly", GROUP)
    assert status_of(["greet"], [*installed, usurper]) == ExitCode.OK
    assert capsys.readouterr().out == "hello you\n"


def test_a_command_error_keeps_what_it_was_told() -> None:
    error = CommandError("Problem.", "Remedy.", ExitCode.CONNECTION)
    assert (error.problem, error.remedy, error.exit_code) == (
        "Problem.",
        "Remedy.",
        ExitCode.CONNECTION,
    )
    assert str(error) == "Problem.\nRemedy."


def test_the_project_registers_its_commands() -> None:
    names = {found.name for found in entry_points(group=GROUP)}
    assert {"demo", "init", "party", "server"} <= names


def test_the_version_is_the_installed_one(
    installed: list[EntryPoint], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["--version"], installed) == ExitCode.OK
    assert capsys.readouterr().out == f"secagg {version('secagg')}\n"


def test_the_installed_program_runs() -> None:
    program = Path(sys.executable).with_name("secagg")
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("secagg ")
