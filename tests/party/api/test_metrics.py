"""GET /metrics."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from secagg.policy import NoiseSpec
from secagg.privacy.accounting import RHO_UNIT
from tests.party.api.serving import serving
from tests.party.consortium import Consortium, assemble, posted


def samples(text: str) -> dict[str, float]:
    """Every sample, named as it is written, without those about the process."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def test_the_node_in_numbers(tmp_path: Path) -> None:
    consortium = assemble(tmp_path, posting=True)
    for party in consortium.parties.values():
        party.client.submit(posted(1))
    consortium.round(1)
    first = consortium.parties[1]
    first.client.submit(posted(2))
    assert first.ledger is not None
    assert first.queue is not None
    assert first.audit is not None
    async with serving(consortium) as client:
        answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = samples(answer.text)
    waiting = next(each for each in first.queue.submissions() if each.state == "queued")
    budget = first.ledger.budget()
    expected = {
        "secagg_party_connected": 0,
        "secagg_party_participating": 1,
        "secagg_party_state{state=ready}": 1,
        "secagg_party_problem": 0,
        "secagg_party_round": 1,
        "secagg_party_rounds_total{outcome=certified}": 1,
        "secagg_party_rounds_total{outcome=missed}": 0,
        "secagg_party_rounds_total{outcome=abandoned}": 0,
        "secagg_party_submissions{state=queued}": 1,
        "secagg_party_submissions{state=used}": 1,
        "secagg_party_submissions{state=withdrawn}": 0,
        "secagg_party_oldest_waiting_submission_timestamp_seconds": waiting.submitted_at,
        "secagg_party_privacy_epsilon_limit": 1,
        "secagg_party_privacy_epsilon_spent": budget.epsilon_spent(),
        "secagg_party_privacy_delta": 0.001,
        "secagg_party_privacy_rho_spent": float(budget.spent.rho * RHO_UNIT),
        "secagg_party_privacy_affordable_attempts": budget.affordable(first.ledger.cost.sum),
        "secagg_party_privacy_charges_total": 1,
        "secagg_party_audit_lines_total": first.audit.head().seq,
        "secagg_party_audit_behind": 0,
    }
    assert found.items() >= expected.items()
    assert any(name.startswith("secagg_party_info{") for name in found)
    consortium.close()


async def test_every_metric_is_explained_and_named_as_is_usual(consortium: Consortium) -> None:
    async with serving(consortium) as client:
        text = (await client.get("/metrics")).text
    for family in text_string_to_metric_families(text):
        assert family.documentation.endswith("."), family.name
        assert re.fullmatch(r"(secagg_party|process)(_[a-z]+)*", family.name)


async def test_openmetrics_for_those_who_ask(consortium: Consortium) -> None:
    accepts = {"Accept": "application/openmetrics-text; version=1.0.0"}
    async with serving(consortium) as client:
        answer = await client.get("/metrics", headers=accepts)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


async def test_without_noise_and_queue_nothing_is_made_up(tmp_path: Path) -> None:
    plain = assemble(tmp_path, noise=NoiseSpec())
    async with serving(plain) as client:
        found = samples((await client.get("/metrics")).text)
    assert not any("privacy" in name or "submission" in name for name in found)
    plain.close()
