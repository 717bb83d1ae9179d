"""The state directory: private, and held by one process."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from party import state_dir
from secagg.cli import CommandError, ExitCode

HOLDER = """
import sys
from pathlib import Path
from party import state_dir
with state_dir.held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_it_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "state"
    with state_dir.held(directory) as database:
        assert database.parent == directory
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_second_node_is_refused_until_the_first_one_is_gone(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(CommandError, match="Another node is running") as refused,
            state_dir.held(tmp_path),
        ):
            pass
        assert refused.value.exit_code is ExitCode.USAGE
        holder.kill()  # the lock goes with the process, even one that had no time to let go
    with state_dir.held(tmp_path):
        pass


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with (
        pytest.raises(CommandError, match="cannot be used"),
        state_dir.held(tmp_path / "state"),
    ):
        pass
