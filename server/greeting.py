"""The first exchange of a connection: a challenge, and a Hello that shows who the party is."""

from __future__ import annotations

from typing import Final

from secagg import context
from secagg.crypto.signatures import verify
from secagg.policy import Policy
from secagg.wire.messages import PROTOCOL, Challenge, FromClient, Hello

FIRST_FRAME_BYTES: Final = 64 * 1024
_BYTES_PER_MEMBER: Final = 200  # two signatures with their numbers, and a place in a U3

_CLOSED: Final = "the connection was closed before Hello"
_UNGREETED: Final = "the first message of a party is Hello"
_STRANGER: Final = (
    "this Hello is not signed by a hospital of the roster: check name and [identity] in party.toml"
)


class Unwelcome(Exception):
    """This connection is refused; the reason is safe to show."""


def first_limit(policy: Policy) -> int:
    """Bytes of the longest frame that a stranger may send: a Hello with the roster's signatures."""
    return FIRST_FRAME_BYTES + _BYTES_PER_MEMBER * policy.n


def challenge(policy: Policy, nonce: bytes) -> Challenge:
    """How the server greets; ``nonce``: 32 fresh bytes."""
    return Challenge(PROTOCOL, policy.digest(), nonce)


def checked_hello(policy: Policy, nonce: bytes, message: FromClient | None) -> Hello:
    """The party's Hello, if it is one and a hospital of the roster has signed it for this nonce.

    Raises Unwelcome.
    """
    if not isinstance(message, Hello):
        raise Unwelcome(_CLOSED if message is None else _UNGREETED)
    if message.policy_digest != policy.digest():
        raise Unwelcome(
            f"this party has pinned the policy {message.policy_digest.hex()}, the server works "
            f"under {policy.digest().hex()}: install one policy.json on both sides"
        )
    if message.u not in policy.members or not verify(
        policy.identity_key(message.u), message.signature, *context.hello(nonce, message)
    ):
        raise Unwelcome(_STRANGER)
    return message
