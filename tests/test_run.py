"""run.py: the decisions that need no network."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import run

LOCK = b"uv==1.0 \\\n    --hash=sha256:aa\nwheel==2.0 \\\n    --hash=sha256:bb\n"


@pytest.fixture
def setup(tmp_path: Path) -> run.Setup:
    """A checkout whose environment is there and current."""
    (tmp_path / "requirements.lock").write_bytes(LOCK)
    (tmp_path / "pyproject.toml").write_bytes(b"[project]\n")
    made = run.Setup(tmp_path)
    made.python.parent.mkdir(parents=True)
    made.python.touch()
    made.stamp.write_text(run.fingerprint(LOCK, b"[project]\n", sys.version, str(tmp_path)))
    return made


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 4), (3, 13, 0), (4, 0, 0)])
def test_new_enough_pythons_are_accepted(version: tuple[int, ...]) -> None:
    assert run.version_complaint(version) is None


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 6, 15), (3, 10, 13)])
def test_old_pythons_are_told_what_is_needed(version: tuple[int, ...]) -> None:
    complaint = run.version_complaint(version, which=lambda _name: None)
    assert complaint is not None
    assert f"needs Python 3.11 or newer; this one is {version[0]}.{version[1]}." in complaint
    assert "Install a newer Python" in complaint


def test_an_old_python_names_the_newest_other_one_on_the_machine() -> None:
    there = {"python3.11", "python3.13"}
    complaint = run.version_complaint((3, 9, 1), which=lambda name: name if name in there else None)
    assert complaint is not None
    assert "`python3.13 run.py`" in complaint


def test_the_fingerprint_depends_on_each_part_and_on_where_it_ends() -> None:
    prints = {
        run.fingerprint(b"lock", b"project", "3.11", "/a"),
        run.fingerprint(b"lock!", b"project", "3.11", "/a"),
        run.fingerprint(b"lock", b"project!", "3.11", "/a"),
        run.fingerprint(b"lock", b"project", "3.12", "/a"),
        run.fingerprint(b"lock", b"project", "3.11", "/b"),
        run.fingerprint(b"lockp", b"roject", "3.11", "/a"),
    }
    assert len(prints) == 6


def test_a_current_environment_is_used_as_it_is(setup: run.Setup) -> None:
    assert setup.is_current()


def test_a_changed_lock_makes_the_environment_stale(setup: run.Setup) -> None:
    setup.lock.write_bytes(LOCK + b"new==1.0\n")
    assert not setup.is_current()


def test_a_changed_project_makes_the_environment_stale(setup: run.Setup) -> None:
    (setup.root / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    assert not setup.is_current()


def test_an_environment_whose_python_is_gone_is_stale(setup: run.Setup) -> None:
    setup.python.unlink()
    assert not setup.is_current()


def test_an_environment_that_was_never_finished_is_stale(setup: run.Setup) -> None:
    setup.stamp.unlink()
    assert not setup.is_current()


def test_a_missing_lock_says_how_to_mend_it(setup: run.Setup) -> None:
    setup.lock.unlink()
    with pytest.raises(run.SetupFailed, match=r"requirements\.lock is missing\. Restore it"):
        setup.is_current()


def test_one_package_is_cut_out_of_the_lock_with_its_hashes() -> None:
    assert run.stanza(LOCK.decode(), "wheel") == "wheel==2.0 \\\n    --hash=sha256:bb\n"


def test_a_package_that_is_not_locked_is_never_installed() -> None:
    with pytest.raises(run.SetupFailed, match="does not pin uvloop"):
        run.stanza(LOCK.decode(), "uvloop")


def test_the_lock_pins_the_installer_and_the_build_backend_and_names_no_address() -> None:
    lock = (run.ROOT / "requirements.lock").read_text()
    for name in ("uv", "hatchling", "editables"):
        assert "--hash=sha256:" in run.stanza(lock, name)
    assert "://" not in lock
    assert "--find-links" not in lock


@pytest.mark.parametrize(("arguments", "status"), [([], 2), (["dance"], 2), (["--help"], 0)])
def test_usage(arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(arguments) == status
    out, err = capsys.readouterr()
    assert "usage: python3 run.py COMMAND" in (err if status else out)


def test_a_step_that_fails_is_named() -> None:
    with pytest.raises(run.SetupFailed, match="failed with exit status 3"):
        run.call([sys.executable, "-c", "raise SystemExit(3)"])


def test_a_step_that_cannot_start_is_named(tmp_path: Path) -> None:
    with pytest.raises(run.SetupFailed, match="could not be started"):
        run.call([str(tmp_path / "absent")])


def test_equal_sources_make_an_equal_wheel(tmp_path: Path) -> None:
    """In two folders, at two times, with other modes of the files."""
    hashes = []
    for name in ("one", "two"):
        copy = tmp_path / name
        ignored = shutil.ignore_patterns(".*", "dist", "__pycache__", "docs")
        shutil.copytree(run.ROOT, copy, ignore=ignored)
        (copy / "README.md").touch()
        found = subprocess.run(
            [
                sys.executable,
                "-c",
                f"import run; run.wheel(run.Setup(run.Path({str(run.ROOT)!r})))",
            ],
            cwd=copy,
            capture_output=True,
            text=True,
            check=True,
        )
        hashes.append(found.stdout)
    assert hashes[0] == hashes[1]
    assert hashes[0].endswith("-py3-none-any.whl\n")


def test_every_command_is_explained() -> None:
    assert all(f"\n  {command} " in run.USAGE for command in run.COMMANDS)
