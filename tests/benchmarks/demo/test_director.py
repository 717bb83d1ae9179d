"""What the demonstration says when it cannot go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.demo.director import Director
from benchmarks.demo.plan import Plan, drops
from benchmarks.demo.processes import Children, children
from benchmarks.demo.report import Round
from benchmarks.demo.setting import set_up
from secagg.cli import CommandError, ExitCode


async def test_a_round_that_does_not_end_is_given_up(tmp_path: Path) -> None:
    plan = Plan(1, drops(["hungary@share_keys", "cleveland@share_keys"], 1), None, 0)
    told: list[str] = []
    shown: list[Round] = []
    created = set_up(tmp_path, plan)
    async with children(tmp_path / "logs") as started:
        director = Director(plan, created, started, told.append, shown.append, patience=5)
        with pytest.raises(CommandError, match="Round 1 was not certified within 5 s") as failed:
            await director.play()
    assert failed.value.exit_code is ExitCode.FAILED_ROUND
    assert "switzerland: " in failed.value.problem
    assert shown == []
    assert sum("is gone" in line for line in told) == 2


async def test_a_server_that_dies_is_named(tmp_path: Path) -> None:
    plan = Plan(100, (), None, 0)
    created = set_up(tmp_path, plan)
    async with children(tmp_path / "logs") as started:
        # The server is the first process that is started, so the first one to be ended.
        director = Director(plan, created, started, lambda line: None, lambda found: end(started))
        with pytest.raises(CommandError, match="server has ended with status -9") as failed:
            await director.play()
    assert failed.value.exit_code is ExitCode.FAILED_ROUND
    assert "certified" in failed.value.problem


def end(started: Children) -> None:
    """Kill the first process that was started."""
    started.processes[0].kill()
