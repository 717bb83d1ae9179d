"""What a hospital sends to join: its name, its public identity key, and a certificate request.

Signed by that key, so that nobody can enroll a key that is not theirs. The signature does not say
who the hospital is: that is what the telephone is for.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, final

import msgspec

from secagg.crypto.hashing import Label, digest
from secagg.crypto.signatures import IdentityKey, verify
from secagg.enrollment.fingerprint import fingerprint
from secagg.errors import DecodeError
from secagg.policy import Hex32, Name

MAX_BYTES: Final = 64 * 1024
_Pem = Annotated[str, msgspec.Meta(max_length=16 * 1024)]
_Hex64 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{128}$")]


@final
class Enrollment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A hospital's enrollment. ``certificate_request``: PKCS #10 as PEM, for its TLS key."""

    schema: Literal["secagg-enrollment/1"] = "secagg-enrollment/1"
    name: Name
    identity_key: Hex32
    certificate_request: _Pem
    signature: _Hex64

    @classmethod
    def signed(cls, name: str, identity: IdentityKey, certificate_request: str) -> Enrollment:
        """The enrollment of ``name`` with ``identity``."""
        signature = identity.sign(*_statement(name, identity.public, certificate_request))
        return cls(
            name=name,
            identity_key=identity.public.hex(),
            certificate_request=certificate_request,
            signature=signature.hex(),
        )

    @property
    def public(self) -> bytes:
        """The identity's public key, 32 bytes."""
        return bytes.fromhex(self.identity_key)

    @property
    def fingerprint(self) -> str:
        """Of everything in it: six groups of four hex digits."""
        return fingerprint(digest(*_statement(self.name, self.public, self.certificate_request)))

    def encoded(self) -> bytes:
        """As JSON, for people to look at too."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def read(data: bytes) -> Enrollment:
    """The enrollment in ``data``, if its own key has signed it. Raises DecodeError."""
    if len(data) > MAX_BYTES:
        raise DecodeError(f"{len(data)} bytes; an enrollment has at most {MAX_BYTES}")
    try:
        enrollment = msgspec.json.decode(data, type=Enrollment)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(str(error)) from None
    statement = _statement(enrollment.name, enrollment.public, enrollment.certificate_request)
    if not verify(enrollment.public, bytes.fromhex(enrollment.signature), *statement):
        raise DecodeError("it is not signed by the key that it names: something was altered")
    return enrollment


def _statement(name: str, public: bytes, request: str) -> tuple[Label, bytes, bytes, bytes]:
    return Label.ENROLLMENT, name.encode(), public, request.encode()
