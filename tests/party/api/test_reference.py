"""The page at /docs: everything is on it, and nothing is fetched for it."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

from fastapi import FastAPI
from pydantic import BaseModel

from party.api import reference
from party.api.errors import documented
from tests.party.api.listening import listening


class Thing(BaseModel):
    """A thing with <b>markup</b> in its description."""

    name: str


def application() -> FastAPI:
    app = FastAPI(title="things <&>", version="1", description="All of them.", docs_url=None)

    @app.post("/things/{number}", responses=documented({409: "not <now>"}))
    async def post_thing(number: int, thing: Thing) -> Thing:
        """Make a thing."""
        return thing

    app.include_router(reference.router(app))
    return app


class Tags(HTMLParser):
    """The tags that a page opens, and what they refer to."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: set[str] = set()
        self.references: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.add(tag)
        self.references |= {value or "" for name, value in attrs if name in {"href", "src"}}


async def test_the_reference_is_one_page_without_scripts() -> None:
    async with listening(application()) as client:
        answer = await client.get("/docs")
        document = (await client.get("/openapi.json")).json()
    text = answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    for expected in ("POST /things/{number}", "Make a thing.", "Conflict: not &lt;now&gt;"):
        assert expected in text
    assert "<b>markup" not in text
    tags = Tags()
    tags.feed(text)
    assert not tags.opened & {"script", "link", "img", "iframe", "object", "b"}
    assert {each.partition("#")[0] for each in tags.references} == {"", "/openapi.json"}
    assert set(document["components"]["schemas"]) <= set(re.findall(r'id="(\w+)"', text))


async def test_the_policy_allows_its_own_style_and_nothing_else() -> None:
    async with listening(application()) as client:
        answer = await client.get("/docs")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    style = re.search(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
