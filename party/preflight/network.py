"""The way to the server, before anything is sent: which proxy, and whether names are known."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import trio

from party.preflight.site import Site
from secagg.cli import CommandError, ExitCode

SECONDS = 10


def proxy(site: Site) -> str:
    """Which proxy is used, and who says so."""
    route = site.config.server.route()
    way = "none" if route.proxy is None else str(route.proxy)
    return f"{way}: {route.reason}"


def names(site: Site) -> str:
    """The server's name, or the proxy's if there is one, has an address."""
    through = site.config.server.route().proxy
    host = site.config.server.host if through is None else through.host
    if _is_address(host):
        return f"{host} is an address"
    try:
        found = trio.run(_resolve, host)
    except OSError as error:
        raise CommandError(
            f"{host} is not known here: {error.strerror or error}.",
            "Check [server] in party.toml, and this machine's name servers: getent hosts " + host,
            ExitCode.CONNECTION,
        ) from None
    except trio.TooSlowError:
        raise CommandError(
            f"No name server has answered in {SECONDS} s what {host} is.",
            "Check this machine's name servers, and that the firewall lets it ask them.",
            ExitCode.TOO_FEW,
        ) from None
    return f"{host} is {', '.join(found)}"


async def _resolve(host: str) -> list[str]:
    with trio.fail_after(SECONDS):
        found = await trio.socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return sorted({str(address[0]) for *_, address in found})


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
