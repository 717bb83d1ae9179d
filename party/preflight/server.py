"""The server itself: a real handshake, and its greeting. No Hello is sent."""

from __future__ import annotations

import ssl
import time

import trio

from party.connection import Connection, dial, explained, tls_context
from party.greeting import ServerUnfit, checked_challenge
from party.preflight.site import Site
from secagg.cli import CommandError, ExitCode
from secagg.errors import DecodeError
from secagg.wire.messages import PROTOCOL

SECONDS = 30


def greets(site: Site) -> str:
    """It is reached, has a certificate of the right authority, accepts ours, has our policy."""
    server, tls = site.config.server, site.config.tls
    context = tls_context(tls)
    place = f"{server.host}:{server.port}"
    started = time.monotonic()
    try:
        trio.run(_greeting, site, context)
    except trio.TooSlowError:
        raise CommandError(
            f"{place} has not greeted within {SECONDS} s.",
            "Is it the port of a secagg server, and does the firewall let the connection through?",
            ExitCode.TOO_FEW,
        ) from None
    except ServerUnfit as error:
        problem, _, remedy = str(error).partition(": ")
        raise CommandError(
            f"{place}: {problem}.", f"{remedy[:1].upper()}{remedy[1:]}.", ExitCode.CONNECTION
        ) from None
    except DecodeError as error:
        raise CommandError(
            f"{place} does not speak our protocol: {error}.",
            "Is it the port of a secagg server? Install the same version of secagg on both.",
            ExitCode.CONNECTION,
        ) from None
    except (OSError, trio.BrokenResourceError) as error:
        raise CommandError(
            f"{place} cannot be worked with: {explained(error, greeted=False)}.",
            "Check [server] and [tls] in party.toml, and that the server runs; ask for port "
            f"{server.port} outward to be allowed.",
            ExitCode.CONNECTION,
        ) from None
    taken = (time.monotonic() - started) * 1000
    return f"{place} greets in protocol {PROTOCOL} under our policy, after {taken:.0f} ms"


async def _greeting(site: Site, context: ssl.SSLContext) -> None:
    with trio.fail_after(SECONDS):
        stream = await dial(site.config.server, context, site.config.tls.server_name)
        async with Connection(stream) as connection:
            checked_challenge(await connection.receive(), site.policy.digest())
