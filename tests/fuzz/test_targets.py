"""Every target on its seeds, on what hypothesis makes of them, and briefly guided by coverage."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secagg.wire.messages import CertificateShare, UnmaskingAnswer
from tests.fuzz import targets
from tests.fuzz.targets import (
    TARGETS,
    Broken,
    client,
    client_seeds,
    ensure,
    server,
    server_seeds,
)

ROOT = Path(__file__).parents[2]
EXAMPLES = {"client": 25, "server": 40}


@pytest.mark.parametrize("name", TARGETS)
def test_on_its_seeds(name: str) -> None:
    target, seeds = TARGETS[name]
    for seed in seeds():
        target(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_on_anything(name: str) -> None:
    target, _ = TARGETS[name]

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(st.binary(max_size=300))
    def anything(data: bytes) -> None:
        target(data)

    anything()


@pytest.mark.parametrize("name", TARGETS)
def test_on_seeds_that_were_damaged(name: str) -> None:
    target, seeds = TARGETS[name]
    known = list(seeds())

    @settings(
        max_examples=EXAMPLES.get(name, 200),
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
    )
    @given(st.data())
    def damaged(data: st.DataObject) -> None:
        seed = bytearray(data.draw(st.sampled_from(known)))
        for _ in range(data.draw(st.integers(1, 6))):
            place = data.draw(st.integers(0, len(seed)))
            match data.draw(st.sampled_from(["change", "insert", "cut"])):
                case "insert":
                    seed[place:place] = data.draw(st.binary(min_size=1, max_size=9))
                case "cut":
                    del seed[place : place + data.draw(st.integers(1, 9))]
                case _ if place < len(seed):
                    seed[place] = data.draw(st.integers(0, 255))
        target(bytes(seed))

    damaged()


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is made for Linux alone"
)
def test_guided_by_coverage(tmp_path: Path) -> None:
    name = "submission"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.fuzz.run", name),
            *("--seconds", "8", "--corpus", str(tmp_path)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["target"] == name
    assert found["inputs"] > 0


def test_a_defect_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a sum that is off by one, the honest attempt of the server's seeds says so."""
    from secagg.vector.aggregate import Aggregate

    total = Aggregate.total
    monkeypatch.setattr(Aggregate, "total", lambda self: total(self) + 1)
    honest = next(server_seeds())
    with pytest.raises(Broken, match="wrong sum"):
        server(honest)


def test_the_honest_attempt_gets_to_the_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[type] = []
    monkeypatch.setattr(
        targets, "_check_client", lambda cohort, u, messages: sent.extend(map(type, messages))
    )
    client(next(client_seeds()))
    assert sent.count(UnmaskingAnswer) == 3
    assert sent.count(CertificateShare) == 3


def test_what_does_not_hold_is_broken() -> None:
    ensure(True, "nothing")
    with pytest.raises(Broken, match="this"):
        ensure(False, "this")
