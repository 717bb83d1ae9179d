"""A file with a FHIR R4 bundle: read at each run, encrypted at once, never written in clear."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, Final, final

import msgspec
import structlog

from party.audit.events import KeyPurpose, KeyUsed
from party.audit.log import AuditLog
from party.schedule.diary import Diary
from party.schedule.fhir_records import Resource, ResourceError, Vocabulary, read_records
from party.schedule.source import Claimed, NotYet, Stamp, read, stamp
from party.submission.admission import Admission
from party.submission.body import BodyError
from party.submission.opening import OpeningError
from party.submission.posted import Posted
from party.training.records import RecordError

MAX_BUNDLE_BYTES: Final = 256 * 2**20

_log = structlog.get_logger("secagg.party")


@final
class Bundle:
    """The patients of one bundle as one batch. ``zone``: in which a run's day, and so an age, is.

    ``audit`` is told which key was used.
    """

    def __init__(
        self,
        path: Path,
        admission: Admission,
        vocabulary: Vocabulary,
        diary: Diary,
        zone: tzinfo,
        audit: AuditLog | None = None,
    ) -> None:
        self._path = path
        self._admission = admission
        self._vocabulary = vocabulary
        self._diary = diary
        self._zone = zone
        self._audit = audit

    def found(self) -> Mapping[str, Stamp]:
        """The file. Raises NotYet if it is not there."""
        try:
            seen = stamp(self._path)
        except OSError as error:
            raise NotYet(self._unreadable(error.strerror)) from None
        if seen is None:
            raise NotYet(self._unreadable("it is not a regular file"))
        return {self._path.name: seen}

    def claim(self, name: str, number: int, due: datetime) -> Claimed:
        """Read the bundle as of the day of the run, and encrypt each patient's record."""
        try:
            data = read(self._path, MAX_BUNDLE_BYTES)
        except OSError as error:
            raise NotYet(self._unreadable(error.strerror)) from None
        if data is None:
            raise NotYet(self._unreadable(f"it is longer than {MAX_BUNDLE_BYTES} bytes"))
        try:
            posted = self._encrypted(data, self._diary.number(number), due)
        except (ResourceError, BodyError, OpeningError, RecordError) as error:
            raise NotYet(f"{self._path.name}: {error}") from None
        if self._audit is not None:
            keys = " ".join(posted.keys)
            self._audit.write(KeyUsed(KeyPurpose.SCHEDULED_ENCRYPTION, keys, posted.number))
        return Claimed(posted, name)

    def handed_over(self, claimed: Claimed) -> None:
        """The file stays where it is: it is the hospital's, and the next export replaces it."""

    def _encrypted(self, data: bytes, number: int, due: datetime) -> Posted:
        on = due.astimezone(self._zone).date()
        found = read_records(tuple(_resources(data)), self._vocabulary, on)
        _log.info("bundle read", patients=len(found.records), without_diagnosis=found.left_out)
        return self._admission.admit_plain(number, [msgspec.json.encode(r) for r in found.records])

    def _unreadable(self, problem: str | None) -> str:
        return (
            f"{self._path.name} cannot be read: {problem}. Export the bundle there, readable for "
            f"the node's user, or correct fhir_bundle in [schedule] of party.toml"
        )


def _resources(data: bytes) -> Iterator[Resource]:
    """The resources of the bundle whose JSON is ``data``. Raises ResourceError."""
    try:
        bundle: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ResourceError("it is not JSON in UTF-8; export it again") from None
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise ResourceError("it is not a FHIR Bundle in JSON")
    entries = bundle.get("entry", [])
    if not isinstance(entries, list):
        raise ResourceError("entry: is not as FHIR R4 has it")
    for position, entry in enumerate(entries):
        match entry:
            case {"resource": dict(resource)}:
                url = entry.get("fullUrl")
                yield Resource(position, url if isinstance(url, str) else None, resource)
            case dict():
                pass
            case _:
                raise ResourceError(f"entry {position}: is not as FHIR R4 has it")
