"""How a request is refused: a status, and one sentence that says what to do.

Every refusal has the same form, ``{"detail": "..."}``, those of the framework included. No text
quotes what was sent, but for a patient's id where that answers its own sender.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

_PLAINLY: Final[Mapping[int, str]] = {
    404: "nothing is served under this path: see /docs for what there is",
    405: "this path takes another method: see /docs",
}

_log = structlog.get_logger("secagg.party")


class Problem(BaseModel):
    """Why a request was refused, and what to do about it."""

    detail: str


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer to a request that is refused."""
    return JSONResponse({"detail": detail}, status, dict(headers) if headers else None)


def documented(reasons: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """What a route says about its refusals: ``reasons`` by status."""
    return {
        status: {"model": Problem, "description": f"{HTTPStatus(status).phrase}: {reason}"}
        for status, reason in reasons.items()
    }


def install(app: FastAPI) -> None:
    """Answer every refusal of ``app`` in the one form."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(OperationalError, _no_database)
    app.add_exception_handler(Exception, _bug)


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    detail = error.detail
    if detail == HTTPStatus(error.status_code).phrase:  # the framework's own
        detail = _PLAINLY.get(error.status_code, detail)
    return problem(error.status_code, detail, error.headers)


async def _not_valid(_request: Request, error: Exception) -> JSONResponse:
    """A parameter of path or query: where it is wrong and how, without what was sent."""
    if not isinstance(error, RequestValidationError):
        raise error
    places = (f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors())
    return problem(422, "; ".join(places))


async def _no_database(_request: Request, error: Exception) -> JSONResponse:
    """A full or failing disk, as a rule. The driver's own words tell it; the statement is left out,
    with what it was to write.
    """
    _log.error("database", reason=str(getattr(error, "orig", "")))
    return problem(
        503,
        "the node's database cannot be used now, so nothing was changed or queued: let its "
        "operator look at the disk, then send this again",
        {"Retry-After": "30"},
    )


async def _bug(_request: Request, error: Exception) -> JSONResponse:
    """Log what kind of bug it was and where; its text could quote what was sent."""
    frames = traceback.extract_tb(error.__traceback__)
    _log.error(
        "bug",
        error=type(error).__name__,
        at=[f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-5:]],
    )
    return problem(
        500, "this is a bug in secagg: please report what the node's log says under 'bug'"
    )
