"""The socket: in use, in TLS, with a certificate that does not fit."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx2
import pytest
import trio
import trustme
from fastapi import FastAPI

from party import api
from party.config import Api
from secagg.cli import CommandError, ExitCode


def application() -> FastAPI:
    app = FastAPI()

    @app.get("/")
    async def root() -> str:
        return "here"

    return app


async def test_a_taken_port_is_explained() -> None:
    app = application()
    async with trio.open_nursery() as nursery:
        url: str = await nursery.start(api.serve, app, Api(port=0))
        taken = Api(port=int(url.rsplit(":", 1)[1]))
        with pytest.raises(CommandError, match="cannot be listened on") as refused:
            await api.serve(app, taken)
        assert refused.value.exit_code is ExitCode.CONNECTION
        nursery.cancel_scope.cancel()


def issued(tmp_path: Path, authority: trustme.CA) -> Api:
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "api.crt")
    issued.private_key_pem.write_to_path(tmp_path / "api.key")
    (tmp_path / "api.key").chmod(0o600)
    return Api(port=0, certificate=tmp_path / "api.crt", private_key=tmp_path / "api.key")


async def test_tls_with_the_hospitals_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with trio.open_nursery() as nursery:
        url: str = await nursery.start(api.serve, application(), issued(tmp_path, authority))
        assert url.startswith("https://127.0.0.1:")
        async with httpx2.AsyncClient(verify=trusting) as client:
            assert (await client.get(url)).json() == "here"
        async with httpx2.AsyncClient() as stranger:
            with pytest.raises(httpx2.ConnectError):
                await stranger.get(url)
            with pytest.raises(httpx2.HTTPError):
                await stranger.get(url.replace("https", "http"))
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        ("api.crt", "cannot be used"),
        ("api.key", "cannot be used"),
        (None, "open to other users"),
    ],
)
async def test_a_certificate_that_cannot_be_used_is_explained(
    tmp_path: Path, spoil: str | None, problem: str
) -> None:
    config = issued(tmp_path, trustme.CA())
    if spoil is None:
        (tmp_path / "api.key").chmod(0o644)
    else:
        (tmp_path / spoil).write_text("-----BEGIN NOTHING-----")
    with pytest.raises(CommandError, match=problem):
        await api.serve(application(), config)
