"""One node as a process: put together from its configuration, run until it is told to stop."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
import trio
from sqlalchemy import Engine

from party import api, state_dir
from party.accounts import LowBudgetAlarm
from party.audit.log import AuditLog
from party.backoff import Backoff
from party.batches import BatchSource, StandingFile
from party.chain import Chain
from party.client import Client
from party.config import Data, PartyConfig, PrivacyBudget
from party.connection import dial, tls_context
from party.database import claimed, open_database
from party.evaluation import Evaluations
from party.floor import check_floor
from party.journal import Follower, Journal
from party.ledger import Cost, Ledger
from party.models import ModelStore
from party.node import Node
from party.opening import check_budget, check_records, find_hospital, read_policy
from party.participation import Participation
from party.queue import Queue
from party.receiving import Receiving
from party.rehearsal import Loss
from party.schedule.opening import open_schedule
from party.schedule.scheduler import Scheduler
from party.status import Reporter
from party.submission.keyring import Keyring
from party.transcripts import Transcripts
from secagg.cli import CommandError, ExitCode
from secagg.crypto.randomness import Randomness, SystemRandomness
from secagg.model import ModelSpec
from secagg.schema import FeatureSchema

_log = structlog.get_logger("secagg.party")


@dataclass(frozen=True, slots=True)
class Assembly:
    """The parts of one node that a process runs."""

    node: Node
    services: api.Services
    evaluations: Evaluations
    chain: Chain
    audit: AuditLog
    scheduler: Scheduler | None


async def run(config: PartyConfig, rehearsed: Loss | None = None) -> None:
    """Run the node that ``config`` describes; returns after SIGTERM or SIGINT.

    Raises CommandError for whatever an operator has to mend before it can run.
    """
    with opened(config, rehearsed) as assembly, trio.CancelScope() as running:
        async with trio.open_nursery() as nursery:
            await nursery.start(_stop_on_signal, running)
            app = api.application(assembly.services)
            url: str = await nursery.start(api.serve, app, config.api)
            print(json.dumps({"event": "serving", "url": url}), flush=True)
            nursery.start_soon(_evaluate, assembly)
            nursery.start_soon(assembly.node.run)
            if assembly.scheduler is not None:
                nursery.start_soon(assembly.scheduler.run)


@contextmanager
def opened(config: PartyConfig, rehearsed: Loss | None = None) -> Iterator[Assembly]:
    """The node's parts over its own state directory and database, held while this is entered.

    Raises CommandError for whatever an operator has to mend, another node that runs among it.
    """
    with state_dir.held(config.state_dir) as path, _database(config, path) as engine:
        assembly = assemble(config, engine, rehearsed)
        yield assembly
        assembly.audit.stopped()


@contextmanager
def _database(config: PartyConfig, path: Path) -> Iterator[Engine]:
    """The node's database, for it alone: the SQLite file at ``path``, or what [database] names."""
    engine = open_database(path if config.database is None else config.database.place)
    try:
        with claimed(engine):
            yield engine
    finally:
        engine.dispose()


def assemble(config: PartyConfig, engine: Engine, rehearsed: Loss | None = None) -> Assembly:
    """Put a node together. Raises CommandError, naming what is wrong and how to mend it."""
    policy, spec, schema = read_policy(config.policy)
    hospital = find_hospital(config, policy)
    cost = Cost.of(policy)
    check_floor(policy, config.limits, cost, config.budget.exact[1] if config.budget else None)
    check_records(config, spec, schema)
    keyring = None if config.ehr is None else Keyring.load(config.ehr.fernet_key_file)
    ledger = _ledger(cost, config.budget, engine)
    randomness = SystemRandomness()
    audit = AuditLog(engine, config.state_dir, hospital, cost, randomness)
    queue: Queue | None = None
    receiving: Receiving | None = None
    if config.ehr is not None and keyring is not None:
        receiving = Receiving.under(policy, spec, schema, hospital, keyring, randomness, audit)
        queue = Queue(engine, receiving.training, hospital.u, config.ehr.queued_batches, audit)
    source: BatchSource = _standing_file(config, spec, schema) if queue is None else queue
    models = ModelStore(engine)
    followers: list[Follower] = [audit] if queue is None else [queue, audit]
    if ledger is not None:
        followers.append(LowBudgetAlarm(ledger))
    journal = Journal(engine, ledger, models, followers, config.models.keep)
    chain = Chain(hospital, spec, journal, models, randomness)
    client = Client(
        hospital,
        journal,
        chain,
        ledger,
        source,
        randomness,
        Participation(engine, queue, audit),
        Transcripts(engine),
        config.limits.extra_charged_attempts,
        audit,
    )
    node = Node(
        client,
        source,
        policy.digest(),
        partial(dial, config.server, tls_context(config.tls), config.tls.server_name),
        Backoff(config.reconnect.initial, config.reconnect.maximum, randomness),
        rehearsed,
    )
    data = config.data or Data()
    evaluations = Evaluations(engine, schema, spec, data.train, data.test, data.rounds)
    reporter = Reporter(config.name, policy, node, journal, ledger, evaluations)
    services = api.Services(
        config.api,
        policy,
        node,
        journal,
        ledger,
        models,
        reporter,
        audit,
        queue,
        None if receiving is None else receiving.admission,
        None if receiving is None else receiving.updates,
    )
    scheduler = _scheduler(config, engine, schema, services, randomness)
    return Assembly(node, services, evaluations, chain, audit, scheduler)


async def _stop_on_signal(
    running: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for received in signals:
            _log.info("stopping", signal=signal.Signals(received).name)
            running.cancel()
            return


async def _evaluate(assembly: Assembly) -> None:
    """Measure each model that the node comes to hold; the local baseline once, first."""
    await trio.to_thread.run_sync(assembly.evaluations.train_alone)
    while True:
        held = assembly.chain.held
        await trio.to_thread.run_sync(assembly.evaluations.evaluate, held.model_hash, held.model)
        while assembly.chain.held is held:
            await assembly.node.moved()


def _scheduler(
    config: PartyConfig,
    engine: Engine,
    schema: FeatureSchema | None,
    services: api.Services,
    randomness: Randomness,
) -> Scheduler | None:
    """What fetches batches by itself, if anything does."""
    queue, admission = services.queue, services.admission
    if config.schedule is None or schema is None or queue is None or admission is None:
        return None
    return open_schedule(
        config.schedule,
        engine,
        schema,
        admission,
        services.node,
        queue,
        config.api.max_body_bytes,
        randomness,
        services.audit,
    )


def _standing_file(
    config: PartyConfig, spec: ModelSpec, schema: FeatureSchema | None
) -> StandingFile:
    """The file that is the batch of every round."""
    data = config.data or Data()
    if data.train is None or data.rounds is None or schema is None:
        raise CommandError(
            "party.toml names no source of batches.",
            "Add [ehr] with fernet_key_file, or train and rounds in [data].",
            ExitCode.USAGE,
        )
    return StandingFile(data.train, schema, spec, data.rounds)


def _ledger(cost: Cost | None, limits: PrivacyBudget | None, engine: Engine) -> Ledger | None:
    """The ledger; without noise there is none, and a budget would be a promise nobody keeps."""
    check_budget(cost, limits)
    if cost is None or limits is None:
        _log.warning("no privacy budget", reason="the policy adds no noise")
        return None
    ledger = Ledger(engine, cost, *limits.exact)
    _log.info("privacy budget", affordable_attempts=ledger.budget().affordable(cost.sum))
    return ledger
