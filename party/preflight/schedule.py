"""What the node fetches by itself: when, and whether it could."""

from __future__ import annotations

import os
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from party.config import Schedule
from party.preflight.site import Site
from party.schedule.timetable import local_zone
from secagg.cli import CommandError, ExitCode


def source(site: Site) -> str:
    """The folder or the bundle is where [schedule] says, and the time zone is known."""
    schedule = site.config.schedule
    if schedule is None:
        return "none: batches are posted, or [data] names a file"
    zone = datetime.now(local_zone()).tzname()
    if schedule.folder is not None:
        _check_directory(schedule.folder)
        return f"{schedule.cron} ({zone}), from the folder {schedule.folder}"
    return f"{schedule.cron} ({zone}), from the bundle {_checked_bundle(schedule)}"


def _check_directory(folder: Path) -> None:
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise CommandError(
            f"The folder {folder} of [schedule] is not there, or not for this user to write.",
            "Make it, for the node's user to read and write, or name another one.",
            ExitCode.USAGE,
        )


def _checked_bundle(schedule: Schedule) -> Path:
    """The bundle need not be there yet: each run of the schedule looks for it anew."""
    if find_spec("fhir") is None:
        raise CommandError(
            "fhir_bundle in [schedule] needs a library that is not installed: fhir.resources.",
            "Install secagg with the extra fhir: pip install 'secagg[fhir]'.",
            ExitCode.USAGE,
        )
    if schedule.fhir_bundle is None:
        raise LookupError("the configuration has one of folder and fhir_bundle")
    if not schedule.fhir_bundle.parent.is_dir():
        raise CommandError(
            f"The directory of the bundle {schedule.fhir_bundle} is not there.",
            "Make it, or name another bundle in [schedule].",
            ExitCode.USAGE,
        )
    return schedule.fhir_bundle
