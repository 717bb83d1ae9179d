"""The schedule of one node, as its configuration has it."""

from __future__ import annotations

from functools import partial

from sqlalchemy import Engine

from party.audit.log import AuditLog
from party.backoff import Backoff
from party.config import Schedule
from party.queue import Queue
from party.schedule.diary import Diary
from party.schedule.outbox import Outbox
from party.schedule.scheduler import FIRST_PAUSE, LONGEST_PAUSE, Node, Scheduler
from party.schedule.source import Source
from party.schedule.timetable import Timetable, local_zone
from party.submission.admission import Admission
from secagg.cli import CommandError, ExitCode
from secagg.crypto.randomness import Randomness
from secagg.schema import FeatureSchema


def open_schedule(
    config: Schedule,
    engine: Engine,
    schema: FeatureSchema,
    admission: Admission,
    node: Node,
    queue: Queue,
    max_body_bytes: int,
    randomness: Randomness,
    audit: AuditLog,
) -> Scheduler:
    """Raises CommandError if the source, or the local time zone, cannot be used."""
    timetable = Timetable(config.cron, local_zone())
    diary = Diary(engine, config.cron)
    return Scheduler(
        timetable,
        diary,
        _source(config, schema, admission, diary, max_body_bytes, audit),
        node,
        queue,
        config.retries,
        partial(Backoff, FIRST_PAUSE, LONGEST_PAUSE, randomness),
    )


def _source(
    config: Schedule,
    schema: FeatureSchema,
    admission: Admission,
    diary: Diary,
    max_body_bytes: int,
    audit: AuditLog,
) -> Source:
    if config.folder is not None:
        if not config.folder.is_dir():
            raise CommandError(
                f"The folder {config.folder} of [schedule] is not there.",
                "Make it, for the node's user to read and write, or name another one.",
                ExitCode.USAGE,
            )
        return Outbox(config.folder, admission, max_body_bytes, audit)
    if config.fhir_bundle is None:
        raise LookupError("the configuration has one of folder and fhir_bundle")
    try:
        # Only who reads bundles has to have it, and it takes its time to load.
        from party.schedule.bundle import Bundle  # noqa: PLC0415
        from party.schedule.fhir_records import Vocabulary  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        raise CommandError(
            f"fhir_bundle in [schedule] needs a library that is not installed: {missing.name}.",
            "Install secagg with the extra fhir: pip install 'secagg[fhir]'.",
            ExitCode.USAGE,
        ) from None
    vocabulary = Vocabulary.of(schema)
    return Bundle(config.fhir_bundle, admission, vocabulary, diary, local_zone(), audit)
