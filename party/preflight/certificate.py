"""This hospital's certificate for TLS, and the authority that the server's must be from."""

from __future__ import annotations

from typing import Final

from cryptography import x509

from party.certificates import (
    Unfit,
    certificates,
    check_issued,
    check_key,
    check_name,
    check_time,
    day,
)
from party.connection import tls_context
from party.preflight.site import Site
from secagg.cli import CommandError, ExitCode

SOON: Final = 30
"""Days before its end in which a certificate is worth a word."""


def fit(site: Site) -> str:
    """Chain, name, purpose, key and time."""
    tls = site.config.tls
    tls_context(tls)
    try:
        authorities = certificates(tls.ca.read_bytes())
        for authority in authorities:
            check_time(authority, site.now)
    except Unfit as error:
        raise CommandError(
            f"{tls.ca} {error}.", "Install the consortium's current ca.crt.", ExitCode.USAGE
        ) from None
    if tls.certificate is None or tls.private_key is None:
        return f"one-way TLS: none of its own; the authority's {_until(authorities[0], site)}"
    try:
        chain = certificates(tls.certificate.read_bytes())
        check_key(chain[0], tls.private_key.read_bytes())
        check_issued(chain, authorities)
        check_name(chain[0], site.config.name)
        for each in chain:
            check_time(each, site.now)
    except Unfit as error:
        raise CommandError(
            f"{tls.certificate} {error}.",
            "Install the certificate and the ca.crt that the consortium has sent for this key; "
            "correct this machine's clock if it is wrong.",
            ExitCode.USAGE,
        ) from None
    return _until(chain[0], site)


def _until(certificate: x509.Certificate, site: Site) -> str:
    left = (certificate.not_valid_after_utc - site.now).days
    text = f"valid until {day(certificate.not_valid_after_utc)}"
    return f"{text}, only {left} days: have a new one issued" if left < SOON else text
