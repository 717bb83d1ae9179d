"""``POST /submit-federated-update``: an EHR's batch in, the result of its round out.

A submission is judged whole, then queued, then waited for. What was posted is let go of before the
waiting begins, so that a hundred requests that wait cost next to nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NoReturn, final

import structlog
from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from party.api.answers import Answer, Refusal
from party.api.errors import documented
from party.api.limits import Memory
from party.api.services import Services
from party.api.waiting import Waiting
from party.audit.events import KeyPurpose, KeyUsed, RefusalReason, SubmissionRefused
from party.queue import (
    HasLeft,
    InFlight,
    NoQueue,
    NumberTooFar,
    QueueFull,
    Submission,
)
from party.queue import SubmissionRefused as NotQueued
from party.submission.admission import Admission, WrongSize
from party.submission.body import MAX_ROUND, BodyError
from party.submission.opening import Fault, OpeningError
from party.submission.posted import Posted

RETRY_SECONDS: Final = 30
"""When to post again what could not be brought to an end now."""

_MEMORY: Final = 2.5
"""Bodies of the greatest length that may be in hand at a time; half of one is left for small ones.
"""

MOST_WAITING: Final = 200
"""Posts that may wait at a time, each with its connection; further ones are told how things stand,
and ask again.
"""

_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
"""What a browser sends across sites without asking first."""

_FAULTS: Final[Mapping[Fault, tuple[int, RefusalReason]]] = {
    Fault.DECRYPTION: (400, RefusalReason.DECRYPTION_FAILED),
    Fault.DATA_HASH: (400, RefusalReason.DATA_HASH),
    Fault.RECORD: (422, RefusalReason.INVALID_RECORD),
    Fault.TWICE: (422, RefusalReason.DUPLICATE_PATIENT),
}
_NOT_QUEUED: Final[Mapping[type[NotQueued], tuple[int, RefusalReason]]] = {
    InFlight: (409, RefusalReason.IN_FLIGHT),
    QueueFull: (429, RefusalReason.QUEUE_FULL),
    NumberTooFar: (422, RefusalReason.ROUND_TOO_FAR),
    HasLeft: (403, RefusalReason.NOT_TAKING_PART),
    NoQueue: (409, RefusalReason.STANDING_BATCH),
}

REFUSALS: Final[Mapping[int, str]] = {
    400: "decryption failed; or data_hash does not fit (the patient is named)",
    401: "no token, or another one, where the node asks for one",
    403: "the privacy budget is exhausted; this hospital has left; a page of another site",
    408: "the body arrived too slowly",
    409: "another batch of this number is being computed, or has replaced this one; or the node "
    "trains on a file; or the policy protects hospitals, not patients",
    413: "longer than max_body_bytes",
    415: "compressed, or a form",
    422: "no submission: the field and the record are named; or the same patient twice",
    429: "as many batches wait as may",
    503: "the server cannot be reached, or the operator has to mend something; the batch is kept",
}

_PATIENT_ID: Final = {
    "anyOf": [{"type": "string", "maxLength": 256}, {"type": "integer"}],
    "description": "The same as inside the encrypted record.",
}
BODY: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["patient_data_list", "round_number"],
    "properties": {
        "patient_data_list": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["patient_id", "encrypted_data", "data_hash"],
                "properties": {
                    "patient_id": _PATIENT_ID,
                    "encrypted_data": {
                        "type": "string",
                        "description": "Fernet token of the record's JSON.",
                    },
                    "data_hash": {
                        "type": "string",
                        "description": "SHA-256 of the bytes that were encrypted, in hex.",
                    },
                    "ipfs_cid": {"description": "Anything, or absent: it is not used."},
                },
            },
        },
        "round_number": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_ROUND,
            "description": "The training round from which on the batch counts.",
        },
    },
    "example": {
        "patient_data_list": [
            {
                "patient_id": "PATIENT_001",
                "encrypted_data": "gAAAAABl...",
                "ipfs_cid": "QmV5koooi...",
                "data_hash": "9f" * 32,
            }
        ],
        "round_number": 5,
    },
}

_log = structlog.get_logger("secagg.party")


def router(services: Services) -> APIRouter:
    """``POST /submit-federated-update``."""
    routes = APIRouter(tags=["rounds"])
    desk = Desk(services)

    @routes.post(
        "/submit-federated-update",
        response_model_exclude_none=True,
        responses=documented(REFUSALS),
        openapi_extra={
            "requestBody": {"required": True, "content": {"application/json": {"schema": BODY}}}
        },
    )
    async def submit_federated_update(request: Request, response: Response) -> Answer:
        """Bring encrypted records to a training round, and wait for its result.

        The same records under the same number are one submission, however often they are posted
        and however they are encrypted: one answer, one charge. An answer with a `warning` is not
        final: the batch is kept, and the same posted again asks for its result.
        """
        response.headers["Cache-Control"] = "no-store"
        return await desk.submit(request)

    return routes


@final
class Desk:
    """Takes submissions in, and answers them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._memory = Memory(int(_MEMORY * services.config.max_body_bytes))
        self._waiting = services.queue and Waiting(services, services.queue)
        self._now_waiting = 0

    async def submit(self, request: Request) -> Answer:
        """What the request's submission is answered. Raises HTTPException."""
        check_headers(request, "JSON", "application/json")
        admission = self._services.admission
        if self._services.updates is not None:
            await self.refuse(
                409,
                RefusalReason.OTHER_UNIT,
                "the policy protects each hospital as a whole (noise.unit is hospital), so records "
                "are not taken: post an update of the model to /submit-update",
            )
        if admission is None:
            await self.refuse(
                409,
                RefusalReason.STANDING_BATCH,
                "this node trains on the file that [data] of party.toml names: remove train and "
                "rounds there, and add [ehr], to post batches instead",
            )
        return await self.bring(request, partial(self._admitted, admission))

    async def bring(
        self, request: Request, admitted: Callable[[bytes], Awaitable[Posted]]
    ) -> Answer:
        """Have the body judged, queue what that makes of it, and wait for what becomes of it.

        Raises HTTPException. Nothing of the body is held while it waits.
        """
        if self._waiting is None:
            raise LookupError("a node that admits anything has a queue")
        submission = await self._taken(request, admitted)
        said = await self._answer(self._waiting, submission)
        if isinstance(said, Refusal):
            headers = {"Retry-After": str(RETRY_SECONDS)} if said.status == 503 else None
            raise HTTPException(said.status, said.detail, headers)
        return said

    async def _answer(self, waiting: Waiting, submission: Submission) -> Answer | Refusal:
        crowded = self._now_waiting >= MOST_WAITING
        self._now_waiting += 1
        try:
            patience = 0 if crowded else self._services.config.answer_deadline
            return await waiting.answer(submission, patience)
        finally:
            self._now_waiting -= 1

    async def is_known(self, digest: bytes) -> bool:
        """Whether a submission with this digest waits, or was used."""
        queue = self._services.queue
        return queue is not None and await self._services.in_thread(queue.knows, digest)

    async def _taken(
        self, request: Request, admitted: Callable[[bytes], Awaitable[Posted]]
    ) -> Submission:
        """Judge and queue what is posted; nothing of it is held when this returns."""
        most = self._services.config.max_body_bytes
        length = min(int(request.headers.get("content-length", most)), most)
        async with self._memory.held(length):
            posted = await admitted(await self._body(request))
            await self._check_budget(posted)
            try:
                submission = await self._services.node.submit(posted)
            except NotQueued as refused:
                status, reason = _NOT_QUEUED[type(refused)]
                detail = f"round_number: {refused}" if status == 422 else str(refused)
                await self.refuse(status, reason, detail, posted.number)
        _log.info(
            "submission",
            id=submission.id,
            round=submission.number,
            patients=submission.patients,
            encrypted_bytes=submission.encrypted_bytes,
            repeated=submission.repeated,
            replaced=submission.replaced,
        )
        return submission

    async def _body(self, request: Request) -> bytes:
        # Not request.body(): that keeps it for as long as the request lasts.
        try:
            return b"".join([piece async for piece in request.stream()])
        except ClientDisconnect:
            raise HTTPException(
                400, "the connection ended within the body: send it again"
            ) from None
        except HTTPException as refused:
            if refused.status_code == 413:
                await self.refuse(413, RefusalReason.TOO_LARGE, refused.detail)
            raise

    async def _admitted(self, admission: Admission, data: bytes) -> Posted:
        judged = await self._services.in_thread(_judged, admission, data)
        del data  # an exception that is raised from here on would keep it
        if isinstance(judged, _Refused):
            await self.refuse(judged.status, judged.reason, judged.detail)
        keys = " ".join(judged.keys)
        used = KeyUsed(KeyPurpose.VALIDATE_SUBMISSION, keys, judged.number)
        await self._services.audit.record(used)
        return judged

    async def _check_budget(self, posted: Posted) -> None:
        """Refuse what could never be charged, unless its charge is made already."""
        ledger = self._services.ledger
        if ledger is None:
            return
        budget = await self._services.in_thread(ledger.budget)
        if budget.allows(ledger.cost.sum):
            return
        if await self.is_known(posted.digest):
            return
        await self.refuse(
            403,
            RefusalReason.BUDGET_EXHAUSTED,
            f"privacy budget exhausted: epsilon {budget.epsilon_spent():.6g} of "
            f"{float(budget.epsilon):g} is spent, and one more round does not fit. Nothing was "
            f"queued: let the hospital raise [budget] in party.toml, or stop",
            posted.number,
        )

    async def refuse(
        self, status: int, reason: RefusalReason, detail: str, number: int | None = None
    ) -> NoReturn:
        """Say why nothing of a submission is kept, to its sender and to the audit log."""
        await self._services.audit.record(SubmissionRefused(reason, number))
        _log.warning("submission refused", reason=reason.value, round=number)
        headers = {"Retry-After": str(RETRY_SECONDS)} if status == 429 else None
        raise HTTPException(status, detail, headers)


