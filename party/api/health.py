"""Whether the node runs, and where it stands."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from party.api.services import Services
from party.status import StatusReport


class Health(BaseModel):
    """The process answers. Whether it is connected stands in /status."""

    status: str = "ok"


def router(services: Services) -> APIRouter:
    """``/healthz`` and ``/status``."""
    routes = APIRouter(tags=["node"])

    @routes.get("/healthz")
    async def healthz() -> Health:
        """Whether this process answers."""
        return Health()

    @routes.get("/status")
    async def status() -> StatusReport:
        """Where this node stands: rounds, models, privacy spent, accuracy."""
        return await services.in_thread(services.reporter.status)

    return routes
