"""Children of the demonstration: ready when they say so, and gone when it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from benchmarks.demo.plan import Plan
from benchmarks.demo.processes import children
from benchmarks.demo.setting import set_up
from secagg.cli import CommandError, ExitCode


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_child_says_when_it_is_ready_and_is_reaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECAGG_PARTY__NAME", "of another node on this machine")
    party = set_up(tmp_path, Plan(1, (), None, 0)).hospitals["hungary"]
    arguments = ["party", "start", "--config", str(party)]
    settings = {"SECAGG_PARTY__API__PORT": "0", "SECAGG_PARTY__SERVER__PORT": "1"}
    async with children(tmp_path / "logs") as started:
        child = await started.start("hungary", arguments, settings)
        assert str(child.ready["url"]).startswith("http://127.0.0.1:")
        assert child.ended is None
        assert is_running(child.process.pid)
    assert child.ended == ExitCode.OK
    assert not is_running(child.process.pid)
    assert '"event": "stopping"' in child.log.read_text()


async def test_children_are_reaped_when_it_is_stopped(tmp_path: Path) -> None:
    party = set_up(tmp_path, Plan(1, (), None, 0)).hospitals["hungary"]
    arguments = ["party", "start", "--config", str(party)]
    pids: list[int] = []
    with trio.CancelScope() as running:
        async with children(tmp_path / "logs") as started:
            child = await started.start("hungary", arguments, {"SECAGG_PARTY__API__PORT": "0"})
            pids.append(child.process.pid)
            running.cancel()
            await trio.sleep_forever()
    assert not is_running(pids[0])


async def test_a_child_that_does_not_start_says_why(tmp_path: Path) -> None:
    async with children(tmp_path) as started:
        with pytest.raises(CommandError, match=r"hungary did not start.\n(.|\n)*nowhere.toml"):
            await started.start("hungary", ["party", "start", "--config", "nowhere.toml"], {})
