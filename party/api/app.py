"""The routes and their guards, put together."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from party.api import (
    audit,
    budget,
    errors,
    health,
    metrics,
    models,
    page,
    participation,
    reference,
    rounds,
    submissions,
    transcripts,
    updates,
)
from party.api.access import Access, Rules
from party.api.limits import BodyLimit
from party.api.services import Services

_ANYWHERE: Final[Mapping[int, str]] = {
    400: "the Host header names another machine",
    401: "no token, or another one, where the node asks for one",
    422: "a parameter is not valid",
}


def application(services: Services) -> FastAPI:
    """The node's HTTP interface. Raises CommandError if the token's hash cannot be read."""
    app = FastAPI(
        title="secagg: a hospital's node",
        version=version("secagg"),
        description="For the hospital's own systems. No patient's data is ever served.",
        docs_url=None,
        redoc_url=None,
        responses=errors.documented(_ANYWHERE),
    )
    errors.install(app)
    for routes in (
        submissions,
        updates,
        participation,
        budget,
        rounds,
        models,
        transcripts,
        audit,
        health,
        metrics,
    ):
        app.include_router(routes.router(services))
    app.include_router(page.router())
    app.include_router(reference.router(app))
    config = services.config
    # The last one stands outermost: what is read of bodies is limited for whoever is refused, too.
    app.add_middleware(Access, rules=Rules.of(config))
    if config.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=config.allowed_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["authorization", "content-type"],
        )
    app.add_middleware(BodyLimit, max_bytes=config.max_body_bytes)
    return app
