"""What a hospital gets back: the policy, where the server is, and a certificate for its own key.

Nothing in it is secret. It is not signed either: the hospital has no key of the consortium before
it has the policy, so it compares the policy's fingerprint by telephone.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, final

import msgspec

from secagg.enrollment.settings import is_host
from secagg.errors import DecodeError
from secagg.policy import MAX_POLICY_BYTES, Name, Policy, checked

MAX_BYTES: Final = MAX_POLICY_BYTES + 64 * 1024
_Pem = Annotated[str, msgspec.Meta(max_length=16 * 1024)]


@final
class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The consortium's answer to the enrollment of ``name``.

    ``authority``, ``certificate``: PEM; the authority issued the server's certificate as well.
    ``server_host``, ``server_port``: where hospitals reach the server.
    """

    schema: Literal["secagg-answer/1"] = "secagg-answer/1"
    name: Name
    policy: Policy
    authority: _Pem
    certificate: _Pem
    server_host: str
    server_port: Annotated[int, msgspec.Meta(ge=1, le=65535)]

    def encoded(self) -> bytes:
        """As JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def read(data: bytes) -> Answer:
    """The answer in ``data``, its policy within every bound. Raises DecodeError."""
    if len(data) > MAX_BYTES:
        raise DecodeError(f"{len(data)} bytes; an answer has at most {MAX_BYTES}")
    try:
        answer = msgspec.json.decode(data, type=Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(str(error)) from None
    checked(answer.policy)
    if not is_host(answer.server_host):
        raise DecodeError("server_host is neither a host name nor an IP address")
    return answer
