"""Who may talk to the node: names it answers to, pages it listens to, the token it asks for.

On loopback the risk is a browser on the same machine, which runs pages from anywhere: one may point
a name of its own at 127.0.0.1 (DNS rebinding), or post across sites without reading the answer. The
first is refused by ``Host``, the second by ``Origin`` and ``Sec-Fetch-Site``, which no page can
forge. Programs send neither of these two. What a page includes from here without asking (as an
image, as a script) its browser is told to keep from it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, MutableMapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from party.api import page
from party.api.errors import problem
from party.config import Api
from party.private_files import check_private
from secagg.cli import CommandError, ExitCode

LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})

WITHOUT_TOKEN: Final = frozenset({"/healthz"}) | page.PATHS
"""Paths that say nothing about the hospital: whether the node runs, and the page's own files."""

_FOR_BROWSERS: Final[Mapping[str, str]] = {
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_HASH: Final = re.compile(rb"([0-9a-fA-F]{64})\s*")
_LONGEST_FILE: Final = 256


@dataclass(frozen=True, slots=True)
class Rules:
    """hosts: names that requests may be addressed to. origins: sites whose pages may post.

    token_hash: SHA-256 of the bearer token's characters; None if none is asked for.
    """

    hosts: Set[str]
    origins: Set[str] = frozenset()
    token_hash: bytes | None = field(default=None, repr=False)

    @classmethod
    def of(cls, config: Api) -> Rules:
        """The rules of ``[api]``. Raises CommandError if the token's hash cannot be read."""
        return cls(
            hosts=LOCAL_NAMES | {each.lower() for each in (config.host, *config.allowed_hosts)},
            origins=frozenset(config.allowed_origins),
            token_hash=None if config.token_hash_file is None else _hash(config.token_hash_file),
        )


@final
class Access:
    """ASGI middleware that lets a request through, or answers it with 400, 403 or 401."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(send)
        headers = Headers(scope=scope)
        if not self._is_addressed(headers):
            refusal = problem(
                400,
                "the Host header names another machine than this node answers for: use the "
                "address that it printed at its start, or add the name to allowed_hosts in [api]",
            )
        elif scope["method"] not in _READING and self._is_cross_site(headers, scope["scheme"]):
            refusal = problem(
                403,
                "a page of another site may not do this: add the site to allowed_origins in [api] "
                "of party.toml if it is one of the hospital's own",
            )
        elif scope["path"] not in WITHOUT_TOKEN and not self._shows_token(headers):
            refusal = problem(
                401,
                "send the header 'Authorization: Bearer <token>' with the token whose hash is in "
                "token_hash_file",
                {"WWW-Authenticate": 'Bearer realm="secagg party"'},
            )
        else:
            await self._app(scope, receive, send)
            return
        await refusal(scope, receive, send)

    def _is_addressed(self, headers: Headers) -> bool:
        return _host_name(headers.getlist("host")) in self._rules.hosts

    def _is_cross_site(self, headers: Headers, scheme: str) -> bool:
        """Whether a browser says that a page from elsewhere is behind this request."""
        origin = headers.get("origin")
        if origin in self._rules.origins:
            return False
        if origin is not None and origin != f"{scheme}://{headers['host']}":
            return True
        return headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}

    def _shows_token(self, headers: Headers) -> bool:
        if self._rules.token_hash is None:
            return True
        scheme, _, token = headers.get("authorization", "").partition(" ")
        shown = hashlib.sha256(token.strip().encode("latin-1")).digest()
        fits = hmac.compare_digest(shown, self._rules.token_hash)
        return fits and scheme.lower() == "bearer"


def _with_headers(send: Send) -> Send:
    """``send``, which adds what browsers are told, unless the route says something else."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _FOR_BROWSERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


def _host_name(values: list[str]) -> str | None:
    """The name in the one Host header, without port; None if there is not exactly one good one."""
    if len(values) != 1 or "@" in values[0] or "/" in values[0]:
        return None
    try:
        return urlsplit(f"//{values[0]}").hostname
    except ValueError:
        return None


def _hash(path: Path) -> bytes:
    check_private(path)
    with path.open("rb") as file:
        match = _HASH.fullmatch(file.read(_LONGEST_FILE))
    if match is None:
        raise CommandError(
            f"{path} holds no hash of a token: one line of 64 hexadecimal digits is expected.",
            'Make a token, and write its SHA-256: printf %s "$TOKEN" | sha256sum | cut -c -64',
            ExitCode.USAGE,
        )
    return bytes.fromhex(match[1].decode("ascii"))
