"""A consortium of real processes whose hospitals' EHRs post their batches."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import requests
import trio
from cryptography.fernet import Fernet

from benchmarks.demo.processes import Child, Children, children
from party.rehearsal import LossPoint
from server.consortium import Created, create
from server.policy_template import Template, find_template
from tests.party import ehr

HOSPITALS = ("anna", "berta", "clara")
TEMPLATE = "respiratory-cardiac"


@final
@dataclass(slots=True)
class Posting:
    """A server and nodes, under the manual's policy. ``settings``: SECAGG_PARTY__* of the nodes."""

    created: Created
    children: Children
    settings: Mapping[str, str]
    nodes: dict[str, Child] = field(default_factory=dict)
    server: Child | None = None
    port: int = 0

    async def serve(self, **timing: float) -> None:
        """Start the server: at first on any free port, later on the same one."""
        given = {f"SECAGG_SERVER__TIMING__{k.upper()}": str(v) for k, v in timing.items()}
        self.server = await self.children.start(
            "server",
            ["server", "start", "--config", str(self.created.server)],
            {"SECAGG_SERVER__LISTEN__PORT": str(self.port), **given},
        )
        self.port = int(self.server.ready["port"])

    async def join(
        self, *names: str, lost: tuple[LossPoint, int] | None = None, **settings: str
    ) -> None:
        """Start nodes; ``settings`` stand above those of all of them.

        ``lost``: (point, round) at which they kill themselves.
        """
        options: list[str] = []
        if lost is not None:
            options = ["--stop-after", lost[0].value, "--stop-in-round", str(lost[1])]
        changed = {f"SECAGG_PARTY__{name.upper()}": value for name, value in settings.items()}

        async def start(name: str) -> None:
            self.nodes[name] = await self.children.start(
                name,
                ["party", "start", "--config", str(self.created.hospitals[name]), *options],
                {
                    "SECAGG_PARTY__SERVER__PORT": str(self.port or 1),
                    "SECAGG_PARTY__API__PORT": "0",
                    "SECAGG_PARTY__RECONNECT__INITIAL": "0.1",
                    "SECAGG_PARTY__RECONNECT__MAXIMUM": "0.5",
                    **self.settings,
                    **changed,
                },
            )

        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(start, name)

    async def leave(self, name: str) -> None:
        """Stop a node as its operator would."""
        self.nodes[name].process.terminate()
        assert await self.nodes[name].process.wait() == 0

    def url(self, name: str) -> str:
        """Where a node's EHR reaches it."""
        return str(self.nodes[name].ready["url"])

    def home(self, name: str) -> Path:
        """The directory of a hospital."""
        return self.created.hospitals[name].parent

    def fernet(self, name: str) -> Fernet:
        """The key that a hospital's EHR encrypts with."""
        return Fernet((self.home(name) / "fernet.key").read_bytes().strip())

    def body(self, name: str, number: int, records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """What a hospital posts for round ``number``."""
        return ehr.body(self.fernet(name), records, number)

    async def post(self, name: str, body: Any, **options: Any) -> requests.Response:
        """Post ``body`` (to be JSON) to a hospital's node, as its EHR would."""

        def post() -> requests.Response:
            url = f"{self.url(name)}/submit-federated-update"
            return requests.post(url, **{"json": body, "timeout": 150, **options})

        return await trio.to_thread.run_sync(post)

    async def get(self, name: str, path: str) -> Any:
        """What a node says at ``path``."""
        url = f"{self.url(name)}{path}"
        return (await trio.to_thread.run_sync(lambda: requests.get(url, timeout=30))).json()

    async def lost(self, name: str) -> None:
        """Wait until a hospital has killed itself."""
        assert await self.nodes[name].process.wait() == -signal.SIGKILL

    def audited(self, name: str) -> list[dict[str, Any]]:
        """The lines of a hospital's audit log."""
        log = self.home(name) / "state" / "audit.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()]

    async def queued(self, name: str, number: int, records: Iterable[Mapping[str, Any]]) -> None:
        """Post a batch and wait no longer than until it is queued."""
        body = self.body(name, number, records)
        answer = await self.post(name, body)
        assert answer.status_code == 200, answer.text
        assert "model_hash" not in answer.json()


@asynccontextmanager
async def posting(
    directory: Path,
    *hospitals: str,
    timeout: float = 240,
    epsilon: str = "1",
    template: Template | None = None,
    **settings: str,
) -> AsyncIterator[Posting]:
    """A consortium on disk, nothing running yet; every process has ended when this is left."""
    created = create(
        directory / "consortium",
        hospitals or HOSPITALS,
        template or find_template(TEMPLATE),
        consortium="manual",
        epsilon=epsilon,
        ehr=True,
    )
    changed = {f"SECAGG_PARTY__{name.upper()}": value for name, value in settings.items()}
    with trio.fail_after(timeout):
        async with children(directory / "logs") as started:
            yield Posting(created, started, changed)


def patient(number: int, **fields: Any) -> dict[str, Any]:
    """A record of the manual's form."""
    return {
        "patient_id": f"PATIENT_{number:03}",
        "age": 20 + number % 70,
        "symptoms": ["fever", "cough"],
        "vitals": {"bp": "120/80", "hr": 72},
        "labs": {"wbc": 12000},
        "diagnosis": "respiratory_infection",
        **fields,
    }
