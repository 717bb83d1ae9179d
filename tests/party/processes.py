"""Real processes of the command line on loopback, each ended when its test is."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECAGG = (sys.executable, "-c", "from secagg.cli import main; main()")


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def started(log: Path, *arguments: object) -> Iterator[dict[str, Any]]:
    """``secagg ARGUMENTS``, from its first line on stdout on; yields that line.

    What it logs is appended to ``log``.
    """
    with (
        log.open("ab") as errors,
        subprocess.Popen(
            [*SECAGG, *map(str, arguments)], stdout=subprocess.PIPE, stderr=errors
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, log.read_text()
            yield json.loads(line)
            process.terminate()
            assert process.wait(timeout=30) == 0, log.read_text()
        finally:
            process.kill()


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """``secagg ARGUMENTS``, to its end."""
    return subprocess.run(
        [*SECAGG, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
