from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey
from secagg.enrollment.document import Enrollment
from server.certificate_request import RequestError, checked_request

P256 = ec.generate_private_key(ec.SECP256R1())


def request(
    name: str,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey = P256,
) -> str:
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signed = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, algorithm)
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def enrollment(pem: str) -> Enrollment:
    return Enrollment.signed("anna", IdentityKey(Secret(bytes(32))), pem)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()])
def test_the_key_of_a_good_request_is_returned(curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    assert checked_request(enrollment(request("anna", key))) == key.public_key()


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP521R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
)
def test_another_kind_of_key_is_refused(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey,
) -> None:
    with pytest.raises(RequestError, match="P-256"):
        checked_request(enrollment(request("anna", key)))


def test_a_request_for_somebody_else_is_refused() -> None:
    with pytest.raises(RequestError, match="not for 'anna'"):
        checked_request(enrollment(request("berta")))


def test_a_request_without_the_keys_signature_is_refused() -> None:
    der = bytearray(
        x509.load_pem_x509_csr(request("anna").encode()).public_bytes(serialization.Encoding.DER)
    )
    der[-1] ^= 1
    pem = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM).decode()
    with pytest.raises(RequestError, match="not signed"):
        checked_request(enrollment(pem))


@pytest.mark.parametrize("pem", ["", "no PEM", request("anna")[:200]])
def test_what_is_no_request_is_refused(pem: str) -> None:
    with pytest.raises(RequestError, match="cannot be read"):
        checked_request(enrollment(pem))
