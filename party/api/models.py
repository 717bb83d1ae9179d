"""``GET /models/...``: the certified models that this node keeps, as safetensors.

What is served has a certificate. A model whose hash this hospital has signed, and for which too few
others have signed yet, is not served: it may never be the consortium's.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final, final

import safetensors.numpy
import trio
from fastapi import APIRouter, Path, Request, Response
from starlette.exceptions import HTTPException

from party.api.errors import documented
from party.api.services import Services
from secagg.errors import DecodeError
from secagg.model import Model, decode
from secagg.wire.messages import Certificate

ModelHash = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256, 64 hex digits")]

_MEDIA_TYPE: Final = "application/octet-stream"
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "A safetensors file",
        "content": {_MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "The model is the one whose ETag was sent in If-None-Match"},
    **documented({404: "no such certified model, or it is no longer kept"}),
}


def router(services: Services) -> APIRouter:
    """``/models/latest`` and ``/models/{model_hash}``."""
    routes = APIRouter(prefix="/models", tags=["models"])
    shelf = Shelf(services)

    @routes.get("/latest", response_class=Response, responses=_ANSWERS)
    async def latest_model(request: Request) -> Response:
        """The newest certified model; see below for what is in the file."""
        certificate = services.journal.certificate
        if certificate is None:
            raise HTTPException(
                404,
                "no round is certified yet, so there is no model: post a batch, and ask again when "
                "GET /rounds shows a certified round",
            )
        return await shelf.serve(certificate, request, "no-cache")

    @routes.get("/{model_hash}", response_class=Response, responses=_ANSWERS)
    async def model(model_hash: ModelHash, request: Request) -> Response:
        """The certified model with this hash.

        One float64 tensor for each parameter, under its name in the policy: the current iterate,
        where gradients are taken, and where an update of another framework starts. If the policy
        keeps an average of the iterates, there is `average/<name>` beside each: then that one
        predicts, and the metadata says `predictor: average`, else `predictor: parameters`. The
        metadata also has `model_hash` and `round`. The hash is of the model's canonical bytes,
        which this node has checked, and not of the file.
        """
        wanted = bytes.fromhex(model_hash)
        for certificate in services.journal.certificates:
            if certificate.model_hash == wanted:
                return await shelf.serve(
                    certificate, request, "private, max-age=31536000, immutable"
                )
        raise HTTPException(
            404,
            f"no certificate that this node has names the model {model_hash}: compare the hash "
            f"with those in GET /rounds",
        )

    return routes


@final
class Shelf:
    """Hands models out, one at a time: a model may be large, and is held whole meanwhile."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._one_at_a_time = trio.Lock()

    async def serve(self, certificate: Certificate, request: Request, caching: str) -> Response:
        """The model of ``certificate``, or that the client has it. Raises HTTPException."""
        name = certificate.model_hash.hex()
        # Weak, since the same tensors may be written as different bytes.
        headers = {"ETag": f'W/"{name}"', "Cache-Control": caching}
        if _is_known(request, name):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        async with self._one_at_a_time:
            content = await self._services.in_thread(self._file, certificate)
        if content is None:
            raise HTTPException(
                404,
                f"the model {name} of round {certificate.round} is certified, and not kept here: "
                f"this node keeps the newest ones, as many as keep in [models] of party.toml says",
            )
        headers["Content-Disposition"] = f'attachment; filename="{name}.safetensors"'
        return Response(content, media_type=_MEDIA_TYPE, headers=headers)

    def _file(self, certificate: Certificate) -> bytes | None:
        spec = self._services.policy.model
        data = self._services.models.get(certificate.model_hash)
        if data is None or spec is None:
            return None
        try:
            return as_safetensors(decode(data, spec), certificate)
        except DecodeError as error:
            raise HTTPException(
                500, f"the model kept on this disk is damaged: {error}. Restore the database"
            ) from None


def as_safetensors(model: Model, certificate: Certificate) -> bytes:
    """A file with what trains and what predicts."""
    tensors = dict(model.parameters())
    averages = {name: values for name, values in model.items() if name.startswith("average/")}
    metadata = {
        "model_hash": certificate.model_hash.hex(),
        "round": str(certificate.round),
        "predictor": "average" if averages else "parameters",
    }
    return safetensors.numpy.save(tensors | averages, metadata)


def _is_known(request: Request, name: str) -> bool:
    """Whether If-None-Match has this model; weak and strong tags are the same here (RFC 9110)."""
    tags = request.headers.get("if-none-match", "").split(",")
    return any(tag.strip().removeprefix("W/") in {f'"{name}"', "*"} for tag in tags)
