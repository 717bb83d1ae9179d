"""The audit log of a real node: started, stopped, killed, on a file and on PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import URL

from tests.party.files import NAME, Installation, install

SECAGG = (sys.executable, "-c", "from secagg.cli import main; main()")


def run(installation: Installation, place: Path | URL, ending: signal.Signals) -> dict[str, Any]:
    """Start the node, ask for its head, end it."""
    environment = {**os.environ}
    if isinstance(place, URL):
        environment["SECAGG_PARTY__DATABASE__URL"] = place.render_as_string()
    with (
        (installation.directory / "log").open("ab") as log,
        subprocess.Popen(
            [*SECAGG, "party", "start", "--config", installation.configuration],
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (installation.directory / "log").read_text()
            head: dict[str, Any] = httpx2.get(f"{json.loads(line)['url']}/audit/head").json()
            process.send_signal(ending)
            status = process.wait(timeout=60)
            assert status == (0 if ending is signal.SIGTERM else -ending)
        finally:
            process.kill()
    return head


def verified(installation: Installation, heads: list[dict[str, Any]]) -> dict[str, Any]:
    """What ``secagg audit verify`` says of the node's log, held to heads kept elsewhere."""
    configuration = installation.configuration
    command = [*SECAGG, "audit", "verify", "--config", str(configuration), "--format", "json"]
    for number, head in enumerate(heads):
        kept = installation.directory / f"head-{number}.json"
        kept.write_text(json.dumps(head))
        command += ["--head", str(kept)]
    done = subprocess.run(command, capture_output=True, check=False)
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["verified"] == (done.returncode == 0), done.stderr
    return found


def test_a_node_keeps_its_log_through_stops_and_kills(place: Path | URL, tmp_path: Path) -> None:
    installation = install(tmp_path, port=1)
    heads = [
        run(installation, place, ending)
        for ending in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)
    ]
    log = tmp_path / "state" / "audit.jsonl"
    events = [json.loads(line)["event"] for line in log.read_bytes().splitlines()]
    assert events == ["started", "stopped", "started", "started", "started", "stopped"]
    found = verified(installation, heads)
    assert (found["verified"], found["hospital"], found["lines"]) == (True, NAME, 6)
    assert found["heads_held_to"] == len(heads) + 1
    assert (tmp_path / "state" / "party.sqlite3").exists() == isinstance(place, Path)

    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-2]))
    found = verified(installation, heads)
    assert (found["verified"], found["fault"]) == (False, "the end was cut off")
