"""The node's configuration: a TOML file, each value of which an environment variable may override.

``SECAGG_PARTY__SERVER__PORT=8444`` stands above ``port`` in ``[server]``. Relative paths are
relative to the file. docs/operations.md shows a commented example.
"""

from __future__ import annotations

import tomllib
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from secagg.cli import CommandError, ExitCode

Port = Annotated[int, Field(ge=0, le=65535)]
M = TypeVar("M", bound=BaseModel)
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerAddress(_Section):
    """Where the server listens; the node dials out and listens to nobody."""

    host: str
    port: Annotated[int, Field(ge=1, le=65535)]


class Tls(_Section):
    """TLS toward the server. Without ``certificate`` and ``private_key`` it is one-way."""

    ca: Path
    server_name: str
    certificate: Path | None = None
    private_key: Path | None = None

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("give both certificate and private_key, or neither (one-way TLS)")
        return self


class Identity(_Section):
    """The hospital's two long-term keys, each a file of 64 hex digits with mode 0600."""

    key_file: Path
    journal_key_file: Path


class Data(_Section):
    """The standing batch: a file of records, one JSON object a line, used in every round.

    ``test``: records that are never trained on, for the accuracy in /status. ``rounds``: the node
    offers its batch until the model has been updated so often.
    """

    train: Path
    rounds: Annotated[int, Field(ge=1, le=100_000)]
    test: Path | None = None


class PrivacyBudget(_Section):
    """What this hospital allows in total, over all rounds; decimals."""

    epsilon: Annotated[Decimal, Field(gt=0, le=10**6)]
    delta: Annotated[Decimal, Field(gt=0, lt=1)]

    @property
    def exact(self) -> tuple[Fraction, Fraction]:
        """(epsilon, delta), exactly as written."""
        return Fraction(self.epsilon), Fraction(self.delta)


class Limits(_Section):
    """What the hospital's own operator allows beyond the policy.

    ``extra_charged_attempts``: attempts that may be charged since the last certificate, beyond
    ``max_charged_attempts`` of the policy.
    """

    extra_charged_attempts: Annotated[int, Field(ge=0, le=1000)] = 0


class Api(_Section):
    """The local HTTP interface. Loopback only; port 0 takes any free one."""

    host: str = "127.0.0.1"
    port: Port = 8000

    @model_validator(mode="after")
    def _loopback(self) -> Self:
        if self.host != "localhost" and not _is_loopback(self.host):
            raise ValueError(
                f"host {self.host!r}: this interface has no login and serves this machine alone; "
                f"use 127.0.0.1"
            )
        return self


class Reconnect(_Section):
    """Pauses between attempts to reach the server: doubled from ``initial`` to ``maximum``, s."""

    initial: Seconds = 0.5
    maximum: Seconds = 30.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.initial > self.maximum:
            raise ValueError("initial must not exceed maximum")
        return self


class PartyConfig(BaseSettings):
    """All of party.toml. ``budget`` is absent if, and only if, the policy adds no noise."""

    model_config = SettingsConfigDict(
        env_prefix="SECAGG_PARTY__", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    name: str
    policy: Path
    state_dir: Path
    server: ServerAddress
    tls: Tls
    identity: Identity
    data: Data
    budget: PrivacyBudget | None = None
    limits: Limits = Field(default_factory=Limits)
    api: Api = Field(default_factory=Api)
    reconnect: Reconnect = Field(default_factory=Reconnect)

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


def load(path: Path) -> PartyConfig:
    """Read and check ``path``; every path in the result is absolute.

    Raises CommandError naming the file and each field that is wrong.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CommandError(
            f"{path} cannot be read as a configuration: {error}",
            "Give the party.toml that `secagg init` has written for this hospital.",
            ExitCode.USAGE,
        ) from None
    try:
        return _located(PartyConfig(**values), path.resolve().parent)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'file'}: {each['msg']}" for each in error.errors()
        )
        raise CommandError(
            f"{path} is not a valid configuration: {problems}",
            "Mend these fields (or the SECAGG_PARTY__* variables that override them).",
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


def _is_loopback(host: str) -> bool:
    try:
        return IPv4Address(host).is_loopback
    except ValueError:
        return False
