"""Hospitals that made their own keys, from enrollment to a certified model; one behind a proxy."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import trio

from benchmarks.demo.processes import Child, children
from benchmarks.ehr import post, request_body
from party.config import load
from party.enrollment.installing import install
from party.enrollment.keys import make
from party.preflight.plan import carry_out
from party.preflight.site import Site
from secagg.crypto.randomness import SystemRandomness
from secagg.enrollment.fingerprint import fingerprint
from server.enrolled import enroll
from server.policy_template import find_template
from tests.party.connect_proxy import ConnectProxy, proxying

HOSPITALS = ("anna", "berta", "clara")
BEHIND_A_PROXY = "clara"
RECORD = {"age": 45, "symptoms": ["fever", "cough"], "diagnosis": "respiratory_infection"}


def found(directory: Path) -> Path:
    """Enroll, found, install; returns where the server's configuration is."""
    made = [make(name, directory / name, SystemRandomness()) for name in HOSPITALS]
    template = find_template("respiratory-cardiac")
    enrolled = enroll(directory / "new", [each.path for each in made], template)
    for each in made:
        name = each.enrollment.name
        assert enrolled.fingerprints[name] == each.enrollment.fingerprint
        read_out = fingerprint(enrolled.policy.digest())
        install(enrolled.answers[name], directory / name, Decimal(1), read_out)
    return enrolled.server


async def posted(node: Child, home: Path) -> dict[str, Any]:
    """What a hospital's EHR is answered when it posts one patient for round 1."""
    patient = {"patient_id": f"PATIENT_{node.name}", **RECORD}
    body = request_body([patient], home / "fernet.key", 1)
    return await trio.to_thread.run_sync(post, str(node.ready["url"]), body)


async def test_enrolled_hospitals_certify_a_model(tmp_path: Path) -> None:
    nodes: dict[str, Child] = {}
    answers: dict[str, dict[str, Any]] = {}
    with trio.fail_after(180):
        server = found(tmp_path)
        async with children(tmp_path / "logs") as started, proxying(ConnectProxy()) as proxy:
            listen = {"SECAGG_SERVER__LISTEN__PORT": "0"}
            arguments = ["server", "start", "--config", str(server)]
            port = (await started.start("server", arguments, listen)).ready["port"]
            for name in HOSPITALS:
                path = tmp_path / name / "party.toml"
                line = f"port = {port}\n"
                if name == BEHIND_A_PROXY:
                    line += f'proxy = "http://user:secret@127.0.0.1:{proxy.port}"\n'
                text = path.read_text().replace("port = 8443\n", line)
                path.write_text(text.replace("[api]\nport = 8000\n", "[api]\nport = 0\n"))
                report = await trio.to_thread.run_sync(carry_out, Site(load(path)))
                assert not report.failed, report.text()
            seen = len(proxy.requests)
            assert seen == 1  # preflight's own, of the one hospital behind it

            async def take_part(name: str) -> None:
                arguments = ["party", "start", "--config", str(tmp_path / name / "party.toml")]
                nodes[name] = await started.start(name, arguments, {})
                answers[name] = await posted(nodes[name], tmp_path / name)

            async with trio.open_nursery() as nursery:
                for name in HOSPITALS:
                    nursery.start_soon(take_part, name)
            assert len(proxy.requests) > seen
            log = (tmp_path / "logs" / f"{BEHIND_A_PROXY}.log").read_text()
    assert all(answer["participants"] == len(HOSPITALS) for answer in answers.values()), answers
    (model_hash,) = {answer["model_hash"] for answer in answers.values()}
    assert len(model_hash) == 64
    assert "secret" not in log
