from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from server.certificates import Authority, Issued


def context(path: Path, purpose: int, own: Issued, trusted: Issued) -> ssl.SSLContext:
    made = ssl.SSLContext(purpose)
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    (path / "chain.pem").write_bytes(own.certificate + own.private_key)
    made.load_cert_chain(path / "chain.pem")
    made.load_verify_locations(cadata=trusted.certificate.decode())
    return made


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> None:
    """A TLS handshake in memory, and one byte each way so that both sides have verified."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(down, up, server_hostname=host)
    far = server.wrap_bio(up, down, server_side=True)
    for side in (near, far, near, far):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    far.write(b"1")
    assert near.read() == b"1"


HOSTS = ("localhost", "127.0.0.1", "::1", "secagg.example.org")


@pytest.mark.parametrize("host", HOSTS)
def test_both_sides_accept_each_other(tmp_path: Path, host: str) -> None:
    authority = Authority.create("test")
    client = context(tmp_path, ssl.PROTOCOL_TLS_CLIENT, authority.client("a"), authority.issued)
    issued = authority.server("server", HOSTS)
    server = context(tmp_path, ssl.PROTOCOL_TLS_SERVER, issued, authority.issued)
    shake_hands(client, server, host)


def test_another_name_is_refused(tmp_path: Path) -> None:
    authority = Authority.create("test")
    client = context(tmp_path, ssl.PROTOCOL_TLS_CLIENT, authority.client("a"), authority.issued)
    issued = authority.server("server", HOSTS)
    server = context(tmp_path, ssl.PROTOCOL_TLS_SERVER, issued, authority.issued)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(client, server, "elsewhere.example.org")


def test_another_authority_is_refused(tmp_path: Path) -> None:
    authority, other = Authority.create("test"), Authority.create("test")
    client = context(tmp_path, ssl.PROTOCOL_TLS_CLIENT, other.client("a"), authority.issued)
    issued = authority.server("server", HOSTS)
    server = context(tmp_path, ssl.PROTOCOL_TLS_SERVER, issued, authority.issued)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client, server, "localhost")


def test_a_hospital_cannot_pose_as_the_server(tmp_path: Path) -> None:
    authority = Authority.create("test")
    client = context(tmp_path, ssl.PROTOCOL_TLS_CLIENT, authority.client("a"), authority.issued)
    posing = authority.client("localhost")
    server = context(tmp_path, ssl.PROTOCOL_TLS_SERVER, posing, authority.issued)
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        shake_hands(client, server, "localhost")


def test_certificates_are_valid_for_two_years_from_a_little_ago_and_the_authority_for_ten() -> None:
    authority = Authority.create("test")
    now = datetime.now(UTC)
    for issued, days in (
        (authority.issued, 3650),
        (authority.client("a"), 730),
        (authority.server("b", HOSTS), 730),
    ):
        certificate = x509.load_pem_x509_certificate(issued.certificate)
        assert now - timedelta(hours=2) < certificate.not_valid_before_utc < now
        left = certificate.not_valid_after_utc - now
        assert timedelta(days=days - 1) < left < timedelta(days=days + 1)


def test_private_keys_are_not_shown() -> None:
    assert "PRIVATE" not in repr(Authority.create("test").issued)
