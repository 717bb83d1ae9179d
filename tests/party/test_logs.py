"""Logs: one JSON object a line where nobody is watching, and never a local variable."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import structlog
from party import logs

logs.configure()
log = structlog.get_logger("secagg.party")
log.debug("not written")
log.info("certified", round=3, reason="line one\\nline two")

def fail() -> None:
    canary = "CANARY-LOCAL"
    raise ValueError("a reason")

try:
    fail()
except ValueError:
    log.exception("failed")
"""


def test_json_lines_without_local_variables() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert run.stdout == ""
    certified, failed = (json.loads(line) for line in run.stderr.splitlines())
    assert (certified["event"], certified["round"]) == ("certified", 3)
    assert certified["level"] == "info"
    assert certified["timestamp"].endswith("Z")
    assert "a reason" in failed["exception"]
    assert "CANARY-LOCAL" not in run.stderr.replace('canary = "CANARY-LOCAL"', "")
