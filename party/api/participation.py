"""``/participation``: leaving the consortium's rounds, and coming back."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from pydantic import BaseModel

from party.api.errors import documented
from party.api.services import Services
from party.node import Node

_GUARDED: Final = documented({403: "a page of another site"})


class ParticipationReport(BaseModel):
    """Whether this hospital takes part. ``in_round``: the round that it goes through to its end
    before it is out, as the others' sum may rest on it; null if there is none.
    """

    participating: bool
    in_round: int | None


def report(node: Node) -> ParticipationReport:
    """Where ``node`` stands."""
    view = node.view
    return ParticipationReport(
        participating=not view.left, in_round=None if view.session is None else view.round
    )


def router(services: Services) -> APIRouter:
    """GET, DELETE and PUT of ``/participation``."""
    routes = APIRouter(prefix="/participation", tags=["participation"])
    node = services.node

    @routes.get("")
    async def participation() -> ParticipationReport:
        """Whether this hospital takes part."""
        return report(node)

    @routes.delete("", responses=_GUARDED)
    async def leave() -> ParticipationReport:
        """Take part no more, once the current round is over.

        Batches that wait are erased now, and what belongs to the current round when that ends.
        What is in certified models remains there: sums of many hospitals' noised numbers, out of
        which nobody's part can be taken.
        """
        await node.leave()
        return report(node)

    @routes.put("", responses=_GUARDED)
    async def take_part() -> ParticipationReport:
        """Take part again: post new batches from now on."""
        await node.return_()
        return report(node)

    return routes
