"""The four ways in which something can go wrong, told apart by whose fault it is.

No exception of this module ever carries a key, a share, a vector or patient content.
"""

from __future__ import annotations

from secagg.checks import Check


class SecaggError(Exception):
    """Base of every error that this package raises on purpose."""


class LocalMisuse(SecaggError):
    """The caller on this machine broke a rule of the interface; nothing was sent."""


class DecodeError(SecaggError):
    """Bytes that are not a well-formed message of this protocol, or not within its bounds."""


class PeerViolation(SecaggError):
    """A peer broke the protocol: which check found it, who, and what was seen.

    Attributes: ``check`` (its id stands in docs/protocol.md), ``peer`` (``"server"`` or the
    hospital's name), ``detail`` (no secrets).
    """

    def __init__(self, check: Check, peer: str, detail: str = "") -> None:
        self.check = check
        self.peer = peer
        self.detail = detail
        tail = f": {detail}" if detail else ""
        super().__init__(f"{check.id} ({check.statement}) broken by {peer}{tail}")


class SessionAborted(SecaggError):
    """The attempt ends without a sum. ``reason`` says why, in words for an operator."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
