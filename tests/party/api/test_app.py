"""The routes and their guards, put together."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.party.api.serving import serving
from tests.party.consortium import Consortium

INTRANET = "https://intranet.example"


async def test_pages_of_the_hospitals_own_site_may_post(consortium: Consortium) -> None:
    asked = {"Origin": INTRANET, "Access-Control-Request-Method": "POST"}
    async with serving(consortium, allowed_origins=(INTRANET,)) as client:
        preflight = await client.options("/submit-federated-update", headers=asked)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == INTRANET
        posted = await client.post("/submit-federated-update", headers=asked, json={})
        assert posted.status_code == 409  # this one trains on a file: it was let in
        assert posted.headers["access-control-allow-origin"] == INTRANET


@pytest.mark.parametrize("allowed", [(), (INTRANET,)])
async def test_pages_of_other_sites_may_not(
    consortium: Consortium, allowed: tuple[str, ...]
) -> None:
    asked = {"Origin": "https://attacker.example", "Access-Control-Request-Method": "POST"}
    async with serving(consortium, allowed_origins=allowed) as client:
        preflight = await client.options("/submit-federated-update", headers=asked)
        assert preflight.status_code in {400, 405}
        posted = await client.post("/submit-federated-update", headers=asked, json={})
        assert posted.status_code == 403
        for answer in (preflight, posted):
            assert "access-control-allow-origin" not in answer.headers


async def test_whoever_is_refused_is_so_before_anything_is_read(
    consortium: Consortium, tmp_path: Path
) -> None:
    hash_file = tmp_path / "api.token-sha256"
    hash_file.write_text(hashlib.sha256(b"token").hexdigest())
    hash_file.chmod(0o600)
    async with serving(consortium, token_hash_file=hash_file, max_body_bytes=1024) as client:
        refused = await client.post("/submit-federated-update", content=bytes(1_000_000))
        assert refused.status_code == 401
        for path in ("/status", "/openapi.json", "/docs", "/metrics", "/participation"):
            assert (await client.get(path)).status_code == 401, path
            shown = await client.get(path, headers={"Authorization": "Bearer token"})
            assert shown.status_code == 200, path
        assert (await client.get("/healthz")).status_code == 200


async def test_the_document_names_every_route_and_says_what_is_refused(
    consortium: Consortium,
) -> None:
    async with serving(consortium) as client:
        document = (await client.get("/openapi.json")).json()
        text = (await client.get("/docs")).text
    for path, operations in document["paths"].items():
        assert path in text
        for operation in operations.values():
            assert {"200", "400", "401"} <= operation["responses"].keys()
            assert "HTTPValidationError" not in str(operation)
