"""One node as a process of its own, without a server: for everything that it answers by itself."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import requests
from cryptography.fernet import Fernet

from server.consortium import create
from server.policy_template import Template, find_template
from tests.party import ehr

NAME: Final = "anna"
_START: Final = (sys.executable, "-c", "from secagg.cli import main; main()", "party", "start")
_SECONDS: Final = 60


@final
@dataclass(frozen=True, slots=True)
class LoneNode:
    """``home``: the hospital's directory. ``log``: what the process writes on stderr."""

    url: str
    home: Path
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def fernet(self) -> Fernet:
        """The key that its EHR encrypts with."""
        return Fernet((self.home / "fernet.key").read_bytes().strip())

    def body(self, *records: Mapping[str, Any], number: int = 1) -> dict[str, Any]:
        """What its EHR posts."""
        return ehr.body(self.fernet, records, number)

    def post(self, body: Any = None, **options: Any) -> requests.Response:
        """Post ``body`` as JSON, or whatever ``options`` of requests say."""
        url = f"{self.url}/submit-federated-update"
        return requests.post(url, **{"json": body, "timeout": 60, **options})

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Any other request."""
        return requests.request(method, self.url + path, **{"timeout": 60, **options})

    def audited(self) -> list[dict[str, Any]]:
        """The lines of its audit log."""
        lines = (self.home / "state" / "audit.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


@contextmanager
def lone_node(
    directory: Path,
    *,
    epsilon: str = "1",
    train: Iterable[Mapping[str, Any]] | None = None,
    template: Template | None = None,
    **settings: str,
) -> Iterator[LoneNode]:
    """A node in ``directory``; ``settings``: its SECAGG_PARTY__* variables.

    ``train``: the file of records that it trains on, instead of what an EHR posts.
    """
    created = create(
        directory / "consortium",
        (NAME, "berta", "clara"),
        template or find_template("respiratory-cardiac"),
        epsilon=epsilon,
        ehr=train is None,
    )
    configuration = created.hospitals[NAME]
    if train is not None:
        lines = "".join(json.dumps(record) + "\n" for record in train)
        (configuration.parent / "train.jsonl").write_text(lines)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("SECAGG_")}
    given = {"server__port": "1", "api__port": "0", **settings}
    log = directory / "node.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [*_START, "--config", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=inherited | {f"SECAGG_PARTY__{k.upper()}": v for k, v in given.items()},
        )
    try:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], _SECONDS)[0], log.read_text()
        ready = process.stdout.readline()
        assert ready, log.read_text()
        yield LoneNode(json.loads(ready)["url"], configuration.parent, log, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(_SECONDS) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def reasons(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """Why submissions were refused, by the audit log."""
    return [line["fields"]["reason"] for line in lines if line["event"] == "submission refused"]
