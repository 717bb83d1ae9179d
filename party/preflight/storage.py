"""The node's own place on the disk: nobody else's, large enough, and its database sound."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import DatabaseError, OperationalError

from party import postgresql
from party.config import PartyConfig
from party.database import open_for_reading
from party.preflight.site import Site
from party.state_dir import DATABASE
from secagg.cli import CommandError, ExitCode

RESERVE: Final = 256 * 2**20
"""Bytes for the journal, the log and SQLite's own work, beyond models and waiting batches."""

_MODEL_COORDINATE: Final = 8
_MODELS_BEING_MADE: Final = 2


def state(site: Site) -> str:
    """Made already and closed to others, or to be made in a place where that is possible."""
    directory = site.config.state_dir
    if not directory.exists():
        parent = _existing(directory)
        if not os.access(parent, os.W_OK | os.X_OK):
            raise _unusable(directory, f"{parent} is not writable for this user")
        return "none yet: the node makes it"
    if not directory.is_dir():
        raise _unusable(directory, "it is not a directory")
    facts = directory.stat()
    if facts.st_uid != os.geteuid():
        raise _unusable(directory, f"it belongs to the user {facts.st_uid}")
    if facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise CommandError(
            f"The state directory {directory} is open to other users of this machine (mode "
            f"{stat.S_IMODE(facts.st_mode):04o}).",
            f"Run: chmod 700 {directory}",
            ExitCode.USAGE,
        )
    if not os.access(directory, os.W_OK | os.X_OK):
        raise _unusable(directory, "it is not writable for this user")
    return "a node is running on it" if site.is_running else "no node is running on it"


def space(site: Site) -> str:
    """Room for the models that are kept, a full queue, and the database's own work."""
    config = site.config
    coordinates = site.policy.vector.dimension
    models = (config.models.keep + _MODELS_BEING_MADE) * coordinates * _MODEL_COORDINATE
    queue = 0 if config.ehr is None else config.ehr.queued_batches * config.api.max_body_bytes
    needed = models + queue + RESERVE
    place = _existing(config.state_dir)
    free = shutil.disk_usage(place).free
    if free < needed:
        raise CommandError(
            f"{place} has {_megabytes(free)} free, and {_megabytes(needed)} may be needed.",
            "Make room, set another state_dir, or lower queued_batches in [ehr], max_body_bytes in "
            "[api] or keep in [models].",
            ExitCode.USAGE,
        )
    return f"{_megabytes(free)} free, {_megabytes(needed)} may be needed"


def database(site: Site) -> str:
    """Every page of it is as SQLite has written it; nothing is changed."""
    engine = existing_database(site.config)
    if engine is None:
        return "none yet: the node makes it"
    try:
        if site.config.database is not None:
            postgresql.check_durable(engine)
            return "the PostgreSQL server answers, and waits for its disk"
        with engine.connect() as connection:
            found = str(connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one())
    except OperationalError as error:
        raise CommandError(
            f"The node's database cannot be opened: {error.orig}.",
            "Run this as the user that runs the node; check [database] of party.toml, if it is "
            "used, and that its server runs.",
            ExitCode.USAGE,
        ) from None
    except DatabaseError as error:
        raise _damaged(site.config, str(error.orig)) from None
    finally:
        engine.dispose()
    if found != "ok":
        raise _damaged(site.config, found)
    return "sound"


def existing_database(config: PartyConfig) -> Engine | None:
    """The node's database, for reading alone; None if there is none yet."""
    if config.database is not None:
        return open_for_reading(config.database.place)
    path = config.state_dir / DATABASE
    return open_for_reading(path) if path.exists() else None


def _existing(path: Path) -> Path:
    """``path``, or the nearest directory above it that exists."""
    return next(each for each in (path, *path.parents) if each.exists())


def _megabytes(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"


def _unusable(directory: Path, why: str) -> CommandError:
    return CommandError(
        f"The state directory {directory} cannot be used: {why}.",
        "Run this as the user that runs the node; or correct state_dir in party.toml.",
        ExitCode.USAGE,
    )


def _damaged(config: PartyConfig, finding: str) -> CommandError:
    return CommandError(
        f"The database in {config.state_dir} is damaged: {finding}.",
        "Do not start the node on it. Restore the newest backup only after reading 'Files, "
        "backup, restore' in docs/operations.md: an old one has forgotten charges.",
        ExitCode.USAGE,
    )