@dataclass(frozen=True, slots=True)
class _Refused:
    """That a submission is refused, and why."""

    status: int
    reason: RefusalReason
    detail: str


def _judged(admission: Admission, data: bytes) -> Posted | _Refused:
    """What becomes of a body. Exceptions end here: their tracebacks hold what was decrypted."""
    try:
        return admission.admit(data)
    except WrongSize as error:
        return _Refused(422, RefusalReason.TOO_MANY_PATIENTS, str(error))
    except BodyError as error:
        return _Refused(422, RefusalReason.MALFORMED, str(error))
    except OpeningError as error:
        return _Refused(*_FAULTS[error.fault], _named(error))


def check_headers(request: Request, form: str, media_type: str) -> None:
    """Raise HTTPException for a body that is compressed, or comes from a page's form.

    ``form``, ``media_type``: what is to be sent instead.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPException(415, "send the body as it is, without Content-Encoding")
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if sent in _FORMS:
        raise HTTPException(415, f"send {form}, with the header 'Content-Type: {media_type}'")


def _named(error: OpeningError) -> str:
    """What is wrong with which patient; this goes back to who sent it, and nowhere else."""
    place = f"patient_data_list[{error.position}]"
    if error.patient_id is not None:
        place += f" (patient_id {error.patient_id})"
    return (
        f"{place}, {error.field}: {error.problem}" if error.field else f"{place}: {error.problem}"
    )
