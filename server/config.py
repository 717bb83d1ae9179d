"""The server's configuration: a TOML file; an environment variable may override each value in it.

``SECAGG_SERVER__LISTEN__PORT=8444`` stands above ``port`` in ``[listen]``. Relative paths are
relative to the file.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from secagg.cli import CommandError, ExitCode

M = TypeVar("M", bound=BaseModel)
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Listen(_Section):
    """Where hospitals reach the server; port 0 takes any free one."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8443


class Tls(_Section):
    """The server's certificate. Without ``client_ca``, hospitals need none (one-way TLS)."""

    certificate: Path
    private_key: Path
    client_ca: Path | None = None


class Identity(_Section):
    """The server's long-term signing key: a file of 64 hex digits with mode 0600."""

    key_file: Path


class Timing(_Section):
    """How long the server waits, in seconds, and how often it tries.

    ``stage_deadline``: for the messages of one protocol round. ``gathering_window``: for more
    hospitals, once ``min_survivors`` of them are ready. ``unmasking_patience``: for hospitals that
    are gone during unmasking, before the attempt is given up. ``attempt_pause``: between an
    attempt that aborted and the next. ``unauthenticated``: for a new connection to say who it is.
    ``send_timeout``: for a peer to take one message. ``max_attempts``: at one training round,
    before the server waits for a change in who is connected.
    """

    stage_deadline: Seconds = 30.0
    gathering_window: Seconds = 30.0
    unmasking_patience: Seconds = 300.0
    attempt_pause: Seconds = 1.0
    unauthenticated: Seconds = 10.0
    send_timeout: Seconds = 30.0
    max_attempts: Annotated[int, Field(ge=1, le=1000)] = 3


class Retention(_Section):
    """What is kept of a certified attempt beyond its transcript.

    ``masked_inputs``: those of its survivors, from which a reviewer can recompute the sum, and
    nothing else. They take as much space as n models, every round.
    """

    masked_inputs: bool = False


class Config(BaseSettings):
    """All of server.toml."""

    model_config = SettingsConfigDict(
        env_prefix="SECAGG_SERVER__", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    policy: Path
    state_dir: Path
    tls: Tls
    identity: Identity
    listen: Listen = Field(default_factory=Listen)
    timing: Timing = Field(default_factory=Timing)
    retention: Retention = Field(default_factory=Retention)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment stands above the file; nothing else is read."""
        return env_settings, init_settings


def load(path: Path) -> Config:
    """Read and check ``path``; every path in the result is absolute.

    Raises CommandError naming the file and each field that is wrong.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CommandError(
            f"{path} cannot be read as a configuration: {error}",
            "Give the server.toml that `secagg init` has written.",
            ExitCode.USAGE,
        ) from None
    try:
        return _located(Config(**values), path.resolve().parent)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'file'}: {each['msg']}" for each in error.errors()
        )
        raise CommandError(
            f"{path} is not a valid configuration: {problems}",
            "Mend these fields (or the SECAGG_SERVER__* variables that override them).",
            ExitCode.USAGE,
        ) from None


def _located(section: M, base: Path) -> M:
    """``section`` with every relative path in it taken from ``base``."""
    changes: dict[str, Any] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Path):
            changes[name] = base / value
        elif isinstance(value, BaseModel):
            changes[name] = _located(value, base)
    return section.model_copy(update=changes)
