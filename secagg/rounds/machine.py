"""What every state of the protocol is: frozen, knowing what it has sent and what it expects.

A state is left through one pure function ``(state, message, randomness) -> Step``. The base
refuses every message; ``secagg.rounds.table`` lists, in one place, which one each state accepts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Generic, TypeVar

from secagg.checks import Check
from secagg.context import Attempt
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey
from secagg.errors import PeerViolation
from secagg.policy import Policy
from secagg.rounds.journal import Entry
from secagg.wire.messages import Wire

SERVER = "server"


class Stage(StrEnum):
    """The rounds, by what a client sends in them."""

    ADVERTISE_KEYS = "advertise_keys"
    SHARE_KEYS = "share_keys"
    MASKED_INPUT = "masked_input"
    CONSISTENCY_CHECK = "consistency_check"
    UNMASKING = "unmasking"
    CERTIFICATION = "certification"


@dataclass(frozen=True, slots=True)
class Hospital:
    """Who this client is: its number under its pinned policy, and its two long-term keys.

    ``journal_key`` seals what the journal keeps; it never leaves the hospital.
    """

    policy: Policy
    u: int
    identity: IdentityKey
    journal_key: Secret

    def __post_init__(self) -> None:
        if self.policy.identity_key(self.u) != self.identity.public:
            raise ValueError(
                f"the identity key is not the one that the policy pins for "
                f"{self.policy.name(self.u)!r}: enroll the key that this node holds"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientState:
    """Base of a client's states. ``outbound`` is what entering the state sends, and what is sent
    again, unchanged, after a reconnect; iterating it twice yields the same bytes.
    """

    hospital: Hospital
    attempt: Attempt
    outbound: Iterable[Wire]


@dataclass(frozen=True, slots=True)
class Withdrawn(ClientState):
    """Terminal: this client has left the attempt. ``reason`` is for the log."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """Base of the server's states."""

    policy: Policy
    identity: IdentityKey
    attempt: Attempt

    def outbound(self, u: int) -> Iterable[Wire]:
        """What client ``u`` needs in order to go on from this state; empty if nothing."""
        return ()

    def awaited(self) -> frozenset[int]:
        """The clients whose message would advance this state; empty in terminal states."""
        return frozenset()


@dataclass(frozen=True, slots=True)
class Aborted(ServerState):
    """Terminal: the attempt ends without a sum. ``omit``: proven cheats, left out of the next."""

    reason: str
    omit: frozenset[int] = frozenset()


S_co = TypeVar("S_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Step(Generic[S_co]):
    """One transition of a client: the next state, and what must be durable before it sends."""

    state: S_co
    durable: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerStep(Generic[S_co]):
    """One transition of the server: the next state, and whom to send its ``outbound(u)``."""

    state: S_co
    recipients: frozenset[int] = frozenset()


def require(holds: bool, check: Check, peer: str, detail: str = "") -> None:
    """Raise PeerViolation for ``check`` unless it holds."""
    if not holds:
        raise PeerViolation(check, peer, detail)


def ascending(cohort: Iterable[int]) -> bool:
    """Whether clients are listed in strictly ascending order: sorted, and each once."""
    listed = list(cohort)
    return all(a < b for a, b in pairwise(listed))


def abort(state: ServerState, reason: str, omit: frozenset[int] = frozenset()) -> Aborted:
    """The terminal state of the attempt that ``state`` belongs to."""
    return Aborted(
        policy=state.policy,
        identity=state.identity,
        attempt=state.attempt,
        reason=reason,
        omit=omit,
    )
