"""The node's configuration: a TOML file, each value of which an environment variable may override.

``SECAGG_PARTY__SERVER__PORT=8444`` stands above ``port`` in ``[server]``. Relative paths are
relative to the file. docs/operations.md shows a commented example.
"""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from cronsim import CronSim, CronSimError
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from party.proxy import DIRECT, Proxy, Route, route
from secagg.cli import CommandError, ExitCode
from secagg.privacy.mechanism import Mode

Port = Annotated[int, Field(ge=0, le=65535)]
M = TypeVar("M", bound=BaseModel)
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerAddress(_Section):
    """Where the server listens; the node dials out, and accepts nothing from there.

    ``proxy``: the HTTP proxy on the way, ``http://[user:password@]host:port``, or ``direct``;
    without it the environment's HTTPS_PROXY and NO_PROXY hold.
    """

    host: str
    port: Annotated[int, Field(ge=1, le=65535)]
    proxy: SecretStr | None = None

    @field_validator("proxy")
    @classmethod
    def _understood(cls, proxy: SecretStr | None) -> SecretStr | None:
        if proxy is not None and proxy.get_secret_value() != DIRECT:
            Proxy.parse(proxy.get_secret_value())
        return proxy

    def route(self) -> Route:
        """How to reach the server, by this file and by the environment. Raises CommandError."""
        configured = None if self.proxy is None else self.proxy.get_secret_value()
        try:
            return route(self.host, self.port, configured)
        except ValueError as error:
            raise CommandError(
                f"The environment's proxy cannot be used: {error}.",
                "Correct the variable, or set proxy in [server] of party.toml.",
                ExitCode.USAGE,
            ) from None


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
    """Files of records, one JSON object a line.

    ``train``: the standing batch, used in every round until the model has been updated ``rounds``
    times; with it the node takes nothing from an EHR. ``test``: records that are never trained on,
    for the accuracy in /status.
    """

    train: Path | None = None
    rounds: Annotated[int, Field(ge=1, le=100_000)] | None = None
    test: Path | None = None

    @model_validator(mode="after")
    def _rounds_with_train(self) -> Self:
        if (self.train is None) != (self.rounds is None):
            raise ValueError("give both train and rounds, or neither (batches from an EHR)")
        return self


class Ehr(_Section):
    """What the hospital's EHR posts, or a schedule finds.

    ``fernet_key_file``: the keys that it encrypts with, one a line, the newest first, mode 0600.
    ``queued_batches``: how many may wait for a round at a time.
    """

    fernet_key_file: Path
    queued_batches: Annotated[int, Field(ge=1, le=1000)] = 16


class PrivacyBudget(_Section):
    """What this hospital allows in total, over all rounds; decimals."""

    epsilon: Annotated[Decimal, Field(gt=0, le=10**6)]
    delta: Annotated[Decimal, Field(gt=0, lt=1)]

    @property
    def exact(self) -> tuple[Fraction, Fraction]:
        """(epsilon, delta), exactly as written."""
        return Fraction(self.epsilon), Fraction(self.delta)


class Database(_Section):
    """A PostgreSQL database for everything that the node keeps, instead of a file in state_dir.

    ``url``: ``postgresql://user@host/name?sslmode=verify-full&sslrootcert=ca.crt``. Without TLS on
    this machine only; the password belongs into libpq's password file (~/.pgpass, or PGPASSFILE).
    """

    url: str

    @property
    def place(self) -> URL:
        """The URL, taken apart."""
        return make_url(self.url)

    @field_validator("url")
    @classmethod
    def _safe(cls, url: str) -> str:
        try:
            place = make_url(url)
        except ArgumentError:
            raise ValueError("it is no database URL: postgresql://user@host/name") from None
        if place.drivername != "postgresql" or not place.database:
            raise ValueError("only postgresql://user@host/name is supported, beside a file")
        if place.password is not None or "password" in place.query:
            raise ValueError("take the password out: it belongs into ~/.pgpass, with mode 0600")
        if place.query.get("sslmode") != "verify-full" and not all(map(_is_here, _hosts(place))):
            raise ValueError(
                "this server is on another machine: add ?sslmode=verify-full, and sslrootcert"
            )
        return url


class Models(_Section):
    """The store of models. ``keep``: how many certified ones, the newest."""

    keep: Annotated[int, Field(ge=1, le=1000)] = 10


