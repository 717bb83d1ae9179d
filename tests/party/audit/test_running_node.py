"""The audit log of a real node: started, stopped, killed, on a file and on PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import URL

from party.audit.line import Head, decode_head
from party.audit.verification import LogRefused, verify
from tests.party.files import NAME, Installation, install

SECAGG = (sys.executable, "-c", "from secagg.cli import main; main()")


def run(installation: Installation, place: Path | URL, ending: signal.Signals) -> Head:
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
            answer = httpx2.get(f"{json.loads(line)['url']}/audit/head", timeout=60)
            process.send_signal(ending)
            status = process.wait(timeout=60)
            assert status == (0 if ending is signal.SIGTERM else -ending)
        finally:
            process.kill()
    return decode_head(answer.content)


def test_a_node_keeps_its_log_through_stops_and_kills(place: Path | URL, tmp_path: Path) -> None:
    installation = install(tmp_path, port=1)
    heads = [
        run(installation, place, ending)
        for ending in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM)
    ]
    lines = (tmp_path / "state" / "audit.jsonl").read_bytes().splitlines(keepends=True)
    events = [json.loads(line)["event"] for line in lines]
    assert events == ["started", "stopped", "started", "started", "stopped"]
    key = installation.policy.identity_key(installation.policy.client(NAME)).hex()
    found = verify(lines, key, heads)
    assert (found.hospital, found.head.seq, found.held_to) == (NAME, 5, len(heads))
    assert (tmp_path / "state" / "party.sqlite3").exists() == isinstance(place, Path)
    with pytest.raises(LogRefused, match="the end was cut off"):
        verify(lines[:-2], key, heads)
