"""``POST /submit-update``: what another framework has computed, into a training round.

And ``GET /models/initial``, from which the first one is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Final, final

import safetensors.numpy
from fastapi import APIRouter, Query, Request, Response

from party.api.answers import Answer
from party.api.errors import documented
from party.api.services import Services
from party.api.submissions import REFUSALS, Desk, check_headers
from party.audit.events import RefusalReason
from party.submission.body import MAX_ROUND
from party.submission.posted import Posted
from party.submission.update import UpdateError, UpdateKind
from party.submission.waiting_update import StaleUpdate, Updates
from secagg.model import initial, model_hash
from secagg.policy import Policy

SAFETENSORS: Final = "application/octet-stream"

_REFUSALS: Final[Mapping[int, str]] = {
    **REFUSALS,
    409: "base_model_hash is not the newest model's: fetch /models/latest; or another update of "
    "this number is being computed, or has replaced this one; or the policy protects patients",
    422: "a parameter, or a tensor, is not as it should be: it is named",
}

_Round = Annotated[
    int,
    Query(ge=1, le=MAX_ROUND, description="The training round from which on the update counts."),
]
_Base = Annotated[
    str,
    Query(
        pattern="^[0-9a-f]{64}$",
        description="Hash of the model that the update was computed from: that of /models/latest.",
    ),
]
_Kind = Annotated[
    UpdateKind,
    Query(
        description="`gradient`: the model is moved against it. `delta`: new parameters minus old "
        "ones; the model is moved along it."
    ),
]


def router(services: Services) -> APIRouter:
    """``POST /submit-update`` and ``GET /models/initial``."""
    routes = APIRouter()
    counter = _Counter(services)

    @routes.get(
        "/models/initial",
        tags=["models"],
        response_class=Response,
        responses={
            200: {
                "description": "A safetensors file",
                "content": {SAFETENSORS: {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def initial_model() -> Response:
        """The model that the policy pins for the time before the first certified round.

        One float64 tensor for each parameter, under its name; the metadata has `model_hash`, and
        `round`, which is 0.
        """
        content = await services.in_thread(_initial, services.policy)
        headers = {"Cache-Control": "no-cache"}
        return Response(content, media_type=SAFETENSORS, headers=headers)

    @routes.post(
        "/submit-update",
        tags=["rounds"],
        response_model_exclude_none=True,
        responses=documented(_REFUSALS),
        openapi_extra={
            "requestBody": {
                "required": True,
                "description": "safetensors: one tensor, F32 or F64, for each parameter of the "
                "policy's model, of that name and shape.",
                "content": {SAFETENSORS: {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def submit_update(
        request: Request,
        response: Response,
        round_number: _Round,
        base_model_hash: _Base,
        kind: _Kind,
    ) -> Answer:
        """Bring a gradient, or a change of parameters, to a training round; wait for its result.

        For policies that protect each hospital as a whole. The update is clipped to the policy's
        bound over all parameters together. The same update of the same model under the same number
        is one submission, however often it is posted. An answer with a `warning` is not final.
        """
        response.headers["Cache-Control"] = "no-store"
        check_headers(request, "safetensors", SAFETENSORS)
        return await counter.submit(request, round_number, bytes.fromhex(base_model_hash), kind)

    return routes


@final
class _Counter:
    """Takes updates in; the desk answers them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._desk = Desk(services)

    async def submit(self, request: Request, number: int, base: bytes, kind: UpdateKind) -> Answer:
        """What the request's update is answered. Raises HTTPException."""
        updates = self._services.updates
        if updates is None:
            await self._desk.refuse(
                409,
                RefusalReason.OTHER_UNIT,
                "the policy protects patients (noise.unit is patient), and how much a patient "
                "changes an update is known to nobody here: post records to "
                "/submit-federated-update, or agree on a policy whose noise.unit is hospital",
                number,
            )
        return await self._desk.bring(request, partial(self._admitted, updates, number, base, kind))

    async def _admitted(
        self, updates: Updates, number: int, base: bytes, kind: UpdateKind, data: bytes
    ) -> Posted:
        """An update of the newest model; or one that was admitted when its model was that."""
        admit = partial(updates.admit, number, base, kind, data)
        try:
            posted = await self._services.in_thread(admit)
        except UpdateError as error:
            await self._desk.refuse(422, RefusalReason.INVALID_UPDATE, str(error), number)
        newest = self._services.node.view.model_hash
        if base != newest and not await self._desk.is_known(posted.digest):
            await self._desk.refuse(409, RefusalReason.STALE_UPDATE, str(StaleUpdate()), number)
        return posted


def _initial(policy: Policy) -> bytes:
    if policy.model is None:
        raise LookupError("a node's policy has a model")
    model = initial(policy.model)
    metadata = {"model_hash": model_hash(model).hex(), "round": "0"}
    return safetensors.numpy.save(dict(model.parameters()), metadata)
