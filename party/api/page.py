"""The page at ``/``, for people: four static files, which ask the other routes for what they show.

The files say nothing about the hospital, so they are served without a token, which the page asks
for if the node does. Nothing on the page comes from elsewhere, and no text that it shows can become
markup or script: the policy below forbids what its script does not do anyway.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from fastapi import APIRouter, Request, Response

_FILES: Final = MappingProxyType(
    {
        "/": ("index.html", "text/html; charset=utf-8"),
        "/page/page.css": ("page.css", "text/css; charset=utf-8"),
        "/page/page.js": ("page.js", "text/javascript; charset=utf-8"),
        "/page/icon.svg": ("icon.svg", "image/svg+xml"),
    }
)

PATHS: Final = frozenset(_FILES)
"""What the page consists of."""

HEADERS: Final = MappingProxyType(
    {
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Cache-Control": "no-cache",
    }
)


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    media_type: str
    etag: str


def router() -> APIRouter:
    """The page. The files are read once, now."""
    routes = APIRouter(include_in_schema=False)
    served = {path: _read(name, media_type) for path, (name, media_type) in _FILES.items()}

    async def file(request: Request) -> Response:
        found = served[request.url.path]
        headers = {**HEADERS, "ETag": found.etag}
        if request.headers.get("if-none-match") == found.etag:
            return Response(status_code=304, headers=headers)
        return Response(found.content, media_type=found.media_type, headers=headers)

    for path in served:
        routes.add_api_route(path, file, methods=["GET", "HEAD"], response_class=Response)
    return routes


def _read(name: str, media_type: str) -> _File:
    content = files("party").joinpath("page", name).read_bytes()
    return _File(content, media_type, f'"{hashlib.sha256(content).hexdigest()}"')
