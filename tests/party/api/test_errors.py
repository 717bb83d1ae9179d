"""Refusals have one form, and quote nothing."""

from __future__ import annotations

import sqlite3
from typing import Annotated

from fastapi import FastAPI, Path
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from structlog.testing import capture_logs

from party.api import errors
from tests.party.api.listening import listening

CANARY = "CANARY"


def failing() -> FastAPI:
    app = FastAPI()
    errors.install(app)

    @app.get("/rounds/{number}")
    async def rounds(number: Annotated[int, Path(ge=1)]) -> int:
        return number

    @app.get("/refused")
    async def refused() -> None:
        raise HTTPException(409, "come again", {"Retry-After": "5"})

    @app.get("/bug")
    async def bug() -> None:
        raise KeyError(CANARY)

    @app.get("/disk")
    async def disk() -> None:
        full = sqlite3.OperationalError("database or disk is full")
        raise OperationalError(f"INSERT {CANARY}", {"body": CANARY}, full)

    return app


async def test_refusals_of_the_framework_say_what_to_do() -> None:
    async with listening(failing()) as client:
        missing = await client.get(f"/{CANARY}")
        assert missing.status_code == 404
        assert "/docs" in missing.json()["detail"]
        method = await client.delete("/refused")
        assert method.status_code == 405
        assert method.headers["allow"] == "GET"


async def test_a_parameter_is_named_and_not_quoted() -> None:
    async with listening(failing()) as client:
        for sent in (CANARY, "0", "1.5"):
            answer = await client.get(f"/rounds/{sent}")
            assert answer.status_code == 422
            assert answer.json()["detail"].startswith("number: ")
            assert CANARY not in answer.text


async def test_a_refusal_of_ours_passes_as_it_is() -> None:
    async with listening(failing()) as client:
        answer = await client.get("/refused")
        assert (answer.status_code, answer.json()) == (409, {"detail": "come again"})
        assert answer.headers["retry-after"] == "5"


async def test_a_bug_is_logged_by_kind_and_place_alone() -> None:
    with capture_logs() as logs:
        async with listening(failing()) as client:
            answer = await client.get("/bug")
    assert answer.status_code == 500
    assert "report" in answer.json()["detail"]
    (bug,) = [each for each in logs if each["event"] == "bug"]
    assert bug["error"] == "KeyError"
    assert "test_errors.py" in bug["at"][-1]
    assert CANARY not in str(logs)
    assert CANARY not in answer.text


async def test_a_full_disk_is_no_bug() -> None:
    with capture_logs() as logs:
        async with listening(failing()) as client:
            answer = await client.get("/disk")
    assert answer.status_code == 503
    assert "disk" in answer.json()["detail"]
    assert answer.headers["retry-after"] == "30"
    assert [each["reason"] for each in logs] == ["database or disk is full"]
    assert CANARY not in str(logs)
