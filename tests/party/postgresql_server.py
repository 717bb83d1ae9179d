"""A real PostgreSQL for the tests: a cluster of its own, on a Unix socket, without any password."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg
from sqlalchemy import URL

REQUIRED = os.environ.get("SECAGG_REQUIRE_POSTGRESQL") == "1"
"""Whether a machine without PostgreSQL fails these tests, instead of passing them over."""

_DEBIAN = Path("/usr/lib/postgresql")
_SECONDS = 60


def programs() -> Path | None:
    """Where ``initdb`` and ``postgres`` are; None if they are not installed."""
    found = shutil.which("postgres")
    if found is not None:
        return Path(found).parent
    installed = sorted(_DEBIAN.glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    return installed[-1].parent if installed else None


@dataclass
class Server:
    """One running server; ``empty()`` makes a database of its own for each test."""

    socket: Path
    owner: str
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def url(self, database: str = "postgres") -> URL:
        """Where a database of this server is."""
        return URL.create(
            "postgresql", self.owner, database=database, query={"host": str(self.socket)}
        )

    def empty(self) -> URL:
        """A new, empty database."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, statement: str) -> str:
        """Run one statement as the server's owner; its first value, if it has one."""
        with psycopg.connect(
            host=str(self.socket), user=self.owner, dbname="postgres", autocommit=True
        ) as connection:
            cursor = connection.execute(statement.encode())
            row = None if cursor.description is None else cursor.fetchone()
            return "" if row is None else str(row[0])

    def reload(self, setting: str, value: str) -> None:
        """Let the server read its configuration, and return once ``setting`` is in force."""
        self.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + _SECONDS
        while self.execute(f"SHOW {setting}") != value:
            assert time.monotonic() < deadline, f"{setting} does not become {value}"
            time.sleep(0.01)


def _owner() -> str | None:
    """Whom the server must run as, if not as ourselves: it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@contextmanager
def running(binaries: Path) -> Iterator[Server]:
    """Make a cluster, start it, stop and remove it."""
    # The path of a socket is short by law, and so this is not under pytest's directory.
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as temporary:
        directory, owner = Path(temporary), _owner()
        if owner is not None:
            shutil.chown(directory, owner)
        data = directory / "data"
        subprocess.run(
            [
                binaries / "initdb",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-locale",
                "--no-sync",
                "--username=secagg",
                f"--pgdata={data}",
            ],
            check=True,
            capture_output=True,
            user=owner,
            cwd=directory,
        )
        log = directory / "log"
        with log.open("wb") as output:
            server = subprocess.Popen(
                [binaries / "postgres", "-D", data, "-k", directory, "-c", "listen_addresses="],
                stdout=output,
                stderr=subprocess.STDOUT,
                user=owner,
                cwd=directory,
            )
        try:
            made = Server(directory, "secagg")
            _await(made, server, log)
            yield made
        finally:
            server.send_signal(signal.SIGQUIT)
            server.wait(_SECONDS)


def _await(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            server.execute("SELECT 1")
        except psycopg.OperationalError:
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.05)
        else:
            return