class Limits(_Section):
    """What the hospital's own operator allows beyond the policy, and the least that it demands of
    one; whatever the consortium or the server may set, these hold.

    ``extra_charged_attempts``: attempts that may be charged since the last certificate, beyond
    ``max_charged_attempts`` of the policy. ``min_participants``: hospitals in a released sum.
    ``noise``: the modes that are good enough. ``max_epsilon_per_round``: what one attempt may cost,
    at the delta of [budget].
    """

    extra_charged_attempts: Annotated[int, Field(ge=0, le=1000)] = 0
    min_participants: Annotated[int, Field(ge=2, le=4096)] | None = None
    noise: tuple[Mode, ...] | None = None
    max_epsilon_per_round: Annotated[Decimal, Field(gt=0, le=10**6)] | None = None


class Api(_Section):
    """The HTTP interface for the hospital's own systems; port 0 takes any free one.

    ``token_hash_file``: the SHA-256 of the bearer token that callers must show; on loopback none is
    needed. On any other address it is, and TLS too. ``allowed_hosts``, ``allowed_origins``: names
    beyond this machine's own that requests, and pages of a browser, may come under. Deadlines in
    seconds: a post waits ``answer_deadline`` for its round, ``connect_deadline`` for the server.
    """

    host: str = "127.0.0.1"
    port: Port = 8000
    token_hash_file: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    max_body_bytes: Annotated[int, Field(ge=1024, le=2**30)] = 32 * 2**20
    answer_deadline: Seconds = 120.0
    connect_deadline: Seconds = 15.0

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host == "localhost" or _is_loopback(self.host)

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("give both certificate and private_key, or neither (plain HTTP)")
        guarded = self.token_hash_file is not None and self.certificate is not None
        if not self.is_local and not guarded:
            raise ValueError(
                f"host {self.host!r} is reached from other machines: set token_hash_file, "
                f"certificate and private_key, or use 127.0.0.1"
            )
        return self


class Schedule(_Section):
    """Batches that the node fetches by itself, when ``cron`` says so (five fields, local time).

    Exactly one source. ``folder``: encrypted batches, as they would be posted. ``fhir_bundle``: a
    FHIR R4 bundle of patients. ``retries``: how often a run that fails is tried again.
    """

    cron: str
    folder: Path | None = None
    fhir_bundle: Path | None = None
    retries: Annotated[int, Field(ge=0, le=100)] = 5

    @field_validator("cron")
    @classmethod
    def _understood(cls, cron: str) -> str:
        try:
            CronSim(cron, datetime(2000, 1, 1, tzinfo=UTC))
        except CronSimError as error:
            raise ValueError(f"{cron!r} is not a cron expression: {error}") from None
        return cron

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.folder is None) == (self.fhir_bundle is None):
            raise ValueError("give exactly one of folder and fhir_bundle")
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
    """All of party.toml.

    ``budget`` is absent if, and only if, the policy adds no noise; ``ehr`` if, and only if,
    ``data`` names a standing batch.
    """

    model_config = SettingsConfigDict(
        env_prefix="SECAGG_PARTY__", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    name: str
    policy: Path
    state_dir: Path
    server: ServerAddress
    tls: Tls
    identity: Identity
    data: Data | None = None
    ehr: Ehr | None = None
    budget: PrivacyBudget | None = None
    database: Database | None = None
    limits: Limits = Field(default_factory=Limits)
    models: Models = Field(default_factory=Models)
    api: Api = Field(default_factory=Api)
    schedule: Schedule | None = None
    reconnect: Reconnect = Field(default_factory=Reconnect)

    @property
    def standing_batch(self) -> Path | None:
        """The file that the node trains on in every round; None if an EHR posts its batches."""
        return None if self.data is None else self.data.train

    @model_validator(mode="after")
    def _one_source_of_batches(self) -> Self:
        if (self.standing_batch is None) == (self.ehr is None):
            raise ValueError(
                "give either [ehr] with fernet_key_file (an EHR posts the batches), or [data] with "
                "train and rounds (a file is the batch of every round)"
            )
        if self.schedule is not None and self.ehr is None:
            raise ValueError("[schedule] fetches batches for the queue: it needs [ehr]")
        return self

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


def _hosts(place: URL) -> list[str]:
    """Every host that libpq may connect to under this URL; none is a socket on this machine."""
    named = [place.host or ""]
    for option in ("host", "hostaddr"):
        value = place.query.get(option, ())
        named += value.split(",") if isinstance(value, str) else value
    return [host for host in named if host]


def _is_here(host: str) -> bool:
    """Whether ``host`` is a directory (of a Unix socket) or loopback."""
    return host.startswith("/") or host == "localhost" or _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        return IPv4Address(host).is_loopback
    except ValueError:
        return False
