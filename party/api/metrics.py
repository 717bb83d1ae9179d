"""``GET /metrics`` for Prometheus: read from the node when asked, with nothing counted beside it.

Every number is about the node as a whole. None is about a patient, and no label names one: not even
how many patients a batch has is here, which /rounds tells the hospital.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from typing import Final, final

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from party.api.services import Services
from party.history import History, RoundStatus
from party.ledger import Ledger
from party.queue import Queue, State
from secagg.privacy.accounting import RHO_UNIT
from secagg.wire.messages import PROTOCOL

_FORMS: Final = ("text/plain", "application/openmetrics-text")
_OUTCOMES: Final = (RoundStatus.CERTIFIED, RoundStatus.MISSED, RoundStatus.ABANDONED)


def router(services: Services) -> APIRouter:
    """``/metrics``."""
    routes = APIRouter(tags=["monitoring"])
    registry = CollectorRegistry()
    registry.register(NodeCollector(services))
    ProcessCollector(registry=registry)

    @routes.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {form: {"schema": {"type": "string"}} for form in _FORMS}}},
    )
    async def metrics(request: Request) -> Response:
        """The node's metrics, in the text format of Prometheus or OpenMetrics."""
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        content = await services.in_thread(encode, registry)
        return Response(content, headers={"Content-Type": media_type})

    return routes


@final
class NodeCollector(Collector):
    """Reads the node's state; blocking, called in a worker thread."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._history = History(
            services.reporter.u, services.node, services.journal, services.ledger, services.queue
        )

    def describe(self) -> list[Metric]:
        """Nothing in advance: registering reads no database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every family of metrics."""
        services = self._services
        yield from self._node()
        yield self._rounds()
        if services.queue is not None:
            yield from _submissions(services.queue)
        if services.ledger is not None:
            yield from _privacy(services.ledger)
        yield CounterMetricFamily(
            "secagg_party_audit_lines", "Lines of the audit log.", services.audit.head().seq
        )
        yield GaugeMetricFamily(
            "secagg_party_audit_behind",
            "1 if the disk has refused the newest lines of audit.jsonl.",
            int(services.audit.behind),
        )

    def _node(self) -> Iterator[Metric]:
        node, view = self._services.node, self._services.node.view
        about = {"version": version("secagg"), "protocol": str(PROTOCOL)}
        yield InfoMetricFamily("secagg_party", "This node.", about)
        yield GaugeMetricFamily(
            "secagg_party_connected",
            "1 while the server has this hospital on an open connection.",
            int(node.connected),
        )
        yield GaugeMetricFamily(
            "secagg_party_participating", "0 once this hospital has left.", int(not view.left)
        )
        state = GaugeMetricFamily(
            "secagg_party_state", "1 for the state as in GET /status.", labels=["state"]
        )
        state.add_metric([view.state], 1)
        yield state
        yield GaugeMetricFamily(
            "secagg_party_problem",
            "1 if GET /status names a problem that somebody has to mend.",
            int(view.problem is not None),
        )
        yield GaugeMetricFamily(
            "secagg_party_round",
            "The round it is in, else the last one that is closed.",
            view.round,
        )

    def _rounds(self) -> Metric:
        counted = Counter(record.status for record in self._history.rounds())
        rounds = CounterMetricFamily(
            "secagg_party_rounds",
            "Closed training rounds: certified with this hospital's batch, without it, or "
            "entered and abandoned.",
            labels=["outcome"],
        )
        for outcome in _OUTCOMES:
            rounds.add_metric([outcome.value], counted[outcome])
        return rounds


def _submissions(queue: Queue) -> Iterator[Metric]:
    submissions = queue.submissions()
    counted = Counter(each.state for each in submissions)
    states = GaugeMetricFamily(
        "secagg_party_submissions", "Batches that were posted, by state.", labels=["state"]
    )
    for state in State:
        states.add_metric([state.value], counted[state])
    yield states
    waiting = [each.submitted_at for each in submissions if each.state is State.QUEUED]
    oldest = GaugeMetricFamily(
        "secagg_party_oldest_waiting_submission_timestamp_seconds",
        "When the batch was posted that waits the longest; absent if none waits.",
    )
    if waiting:
        oldest.add_metric([], min(waiting))
    yield oldest


def _privacy(ledger: Ledger) -> Iterator[Metric]:
    budget, charges = ledger.budget(), ledger.charges()
    for name, text, value in (
        ("epsilon_limit", "What the hospital allows over all rounds.", float(budget.epsilon)),
        ("epsilon_spent", "What is spent of it, rounded up.", budget.epsilon_spent()),
        ("delta", "The delta at which epsilon holds.", float(budget.delta)),
        ("rho_spent", "The same in zCDP, which adds up.", float(budget.spent.rho * RHO_UNIT)),
        (
            "affordable_attempts",
            "How many more attempts fit the budget.",
            budget.affordable(ledger.cost.sum),
        ),
    ):
        yield GaugeMetricFamily(f"secagg_party_privacy_{name}", text, value)
    yield CounterMetricFamily(
        "secagg_party_privacy_charges", "Attempts that were charged.", len(charges)
    )
