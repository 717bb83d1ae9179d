"""Files with secrets: whose they are, who else may read or replace them, and what they hold."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from party.api.access import Rules
from party.identity import read_key
from party.preflight.site import Site
from party.private_files import check_private
from party.submission.keyring import Keyring
from secagg.cli import CommandError, ExitCode


def modes(site: Site) -> str:
    """Each is the node's own, closed to others, in a directory where only its owner writes."""
    files = list(_secret_files(site))
    for path in files:
        check_private(path)
        _check_owner(path)
        _check_directory(path.parent)
    identity = site.config.identity
    for path in (identity.key_file, identity.journal_key_file):
        read_key(path)
    Rules.of(site.config.api)
    return f"{len(files)} files, for their owner alone"


def ehr(site: Site) -> str:
    """The Fernet keys that the EHR encrypts with."""
    if site.config.ehr is None:
        return "not needed: [data] names a file of records"
    _check_owner(site.config.ehr.fernet_key_file)
    keyring = Keyring.load(site.config.ehr.fernet_key_file)
    count = len(keyring.fingerprints)
    return f"{count} Fernet key{'' if count == 1 else 's'}, the newest {keyring.fingerprints[0]}"


def _secret_files(site: Site) -> Iterator[Path]:
    config = site.config
    named = (
        config.identity.key_file,
        config.identity.journal_key_file,
        config.tls.private_key,
        config.api.private_key,
        config.api.token_hash_file,
    )
    return (path for path in named if path is not None)


def _check_owner(path: Path) -> None:
    try:
        owner = path.stat().st_uid
    except OSError as error:
        raise CommandError(
            f"{path} cannot be read: {error.strerror}.",
            "Restore it, or correct its path in party.toml.",
            ExitCode.USAGE,
        ) from None
    if owner != os.geteuid():
        raise CommandError(
            f"{path} belongs to the user {owner}, and this runs as {os.geteuid()}.",
            f"Run this as the user that runs the node; or chown {os.geteuid()} {path}",
            ExitCode.USAGE,
        )


def _check_directory(directory: Path) -> None:
    if directory.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CommandError(
            f"Others may write to {directory}, and so replace the keys in it.",
            f"Run: chmod go-w {directory}",
            ExitCode.USAGE,
        )
