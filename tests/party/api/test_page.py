"""The page's files, over HTTP. What a browser makes of them: tests/integration."""

from __future__ import annotations

import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from party.api.page import PATHS
from tests.party.api.serving import serving
from tests.party.consortium import Consortium


async def test_every_file_is_served_with_the_guards(consortium: Consortium) -> None:
    async with serving(consortium) as client:
        for path in PATHS:
            answer = await client.get(path)
            assert answer.status_code == 200
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert "http" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["referrer-policy"] == "no-referrer"


async def test_a_file_that_is_known_is_not_sent_again(consortium: Consortium) -> None:
    async with serving(consortium) as client:
        tag = (await client.get("/page/page.js")).headers["etag"]
        again = await client.get("/page/page.js", headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        head = await client.head("/")
        assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("path", ["/page/", "/page/icon", "/page/%2e%2e/process.py", "/index.html"])
async def test_nothing_else_is_served(consortium: Consortium, path: str) -> None:
    async with serving(consortium) as client:
        assert (await client.get(path)).status_code == 404


async def test_the_files_need_no_token_and_what_they_show_does(
    consortium: Consortium, tmp_path: Path
) -> None:
    token = "a-token-of-a-test"
    hashed = tmp_path / "token.sha256"
    hashed.write_text(hashlib.sha256(token.encode()).hexdigest())
    hashed.chmod(0o600)
    async with serving(consortium, token_hash_file=hashed) as client:
        for path in PATHS:
            assert (await client.get(path)).status_code == 200
        for path in ("/status", "/privacy-budget", "/rounds", "/audit/head", "/metrics"):
            assert (await client.get(path)).status_code == 401
            shown = await client.get(path, headers={"Authorization": f"Bearer {token}"})
            assert shown.status_code == 200


class Links(HTMLParser):
    """Everything that the page refers to, and every attribute that would be script or style."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"href", "src", "action"} and value is not None:
                self.addresses.append(value)
            if name == "style" or name.startswith("on"):
                self.inline.append(f"{tag} {name}")


async def test_the_page_refers_to_nothing_elsewhere(consortium: Consortium) -> None:
    async with serving(consortium) as client:
        texts = {path: (await client.get(path)).text for path in PATHS}
    links = Links()
    links.feed(texts["/"])
    assert links.inline == []
    assert links.addresses
    assert all(re.match(r"[/#]", address) for address in links.addresses)
    for path, text in texts.items():
        elsewhere = set(re.findall(r"https?://[^\"'\s]+", text))
        assert elsewhere <= {"http://www.w3.org/2000/svg"}, path
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write", texts["/page/page.js"]
    )
