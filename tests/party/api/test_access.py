"""Who is let in: by name, by the page that asks, by token."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from fastapi import FastAPI

from party.api.access import LOCAL_NAMES, Access, Rules
from party.config import Api
from secagg.cli import CommandError
from tests.party.api.listening import listening

TOKEN = "dG9rZW4tb2YtMzItYnl0ZXMtZm9yLWEtdGVzdA"
HASH = hashlib.sha256(TOKEN.encode()).hexdigest()
OPEN = Rules(LOCAL_NAMES, frozenset({"https://intranet.example"}))


def guarded(rules: Rules) -> FastAPI:
    app = FastAPI()

    @app.api_route("/thing", methods=["GET", "POST", "PUT", "DELETE"])
    async def thing() -> str:
        return "done"

    @app.get("/healthz")
    async def healthz() -> str:
        return "ok"

    app.add_middleware(Access, rules=rules)
    return app


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8000", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8000", 200),
        ("attacker.example", 400),
        ("localhost.attacker.example:8000", 400),
        ("attacker@localhost", 400),
        ("localhost:80@attacker.example", 400),
        ("localhost/", 400),
        ("[::1", 400),
        ("", 400),
    ],
)
async def test_names_that_it_answers_to(host: str, status: int) -> None:
    async with listening(guarded(OPEN)) as client:
        for method in ("GET", "POST"):
            answer = await client.request(method, "/thing", headers={"Host": host})
            assert answer.status_code == status
            if status == 400:
                assert "allowed_hosts" in answer.json()["detail"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://localhost:8000"}, 200),
        ({"Origin": "http://localhost:8000", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "https://intranet.example", "Sec-Fetch-Site": "cross-site"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "https://attacker.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "https://localhost:8000"}, 403),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Origin": "http://localhost:8000.attacker.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://localhost:8000", "Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
async def test_pages_that_it_listens_to(method: str, headers: dict[str, str], status: int) -> None:
    async with listening(guarded(OPEN)) as client:
        answer = await client.request(
            method, "/thing", headers={"Host": "localhost:8000", **headers}
        )
        assert answer.status_code == status
        # Reading across sites is the browser's to prevent, and it does: no such answer may be read.
        read = await client.get("/thing", headers={"Host": "localhost:8000", **headers})
        assert read.status_code == 200
        assert "access-control-allow-origin" not in read.headers
        # Nor may it come in as something else than what it is.
        assert read.headers["cross-origin-resource-policy"] == "same-origin"
        assert read.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN}", 200),
        (None, 401),
        ("", 401),
        (TOKEN, 401),
        (f"Basic {TOKEN}", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Bearer {HASH}", 401),
        ("Bearer \u00fc", 401),
    ],
)
async def test_the_token_that_it_asks_for(authorization: str | None, status: int) -> None:
    rules = Rules(LOCAL_NAMES, token_hash=bytes.fromhex(HASH))
    shown = [] if authorization is None else [(b"Authorization", authorization.encode("latin-1"))]
    async with listening(guarded(rules)) as client:
        answer = await client.post("/thing", headers=shown)
        assert answer.status_code == status
        if status == 401:
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert "token_hash_file" in answer.json()["detail"]
        assert (await client.get("/healthz")).status_code == 200


def rules_of(tmp_path: Path, content: str, mode: int = 0o600) -> Rules:
    path = tmp_path / "token.sha256"
    path.write_text(content)
    path.chmod(mode)
    return Rules.of(Api(token_hash_file=path, allowed_hosts=("EHR.example",)))


def test_rules_come_from_the_configuration(tmp_path: Path) -> None:
    rules = rules_of(tmp_path, HASH.upper() + "\n")
    assert rules.token_hash == bytes.fromhex(HASH)
    assert rules.hosts >= {"localhost", "127.0.0.1", "ehr.example"}
    assert "::1" in rules.hosts
    assert HASH not in repr(rules)
    assert Rules.of(Api()).token_hash is None


@pytest.mark.parametrize(
    ("content", "mode", "problem"),
    [(TOKEN, 0o600, "no hash of a token"), ("", 0o600, "no hash"), (HASH, 0o644, "open to other")],
)
def test_a_file_that_holds_no_hash_is_explained(
    tmp_path: Path, content: str, mode: int, problem: str
) -> None:
    with pytest.raises(CommandError, match=problem) as refused:
        rules_of(tmp_path, content, mode)
    assert TOKEN not in str(refused.value)
