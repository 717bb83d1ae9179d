"""The record of a round, to be verified offline by whoever holds the policy."""

from __future__ import annotations

from typing import Final

import trio
from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

from party.api.errors import documented
from party.api.rounds import RoundNumber
from party.api.services import Services
from party.node import NotConnected
from secagg.transcript.record import encode

_REFUSALS: Final = documented(
    {
        404: "there is no transcript of that round, or none that holds",
        503: "it is not held here, and the server cannot be asked now",
    }
)


def router(services: Services) -> APIRouter:
    """``/rounds/{number}/transcript``."""
    routes = APIRouter(tags=["rounds"])

    @routes.get(
        "/rounds/{number}/transcript",
        response_class=Response,
        responses={200: {"content": {"application/octet-stream": {}}}, **_REFUSALS},
    )
    async def transcript(number: RoundNumber) -> Response:
        """The transcript of a training round, verified here, for ``secagg transcript verify``.

        It is fetched from the server if this node does not hold it. It has no patient's data and
        nobody's vector: signatures, sets, the sum, and the seeds that were opened to get it.
        """
        try:
            found = await services.node.transcript(number)
        except (NotConnected, trio.TooSlowError, trio.BrokenResourceError):
            raise HTTPException(
                503,
                "the transcript is not held here, and the server cannot be asked for it now: try "
                "again when /status says that the node is connected",
            ) from None
        if found is None:
            raise HTTPException(
                404,
                "the server has no transcript of that round that holds: /rounds lists the rounds, "
                "and 'problem' in /status says what was wrong with one",
            )
        name = f"{number}-{found.announcement.attempt}.transcript"
        return Response(
            encode(found),
            media_type="application/octet-stream",
            headers={"content-disposition": f'attachment; filename="{name}"'},
        )

    return routes
