"""``GET /rounds``: this hospital's part in each training round."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.exceptions import HTTPException

from party.api.errors import documented
from party.api.services import Services
from party.history import History, RoundRecord
from party.submission.body import MAX_ROUND

RoundNumber = Annotated[int, Path(ge=1, le=MAX_ROUND)]


def router(services: Services) -> APIRouter:
    """``/rounds`` and ``/rounds/{n}``."""
    routes = APIRouter(tags=["monitoring"])
    history = History(
        services.reporter.u, services.node, services.journal, services.ledger, services.queue
    )

    @routes.get("/rounds")
    async def rounds() -> list[RoundRecord]:
        """Every round that this hospital knows of, the newest first."""
        return await services.in_thread(history.rounds)

    @routes.get("/rounds/{n}", responses=documented({404: "a round that is not in /rounds"}))
    async def one_round(n: RoundNumber) -> RoundRecord:
        """One round."""
        found = await services.in_thread(history.round, n)
        if found is None:
            raise HTTPException(
                404,
                f"round {n} is unknown here: no batch waits for it, and this hospital neither "
                f"entered it nor has its certificate. See /rounds for those that are known",
            )
        return found

    return routes
