"""When a run is due: a cron expression, by the local clock of this machine."""

from __future__ import annotations

import os
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Final, final
from zoneinfo import ZoneInfo

from cronsim import CronSim

from secagg.cli import CommandError, ExitCode

_LOCAL_TIME: Final = Path("/etc/localtime")


@final
class Timetable:
    """The instants that ``cron`` (five fields) names in ``zone``.

    As with Debian's cron, a run at a fixed time of day that the change to summer time leaves out is
    made right after the change, and one that the change back repeats is made once.
    """

    def __init__(self, cron: str, zone: tzinfo) -> None:
        """Raises CronSimError for what is no cron expression."""
        self.cron = cron
        self._zone = zone
        CronSim(cron, datetime.now(zone))

    def after(self, instant: datetime) -> datetime | None:
        """The first one after ``instant`` (both in UTC); None if there is none within decades."""
        due: datetime | None = next(CronSim(self.cron, instant.astimezone(self._zone)), None)
        return None if due is None else due.astimezone(UTC)


def local_zone() -> tzinfo:
    """The zone that TZ names, or else /etc/localtime; UTC where there is neither.

    Raises CommandError for a TZ that is not the name of a zone.
    """
    name = os.environ.get("TZ", "").removeprefix(":")
    try:
        if name:
            return ZoneInfo(name)
        with _LOCAL_TIME.open("rb") as file:
            return ZoneInfo.from_file(file, key="local time")
    except FileNotFoundError:
        return UTC
    except (OSError, ValueError, KeyError):
        raise CommandError(
            f"The local time zone cannot be read from {name or _LOCAL_TIME}, and [schedule] goes "
            f"by it.",
            "Set TZ to the name of a zone, such as Europe/Berlin.",
            ExitCode.USAGE,
        ) from None
