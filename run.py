#!/usr/bin/env python3
"""Set up and run secagg from a fresh clone: `python3 run.py demo`, `python3 run.py test`.

Standard library only. The first call makes `.venv` from the hashed `requirements.lock` and puts the
project into it; a stamp of what went in makes every later call instant. Nothing is written outside
this folder except the installers' own caches. Progress goes to stderr: stdout is the command's.
"""

# Everything down to the version check must run on any Python 3.6, to say what is wrong with it.
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    import fcntl
except ImportError:
    sys.exit("secagg runs on Linux and macOS. On Windows, use it inside WSL.")

MINIMUM = (3, 11)
ROOT = Path(__file__).resolve().parent

QUIETLY = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]
LOCKED = ["--no-deps", "--require-hashes", "--requirement"]
UNISOLATED = ["--no-deps", "--no-build-isolation"]  # the build backend is in the lock


def version_complaint(
    version: "tuple[int, ...]", which: "Callable[[str], str | None]" = shutil.which
) -> "str | None":
    """What is wrong with this Python version and how to mend it, or None."""
    if tuple(version[:2]) >= MINIMUM:
        return None
    newer = [f"python3.{minor}" for minor in range(MINIMUM[1], 20) if which(f"python3.{minor}")]
    remedy = (
        f"This machine has {newer[-1]}: run `{newer[-1]} run.py` instead."
        if newer
        else "Install a newer Python (your system's packages, or python.org) and run it again."
    )
    needed, found = (f"{major}.{minor}" for major, minor in (MINIMUM, version[:2]))
    return f"secagg needs Python {needed} or newer; this one is {found}. {remedy}"


complaint = version_complaint(sys.version_info[:3])
if complaint:
    sys.exit(complaint)

USAGE = """\
usage: python3 run.py COMMAND [ARGUMENTS]

  demo            four hospitals, one coordinator, one drops out: `--help` lists the options
  test            the test suite; arguments go to pytest
  lint            ruff, mypy and the import contracts
  lock            resolve requirements.lock anew from pyproject.toml (`--upgrade`: newer versions)
  audit           ask the package index for known vulnerabilities of every locked package
  sbom            a CycloneDX bill of materials of the locked packages, as JSON on stdout
  wheel           build dist/*.whl, the same bytes from the same sources, and print its SHA-256
  secagg          any other command of secagg: `python3 run.py secagg --help`
"""


COMMANDS = {"demo", "test", "lint", "lock", "audit", "sbom", "wheel", "secagg"}


class SetupFailed(Exception):
    """A step of the set-up failed: says which, and how to mend it."""


def fingerprint(lock: bytes, project: bytes, python: str, root: str) -> str:
    """What an environment was made from; anything else means that it is stale.

    The folder counts too: an environment that was moved has wrong paths inside.
    """
    state = hashlib.sha256()
    for part in (lock, project, python.encode(), root.encode()):
        state.update(len(part).to_bytes(8, "big") + part)
    return state.hexdigest()


def stanza(lock: str, name: str) -> str:
    """The lines of one package in a hashed lock file, ready for `pip --require-hashes`.

    Raises SetupFailed if the lock does not pin the package.
    """
    lines = lock.splitlines()
    for start, line in enumerate(lines):
        if line.startswith(f"{name}=="):
            end = start
            while lines[end].endswith("\\"):
                end += 1
            return "\n".join(lines[start : end + 1]) + "\n"
    raise SetupFailed(f"requirements.lock does not pin {name}. Restore the file with git.")


