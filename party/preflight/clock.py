"""This machine's clock: not before what the node itself has written down, and kept right."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Column, Engine, func, inspect, select

from party.journal import ENTRIES
from party.ledger import CHARGES
from party.participation import DECISIONS
from party.preflight.site import Site
from party.preflight.storage import existing_database
from party.queue import SUBMISSIONS
from secagg.cli import CommandError, ExitCode

TOLERANCE: Final = 5
"""Seconds by which a clock may be corrected backwards without a word."""

TIMESYNC: Final = Path("/run/systemd/timesync")
_TIMES: Final[tuple[Column[int] | Column[float], ...]] = (
    ENTRIES.c.written_at,
    CHARGES.c.charged_at,
    SUBMISSIONS.c.submitted_at,
    DECISIONS.c.decided_at,
)


def plausible(site: Site) -> str:
    """Whether the time is later than the newest record, and whether something keeps it right."""
    newest = _newest_record(site)
    if newest is not None and site.now.timestamp() + TOLERANCE < newest:
        raise CommandError(
            f"By this machine's clock it is {site.now:%Y-%m-%d %H:%M:%S} UTC, and the node's own "
            f"newest record is of {datetime.fromtimestamp(newest, UTC):%Y-%m-%d %H:%M:%S} UTC.",
            "Set the clock right, and have it synchronised: timedatectl set-ntp true",
            ExitCode.USAGE,
        )
    synchronised = is_synchronised(TIMESYNC)
    if synchronised is False:
        raise CommandError(
            "This machine's clock is not synchronised.",
            "Run: timedatectl set-ntp true; and allow the time server through the firewall.",
            ExitCode.USAGE,
        )
    kept = "synchronised" if synchronised else "whether it is synchronised cannot be seen from here"
    return f"{site.now:%Y-%m-%d %H:%M:%S} UTC; {kept}"


def is_synchronised(timesync: Path) -> bool | None:
    """Whether the clock is synchronised with a time server; None if this machine does not say.

    ``timesync``: the run-time directory of systemd's time service.
    """
    if (timesync / "synchronized").exists():
        return True
    command = shutil.which("timedatectl")
    if command is None:
        return False if timesync.is_dir() else None
    try:
        asked = subprocess.run(  # noqa: S603 - found on the PATH of the operator who runs this
            [command, "show", "--property=NTPSynchronized", "--value"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"yes": True, "no": False}.get(asked.stdout.strip())


def _newest_record(site: Site) -> float | None:
    """Unix time of the newest thing that the node has written down."""
    engine = existing_database(site.config)
    if engine is None:
        return None
    try:
        return max(_times(engine), default=None)
    finally:
        engine.dispose()


def _times(engine: Engine) -> Iterator[float]:
    there = set(inspect(engine).get_table_names())
    with engine.connect() as connection:
        for column in _TIMES:
            if column.table.name in there:
                newest = connection.execute(select(func.max(column))).scalar_one()
                if newest is not None:
                    yield float(newest)
