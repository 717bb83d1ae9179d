"""How a server greets, and whether it is one that this node can work with."""

from __future__ import annotations

from secagg.errors import SecaggError
from secagg.wire.messages import PROTOCOL, Challenge


class ServerUnfit(SecaggError):
    """This server cannot be worked with; the text says why and how to mend it."""


def checked_challenge(greeting: object, policy_digest: bytes) -> Challenge:
    """The server's first message, if it is a Challenge of our protocol for the pinned policy.

    Raises ServerUnfit.
    """
    if not isinstance(greeting, Challenge):
        raise ServerUnfit("the server did not greet: is this the port of a secagg server?")
    if greeting.protocol != PROTOCOL:
        raise ServerUnfit(
            f"the server speaks protocol {greeting.protocol}, this node {PROTOCOL}: install "
            f"the same version of secagg on both"
        )
    if greeting.policy_digest != policy_digest:
        raise ServerUnfit(
            f"the server works under the policy {greeting.policy_digest.hex()}, this hospital "
            f"has pinned {policy_digest.hex()}: agree on one policy.json with the "
            f"consortium and install it on both sides"
        )
    return greeting
