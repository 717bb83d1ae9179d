"""Child processes that are always reaped, and that say when they are ready."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any, Final, final

import trio

from secagg.cli import CommandError, ExitCode

STARTING_SECONDS: Final = 120
STOPPING_SECONDS: Final = 10
_SECAGG: Final = (sys.executable, "-c", "from secagg.cli import main; main()")
_FIRST_LINE_BYTES: Final = 4096


@final
@dataclass(frozen=True, slots=True)
class Child:
    """A running ``secagg`` command. ``ready``: the JSON line by which it said that it is."""

    name: str
    process: trio.Process
    log: Path
    ready: Mapping[str, Any]

    @property
    def ended(self) -> int | None:
        """Its exit status, negative for the signal that killed it; None while it runs."""
        return self.process.returncode


@final
class Children:
    """Every process that this one has started. Logs are appended to ``logs``/NAME.log."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        #: In the order in which they were started.
        self.processes: list[trio.Process] = []

    async def start(
        self, name: str, arguments: Sequence[str], settings: Mapping[str, str]
    ) -> Child:
        """Start ``secagg`` with ``arguments``; returns when it has said that it is ready.

        ``settings``: its SECAGG_* variables, in the place of whatever this process has of them.
        Raises CommandError if it ends or stays silent instead.
        """
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("SECAGG_")}
        log = self._logs / f"{name}.log"
        with log.open("ab") as stderr:
            process = await trio.lowlevel.open_process(
                [*_SECAGG, *arguments],
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=stderr,
                env={**inherited, **settings},
            )
        self.processes.append(process)
        line = b""
        with trio.move_on_after(STARTING_SECONDS):
            line = await _first_line(process)
        if not line:
            raise CommandError(
                f"{name} did not start.\n{last_lines(log)}".rstrip(),
                "Mend what its log says above, then start the demonstration again.",
                ExitCode.CONNECTION,
            )
        return Child(name, process, log, json.loads(line))

    async def stop(self) -> None:
        """End every process: asked first, then killed."""
        for process in self.processes:
            process.terminate()
        with trio.move_on_after(STOPPING_SECONDS):
            for process in self.processes:
                await process.wait()
        for process in self.processes:
            process.kill()
            await process.wait()


@asynccontextmanager
async def children(logs: Path) -> AsyncIterator[Children]:
    """Processes that have all ended when this context has, however it is left."""
    logs.mkdir(exist_ok=True)
    started = Children(logs)
    try:
        yield started
    finally:
        with trio.CancelScope(shield=True):
            await started.stop()


def last_lines(log: Path, count: int = 5) -> str:
    """The end of a log."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


async def _first_line(process: trio.Process) -> bytes:
    """What the process writes first on stdout; empty if it ends before that."""
    line = b""
    while process.stdout is not None and not line.endswith(b"\n"):
        data = await process.stdout.receive_some(_FIRST_LINE_BYTES)
        if not data:
            return b""
        line += bytes(data)
    return line
