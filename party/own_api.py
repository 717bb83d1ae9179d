"""The command line as a caller of this hospital's own node, while that runs."""

from __future__ import annotations

import http.client
import ipaddress
import json
import ssl
from pathlib import Path
from typing import Any, Final

from party.config import Api
from party.private_files import check_private
from secagg.cli import CommandError, ExitCode
from secagg.enrollment.key_files import API_TOKEN

SECONDS: Final = 30
_LONGEST_ANSWER: Final = 2**20
_REFUSED: Final = (401, 403)


def ask(api: Api, method: str, path: str, token_file: Path | None = None) -> dict[str, Any]:
    """What the node that ``api`` describes answers to one request without a body.

    ``token_file``: with the bearer token, if one is demanded; without it, the file ``api.token``
    beside the hash is read. Raises CommandError.
    """
    if api.port == 0:
        raise CommandError(
            "The node has taken any free port, so it cannot be found from its configuration.",
            "Set a port in [api] of party.toml, or stop the node first.",
            ExitCode.CONNECTION,
        )
    headers = {"Accept": "application/json"}
    if api.token_hash_file is not None:
        headers["Authorization"] = f"Bearer {_token(api.token_hash_file, token_file)}"
    place = f"{api.host}:{api.port}"
    connection = _connection(api)
    try:
        connection.connect()
        _check_peer(connection, api)
        connection.request(method, path, headers=headers)
        with connection.getresponse() as answer:
            body = answer.read(_LONGEST_ANSWER)
    except (OSError, http.client.HTTPException) as error:
        raise CommandError(
            f"The node runs, and does not answer at {place}: {str(error) or type(error).__name__}.",
            "Has it been started with another configuration? See its log.",
            ExitCode.CONNECTION,
        ) from None
    finally:
        connection.close()
    return _decoded(answer.status, body, place)


def _connection(api: Api) -> http.client.HTTPConnection:
    host = _reachable(api.host)
    if api.certificate is None:
        return http.client.HTTPConnection(host, api.port, timeout=SECONDS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Not a name is checked, but that it is the very certificate that party.toml names: _check_peer.
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(api.certificate)
    except (OSError, ssl.SSLError) as error:
        raise CommandError(
            f"The node's certificate {api.certificate} cannot be used: {error}.",
            "Correct certificate in [api] of party.toml.",
            ExitCode.USAGE,
        ) from None
    return http.client.HTTPSConnection(host, api.port, timeout=SECONDS, context=context)


def _check_peer(connection: http.client.HTTPConnection, api: Api) -> None:
    """Before anything is sent: the peer shows the certificate of the configuration."""
    if api.certificate is None or not isinstance(connection.sock, ssl.SSLSocket):
        return
    pem = api.certificate.read_text(encoding="ascii")
    first = pem[: pem.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)]
    own = ssl.PEM_cert_to_DER_cert(first[first.index(ssl.PEM_HEADER) :])
    if connection.sock.getpeercert(binary_form=True) != own:
        raise ssl.SSLError("it shows another certificate than the one in [api]")


def _reachable(host: str) -> str:
    """Where to connect to whoever listens on ``host``."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def _token(hash_file: Path, token_file: Path | None) -> str:
    path = hash_file.parent / API_TOKEN if token_file is None else token_file
    check_private(path)
    token = path.read_text(encoding="utf-8", errors="replace").strip()
    if not token.isascii() or not token.isprintable() or not token:
        raise CommandError(
            f"{path} holds no token: one line is expected.",
            "Name the file with the token in clear with --token-file.",
            ExitCode.USAGE,
        )
    return token


def _decoded(status: int, body: bytes, place: str) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if status == 200 and isinstance(document, dict):
        return document
    detail = document.get("detail") if isinstance(document, dict) else None
    if status in _REFUSED:
        raise CommandError(
            f"The node at {place} refuses ({status}): {detail}.",
            "Name the file with the token in clear with --token-file.",
            ExitCode.CONNECTION,
        )
    raise CommandError(
        f"{place} does not answer as a node does (status {status}): {detail or 'no detail'}.",
        "Does another program listen there? Has the node been started with this party.toml?",
        ExitCode.CONNECTION,
    )
