"""One consortium with a server that runs, and a hospital's directory that each test may spoil."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from party.config import load
from party.preflight.site import Site
from secagg.cli import CommandError, ExitCode
from secagg.policy import Policy
from server.consortium import Created, create
from server.policy_template import find_template
from tests.party.processes import free_port, started

NAMES = ["a", "b", "c"]


def trial(directory: Path) -> Created:
    """Three hospitals with EHRs, whose server is to listen on a free port of loopback."""
    return create(
        directory,
        NAMES,
        find_template("respiratory-cardiac"),
        server_port=free_port(),
        ehr=True,
        api_port=free_port(),
    )


@dataclass(frozen=True)
class Hospital:
    """A copy of one hospital's directory."""

    home: Path
    policy: Policy

    @property
    def configuration(self) -> Path:
        return self.home / "party.toml"

    def site(self) -> Site:
        return Site(load(self.configuration))

    def change(self, find: str, put: str) -> None:
        """Edit party.toml."""
        text = self.configuration.read_text()
        assert find in text
        self.configuration.write_text(text.replace(find, put, 1))

    def add(self, text: str) -> None:
        """Add to party.toml."""
        with self.configuration.open("a") as file:
            file.write(text)

    def fails(self, check: Callable[[Site], str], words: str, code: ExitCode) -> None:
        """``check`` finds what ``words`` say, and a way to mend it."""
        with pytest.raises(CommandError, match=f"(?s){words}") as failed:
            check(self.site())
        assert failed.value.exit_code is code
        assert failed.value.remedy


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Created:
    return trial(tmp_path_factory.mktemp("consortium") / "trial")


@pytest.fixture(scope="module")
def serving(consortium: Created, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The consortium's server, as a process."""
    log = tmp_path_factory.mktemp("log") / "server.log"
    with started(log, "server", "start", "--config", consortium.server):
        yield


@pytest.fixture
def hospital(consortium: Created, tmp_path: Path) -> Hospital:
    home = tmp_path / "a"
    shutil.copytree(consortium.hospitals["a"].parent, home)
    return Hospital(home, consortium.policy)
