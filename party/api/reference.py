"""``/docs``: the OpenAPI document as a page that needs no script, and nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from starlette.responses import HTMLResponse

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}"
    "pre,code{font:14px/1.4 ui-monospace,monospace}pre{overflow:auto;padding:.5rem;"
    "background:#f4f4f4;color:#222}td{padding:.1rem 1rem .1rem 0;vertical-align:top}"
    "h2{margin-top:2.5rem}"
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def router(app: FastAPI) -> APIRouter:
    """``/docs``, of everything that ``app`` serves."""
    routes = APIRouter()

    @routes.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        """The reference of this interface."""
        return HTMLResponse(page(app.openapi()), headers=_HEADERS)

    return routes


def page(document: Mapping[str, Any]) -> str:
    """``document``, which is OpenAPI 3.1, as HTML."""
    info = document["info"]
    return "\n".join(
        (
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])}</title>',
            f"<style>{_STYLE}</style></head><body>",
            f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
            f"<p>{escape(info['description'])} The same for programs: "
            '<a href="/openapi.json">openapi.json</a>.</p>',
            *_operations(document),
            "<h2>Schemas</h2>",
            *_schemas(document),
            "</body></html>",
        )
    )


def _operations(document: Mapping[str, Any]) -> Iterator[str]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2>"
            yield f"<p>{escape(operation.get('description', operation['summary']))}</p>"
            for parameter in operation.get("parameters", ()):
                yield f"<p>{escape(parameter['in'])}: <code>{escape(parameter['name'])}</code></p>"
            for kind, body in operation.get("requestBody", {}).get("content", {}).items():
                yield f"<h3>Body, <code>{escape(kind)}</code></h3>{_json(body.get('schema', {}))}"
            yield "<h3>Answers</h3><table>"
            for status, answer in operation["responses"].items():
                yield (
                    f"<tr><td>{escape(status)}</td><td>{escape(answer['description'])}"
                    f"{_named(answer)}</td></tr>"
                )
            yield "</table>"


def _named(answer: Mapping[str, Any]) -> str:
    """The name of an answer's schema, if it has one."""
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    return f' (<a href="#{escape(name)}">{escape(name)}</a>)' if name else ""


def _schemas(document: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in document.get("components", {}).get("schemas", {}).items():
        yield f'<h3 id="{escape(name)}">{escape(name)}</h3>{_json(schema)}'


def _json(value: Any) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2))}</pre>"