class Setup:
    """Makes the environment of one checkout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.venv = root / ".venv"
        self.python = self.venv / "bin" / "python"
        self.tools = root / ".tools"
        self.lock = root / "requirements.lock"
        self.stamp = self.venv / "secagg-stamp"

    def ensure(self) -> None:
        """Make the environment unless it is there and current. Raises SetupFailed."""
        if self.is_current():
            return
        self.tools.mkdir(exist_ok=True)
        with (self.tools / "setup.lock").open("w") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)  # a second run.py waits here and finds it done
            if not self.is_current():
                self._make()

    def is_current(self) -> bool:
        """Whether the environment was made from these very files, by this Python, here."""
        return (
            self.python.exists()
            and self.stamp.is_file()
            and self.stamp.read_text() == self._fingerprint()
        )

    def _fingerprint(self) -> str:
        try:
            lock, project = self.lock.read_bytes(), (self.root / "pyproject.toml").read_bytes()
        except FileNotFoundError as missing:
            raise SetupFailed(f"{missing.filename} is missing. Restore it with git.") from missing
        return fingerprint(lock, project, sys.version, str(self.root))

    def _make(self) -> None:
        wanted = self._fingerprint()
        self.stamp.unlink(missing_ok=True)
        uv = self._uv()
        if uv is None:
            say("uv is not to be had here; using venv and pip, which take longer")
            self._make_with_pip()
        else:
            self._make_with_uv(uv)
        self.stamp.write_text(wanted)

    def _uv(self) -> "str | None":
        """The path of uv in the locked version, installed on first use; None if that fails."""
        uv, pinned = self.tools / "bin" / "uv", self.tools / "uv.txt"
        wanted = stanza(self.lock.read_text(), "uv")
        if uv.exists() and pinned.is_file() and pinned.read_text() == wanted:
            return str(uv)
        say("getting uv")
        pinned.write_text(wanted)
        pip = [sys.executable, "-m", "pip", "install", *QUIETLY, "--upgrade"]
        try:
            call([*pip, *LOCKED, str(pinned), "--target", str(self.tools)])
        except SetupFailed as failure:
            say(str(failure))
            pinned.unlink()
            return None
        return str(uv)

    def _make_with_uv(self, uv: str) -> None:
        if not self._same_python():
            say("making .venv")
            call([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(self.venv)])
        say("installing the locked packages")
        here = ["--quiet", "--python", str(self.python)]
        call([uv, "pip", "sync", *here, "--require-hashes", str(self.lock)])
        call([uv, "pip", "install", *here, *UNISOLATED, "--editable", str(self.root)])

    def _make_with_pip(self) -> None:
        say("making .venv")
        call([sys.executable, "-m", "venv", "--clear", str(self.venv)])
        say("installing the locked packages")
        pip = [str(self.python), "-m", "pip", "install", *QUIETLY]
        call([*pip, *LOCKED, str(self.lock)])
        call([*pip, *UNISOLATED, "--editable", str(self.root)])

    def _same_python(self) -> bool:
        """Whether `.venv` works and has this very Python, so that it can be brought up to date."""
        with contextlib.suppress(OSError):
            asked = subprocess.run(
                [str(self.python), "-c", "import sys; print(sys.version, sys.prefix, sep='|')"],
                capture_output=True,
                text=True,
                check=False,
            )
            return asked.stdout.strip() == f"{sys.version}|{self.venv}"
        return False


def say(message: str) -> None:
    """Tell the person who waits what is going on."""
    print(f"run.py: {message}", file=sys.stderr, flush=True)


def call(command: "list[str]") -> None:
    """Run one step with its output on stderr. Raises SetupFailed when it fails."""
    try:
        done = subprocess.run(command, stdout=sys.stderr, check=False)
    except OSError as error:
        raise SetupFailed(f"`{' '.join(command)}` could not be started: {error}") from error
    if done.returncode:
        raise SetupFailed(f"`{' '.join(command)}` failed with exit status {done.returncode}.")


def lint(setup: Setup) -> int:
    """Run every check of the source and return 1 if any failed, else 0."""
    tools = setup.venv / "bin"
    checks = [
        ["ruff", "check"],
        ["ruff", "format", "--check"],
        ["mypy"],
        ["lint-imports"],
    ]
    failed = []
    for check in checks:
        say(" ".join(check))
        if subprocess.run([str(tools / check[0]), *check[1:]], cwd=ROOT, check=False).returncode:
            failed.append(" ".join(check))
    say(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return 1 if failed else 0


def lock(setup: Setup, arguments: "list[str]") -> int:
    """Resolve requirements.lock for every platform and Python, with hashes and no addresses."""
    command = [str(setup.venv / "bin" / "uv"), "pip", "compile", "pyproject.toml"]
    command += ["--universal", "--all-extras", "--python-version", f"{MINIMUM[0]}.{MINIMUM[1]}"]
    command += ["--generate-hashes", "--no-header", "--no-emit-index-url", "--no-emit-find-links"]
    command += ["--quiet", "--output-file", setup.lock.name, *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def wheel(setup: Setup) -> int:
    """Build the wheel and print the SHA-256 of each file in dist/."""
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    # A fixed time in the archive, so that equal sources make equal bytes: 1980-01-01, zip's first.
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "315532800"}
    command = [str(setup.python), "-m", "hatchling", "build", "--target", "wheel"]
    built = subprocess.run(command, cwd=ROOT, env=environment, stdout=sys.stderr, check=False)
    for path in sorted(dist.glob("*.whl")):
        print(hashlib.sha256(path.read_bytes()).hexdigest(), path.name)
    return built.returncode


def execute(program: Path, arguments: "list[str]") -> NoReturn:
    """Become another program."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(program, [str(program), *arguments])


def main(arguments: "list[str]") -> int:
    """Carry out one command; returns the exit status, unless another program takes over."""
    command, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if command not in COMMANDS:
        wants_help = command in {"-h", "--help", "help"}
        print(USAGE, end="", file=sys.stdout if wants_help else sys.stderr)
        return 0 if wants_help else 2
    setup = Setup(ROOT)
    try:
        setup.ensure()
    except SetupFailed as failure:
        say(str(failure))
        say("check the network (HTTPS_PROXY and SSL_CERT_FILE are honoured) and the disk's space,")
        say("on Debian and Ubuntu `apt install python3-pip python3-venv` brings pip and venv;")
        say("then delete .venv and .tools here, and run the same command again")
        return 1
    if command == "lint":
        return lint(setup)
    if command == "lock":
        return lock(setup, rest)
    if command == "wheel":
        return wheel(setup)
    locked = str(setup.lock)
    if command == "audit":
        auditing = ["--require-hashes", "--strict", "--progress-spinner", "off"]
        execute(setup.venv / "bin" / "pip-audit", [*auditing, "--requirement", locked, *rest])
    if command == "sbom":
        naming = ["requirements", "--output-reproducible", "--output-format", "JSON"]
        execute(setup.venv / "bin" / "cyclonedx-py", [*naming, *rest, locked])
    if command == "test":
        os.chdir(ROOT)
        workers = str(min(4, os.cpu_count() or 1))
        execute(setup.python, ["-m", "pytest", "-n", workers, *rest])
    execute(setup.venv / "bin" / "secagg", rest if command == "secagg" else [command, *rest])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
