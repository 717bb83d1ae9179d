"""What a hospital checks about a certificate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from party.certificates import (
    Unfit,
    certificates,
    check_issued,
    check_key,
    check_name,
    check_time,
    request,
)
from server.certificates import Authority

AUTHORITY = Authority.create("test")
ROOT = certificates(AUTHORITY.issued.certificate)
ISSUED = AUTHORITY.client("anna")
(CERTIFICATE,) = certificates(ISSUED.certificate)


def test_a_request_is_for_its_key_and_name() -> None:
    made = request("anna")
    loaded = x509.load_pem_x509_csr(made.request)
    assert loaded.is_signature_valid
    assert loaded.subject.rfc4514_string() == "CN=anna"
    key = serialization.load_pem_private_key(made.private_key, password=None)
    assert loaded.public_key() == key.public_key()
    assert "PRIVATE" not in repr(made)


def test_a_fit_certificate_passes_everything() -> None:
    check_key(CERTIFICATE, ISSUED.private_key)
    check_issued([CERTIFICATE], ROOT)
    check_name(CERTIFICATE, "anna")
    check_time(CERTIFICATE, datetime.now(UTC))


def test_another_key_is_refused() -> None:
    with pytest.raises(Unfit, match="another private key"):
        check_key(CERTIFICATE, AUTHORITY.client("anna").private_key)
    with pytest.raises(Unfit, match="no unencrypted PEM"):
        check_key(CERTIFICATE, b"nonsense")


def test_another_authority_is_refused_even_under_the_same_name() -> None:
    with pytest.raises(Unfit, match="not by the authority"):
        check_issued([CERTIFICATE], certificates(Authority.create("test").issued.certificate))


def test_a_chain_holds_from_link_to_link() -> None:
    root = trustme.CA()
    between = root.create_child_ca()
    issued = between.issue_cert("anna")
    pem = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    chain, top = certificates(pem), certificates(root.cert_pem.bytes())
    assert len(chain) == 2
    check_issued(chain, top)
    with pytest.raises(Unfit, match="breaks off"):
        check_issued([CERTIFICATE, *chain], top)
    with pytest.raises(Unfit, match="not by the authority"):
        check_issued(chain[:1], top)


def test_another_hospitals_certificate_is_refused() -> None:
    with pytest.raises(Unfit, match="is for anna and not for berta"):
        check_name(CERTIFICATE, "berta")


def test_a_servers_certificate_is_refused() -> None:
    (server,) = certificates(AUTHORITY.server("anna", ("localhost",)).certificate)
    with pytest.raises(Unfit, match="not for a TLS client"):
        check_name(server, "anna")


def test_time_is_judged_on_both_sides() -> None:
    with pytest.raises(Unfit, match=r"expired on 20.*by this machine's clock 9 days ago"):
        check_time(CERTIFICATE, CERTIFICATE.not_valid_after_utc + timedelta(days=9))
    with pytest.raises(Unfit, match=r"valid only from.*in less than a day"):
        check_time(CERTIFICATE, CERTIFICATE.not_valid_before_utc - timedelta(hours=1))


def test_what_is_no_certificate_is_refused() -> None:
    with pytest.raises(Unfit, match="no certificate in PEM"):
        certificates(b"")
