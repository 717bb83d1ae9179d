"""A hospital's certificate request: nothing of it is used but the public key."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from secagg.enrollment.document import Enrollment


class RequestError(ValueError):
    """This request gets no certificate; the text says why."""


def checked_request(enrollment: Enrollment) -> ec.EllipticCurvePublicKey:
    """The TLS key for which ``enrollment`` asks a certificate. Raises RequestError.

    The request is signed by that key, names the hospital that enrolls, and the key is on a curve
    that every TLS 1.3 implementation has.
    """
    try:
        request = x509.load_pem_x509_csr(enrollment.certificate_request.encode())
        key = request.public_key()
        signed = request.is_signature_valid
        names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except (ValueError, InvalidSignature, x509.UnsupportedGeneralNameType) as error:
        raise RequestError(f"its certificate request cannot be read ({error})") from None
    if not signed:
        raise RequestError("its certificate request is not signed by the key that it is for")
    if [name.value for name in names] != [enrollment.name]:
        raise RequestError(f"its certificate request is not for {enrollment.name!r}, who sends it")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(
        key.curve, ec.SECP256R1 | ec.SECP384R1
    ):
        raise RequestError("its TLS key is on neither of the curves P-256 and P-384")
    return key
