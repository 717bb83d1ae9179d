"""X.509 on a hospital's side: a key and a request for it, and whether a certificate is fit."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_PEM: Final = serialization.Encoding.PEM


class Unfit(ValueError):
    """A certificate that does not do; the text says why."""


@dataclass(frozen=True, slots=True, repr=False)
class Requested:
    """A private key (PKCS #8) and the request (PKCS #10) for its certificate, both PEM."""

    private_key: bytes
    request: bytes


def request(name: str) -> Requested:
    """A fresh key on P-256, and the request for a certificate in the name of ``name``."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    unsigned = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return Requested(
        key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        unsigned.sign(key, hashes.SHA256()).public_bytes(_PEM),
    )


def certificates(pem: bytes) -> list[x509.Certificate]:
    """The certificates in ``pem``, at least one. Raises Unfit."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise Unfit(f"holds no certificate in PEM ({error})") from None


def check_key(certificate: x509.Certificate, private_key: bytes) -> None:
    """Raise Unfit unless ``private_key`` (PEM) is the one that ``certificate`` is for."""
    try:
        key = serialization.load_pem_private_key(private_key, password=None)
    except (ValueError, TypeError):
        raise Unfit("has a private key that is no unencrypted PEM") from None
    if key.public_key() != certificate.public_key():
        raise Unfit("is for another private key than this one")


def check_issued(
    chain: Sequence[x509.Certificate], authorities: Sequence[x509.Certificate]
) -> None:
    """Raise Unfit unless each of ``chain`` is issued by the next, and the last by an authority."""
    for certificate, issuer in pairwise(chain):
        if not _issued(certificate, issuer):
            raise Unfit(f"breaks off: {_subject(certificate)} is not issued by the one after it")
    if not any(_issued(chain[-1], authority) for authority in authorities):
        raise Unfit(
            f"is issued by {chain[-1].issuer.rfc4514_string()!r} and not by the authority "
            f"{', '.join(map(_subject, authorities))}"
        )


def check_name(certificate: x509.Certificate, name: str) -> None:
    """Raise Unfit unless ``certificate`` is in the name of ``name``, and for a client."""
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    names = {str(attribute.value) for attribute in common}
    try:
        extensions = certificate.extensions
    except (ValueError, x509.DuplicateExtension) as error:
        raise Unfit(f"has extensions that cannot be read ({error})") from None
    with suppress(x509.ExtensionNotFound):
        others = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names.update(others.get_values_for_type(x509.DNSName))
    if name not in names:
        raise Unfit(f"is for {', '.join(sorted(names)) or 'nobody'} and not for {name}")
    with suppress(x509.ExtensionNotFound):
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if ExtendedKeyUsageOID.CLIENT_AUTH not in purposes:
            raise Unfit("is not for a TLS client")


def check_time(certificate: x509.Certificate, now: datetime) -> None:
    """Raise Unfit unless ``certificate`` is valid ``now``."""
    if now < certificate.not_valid_before_utc:
        raise Unfit(
            f"is valid only from {day(certificate.not_valid_before_utc)} on, by this machine's "
            f"clock in {_distance(certificate.not_valid_before_utc, now)}"
        )
    if now > certificate.not_valid_after_utc:
        raise Unfit(
            f"has expired on {day(certificate.not_valid_after_utc)}, by this machine's clock "
            f"{_distance(certificate.not_valid_after_utc, now)} ago"
        )


def day(time: datetime) -> str:
    """The date in UTC."""
    return time.astimezone(UTC).date().isoformat()


def _distance(one: datetime, other: datetime) -> str:
    days = abs(one - other).days
    return f"{days} days" if days else "less than a day"


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _subject(certificate: x509.Certificate) -> str:
    return repr(certificate.subject.rfc4514_string())
