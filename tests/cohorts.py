"""Cohorts to test and to attack: honest clients and a server in memory, every message in reach.

A test moves a cohort with :func:`step` and :func:`reach`; ``down`` and ``up`` are where a
malicious server or client changes what is sent. :class:`Loot` is what a malicious server has
collected, and :func:`opened_sum` what it can read with it. :func:`without` removes a check from
everybody, which shows what the check is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, Final, TypeVar

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from secagg import context
from secagg.checks import Check
from secagg.context import Attempt
from secagg.crypto import merkle, shamir
from secagg.crypto.randomness import SeededRandomness
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey
from secagg.errors import PeerViolation
from secagg.graph import mask_sign
from secagg.policy import Member, NoiseSpec, Policy, VectorSpec, checked
from secagg.rounds import (
    machine,
    r0_advertise_keys,
    r1_share_keys,
    r2_masked_input,
    r3_consistency_check,
    r4_unmasking,
    r5_certification,
)
from secagg.rounds.r0_advertise_keys import Advertised, ClientKeys
from secagg.rounds.r1_share_keys import HeldShares, Shared, leaves
from secagg.rounds.r2_masked_input import Masked, Masking, pairwise_seed, self_mask_seed
from secagg.rounds.session import ClientSession
from secagg.simulate import Cohort
from secagg.vector.masking import Mask, apply_masks
from secagg.wire.messages import (
    AdvertiseKeys,
    Advertisement,
    Dealing,
    EncryptedShares,
    ShareKeys,
    UnmaskingAnswer,
    Wire,
)

Vector = NDArray[np.int64]
Tamper = Callable[[int, Wire], Wire | None]
State = TypeVar("State")
Message = TypeVar("Message", bound=msgspec.Struct)

SERVER: Final = machine.SERVER
ROUNDS: Final[tuple[ModuleType, ...]] = (
    r0_advertise_keys,
    r1_share_keys,
    r2_masked_input,
    r3_consistency_check,
    r4_unmasking,
    r5_certification,
)


# --- a cohort ------------------------------------------------------------------------------------


def template(
    n: int = 4,
    *,
    corrupt: int | None = None,
    dropouts: int | None = None,
    min_survivors: int | None = None,
    dimension: int = 3,
    max_value: int = 10_000,
    noise: NoiseSpec | None = None,
    max_charged_attempts: int = 3,
) -> Policy:
    """A policy with made-up keys; by default c = max(1, n // 5), d = n - t, min_survivors = t."""
    c = max(1, n // 5) if corrupt is None else corrupt
    t = (n + c) // 2 + 1
    d = n - t if dropouts is None else dropouts
    return checked(
        Policy(
            consortium="tests",
            server_key="00" * 32,
            roster=tuple(Member(f"hospital-{u}", f"{u:064x}") for u in range(1, n + 1)),
            corrupt=c,
            dropouts=d,
            min_survivors=t if min_survivors is None else min_survivors,
            vector=VectorSpec(dimension=dimension, max_value=max_value),
            noise=noise or NoiseSpec(),
            max_charged_attempts=max_charged_attempts,
        )
    )


def vectors(policy: Policy) -> dict[int, Vector]:
    """One vector for each client, all different and easy to recognise: 100 u + i."""
    places = np.arange(policy.vector.dimension, dtype=np.int64)
    return {u: 100 * u + places for u in policy.members}


def assembled(policy: Policy | None = None, seed: bytes = b"tests") -> Cohort:
    """A cohort with keys, before any attempt."""
    return Cohort.assembled(policy or template(), SeededRandomness(seed))


def opened(policy: Policy | None = None, seed: bytes = b"tests") -> Cohort:
    """A cohort to which attempt 1 of round 1 has been announced."""
    cohort = assembled(policy, seed)
    cohort.open(vectors(cohort.policy))
    return cohort


def step(
    cohort: Cohort,
    clients: Iterable[int] | None = None,
    *,
    down: Tamper | None = None,
    up: Tamper | None = None,
) -> None:
    """One round trip between the server and ``clients`` (default: all).

    ``down`` changes what reaches a client, ``up`` what reaches the server; None is not delivered.
    """
    replies: list[tuple[int, Wire]] = []
    for u in cohort.policy.members if clients is None else clients:
        for message in tuple(cohort.to_client(u)):
            received = message if down is None else down(u, message)
            if received is not None:
                replies += [(u, reply) for reply in cohort.deliver(u, received)]
    for u, reply in replies:
        sent = reply if up is None else up(u, reply)
        if sent is not None:
            cohort.collect(u, sent)


def reach(cohort: Cohort, state: type[State], clients: Iterable[int] | None = None) -> State:
    """Exchange honest messages with ``clients`` until the server is in ``state``, and return it."""
    taking_part = tuple(cohort.policy.members if clients is None else clients)
    for _ in range(8):
        current = cohort.server.state
        if isinstance(current, state):
            return current
        step(cohort, taking_part)
        if cohort.server.state is current or type(cohort.server.state) is type(current):
            cohort.server.close()
    raise AssertionError(f"the server is in {type(cohort.server.state).__name__}")


def state_of(cohort: Cohort, u: int, state: type[State]) -> State:
    """Client u's state, which must be of this type."""
    current = cohort.sessions[u].state
    assert isinstance(current, state), type(current).__name__
    return current


def message_for(cohort: Cohort, u: int) -> Any:
    """The one message that the server has for client ``u`` now."""
    (message,) = cohort.to_client(u)
    return message


def delivered(cohort: Cohort, u: int, message: Wire) -> list[Any]:
    """Hand ``message`` to client ``u``; everything that it sends."""
    return list(cohort.deliver(u, message))


def changed(message: Message, **fields: Any) -> Message:
    """``message`` with some of its fields replaced."""
    return msgspec.structs.replace(message, **fields)


def replaced(items: Sequence[Any], place: int, item: Any) -> tuple[Any, ...]:
    """``items`` with the one at ``place`` replaced."""
    return (*items[:place], item, *items[place + 1 :])


def flipped(data: bytes) -> bytes:
    """``data`` with its last bit flipped."""
    return data[:-1] + bytes([data[-1] ^ 1])


def stranger(name: bytes) -> IdentityKey:
    """An identity that no policy pins."""
    return IdentityKey(Secret(SeededRandomness(name).draw(32)))


# --- checks --------------------------------------------------------------------------------------


@contextmanager
def refused(check: Check, peer: str = SERVER) -> Iterator[None]:
    """What is done inside ends in a PeerViolation of exactly this check, laid to ``peer``."""
    with pytest.raises(PeerViolation) as caught:
        yield
    assert caught.value.check is check, str(caught.value)
    assert caught.value.peer == peer, str(caught.value)


@contextmanager
def without(*removed: Check) -> Iterator[None]:
    """Inside, nobody makes these checks."""

    def lenient(holds: bool, check: Check, peer: str, detail: str = "") -> None:
        if check not in removed:
            machine.require(holds, check, peer, detail)

    with pytest.MonkeyPatch.context() as patch:
        for module in ROUNDS:
            patch.setattr(module, "require", lenient)
        yield


# --- what a malicious server can read ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Facts:
    """What the server knows of one attempt from round 2 on: who masked with whose keys."""

    attempt: Attempt
    u2_hash: bytes
    u2: tuple[int, ...]
    mask_keys: Mapping[int, bytes]

    @classmethod
    def of(cls, state: Masking) -> Facts:
        """As they stand once U2 is known."""
        keys = {u: keys.advertisement.mask_key for u, keys in state.keys.items()}
        return cls(state.attempt, state.u2_hash, state.u2, keys)


@dataclass(slots=True)
class Loot:
    """The shares that a malicious server holds: owner -> holder -> share, of b and of s."""

    threshold: int
    self_masks: dict[int, dict[int, bytes]] = field(default_factory=dict)
    mask_keys: dict[int, dict[int, bytes]] = field(default_factory=dict)

    def take_answer(self, holder: int, answer: UnmaskingAnswer) -> None:
        """Shares out of an unmasking answer."""
        for opened_share in answer.self_mask_shares:
            self.self_masks.setdefault(opened_share.v, {})[holder] = opened_share.share
        for opened_share in answer.mask_key_shares:
            self.mask_keys.setdefault(opened_share.v, {})[holder] = opened_share.share

    def take_held(self, holder: int, held: Mapping[int, HeldShares]) -> None:
        """Everything that a colluding hospital holds, of both kinds."""
        for owner, shares in held.items():
            self.self_masks.setdefault(owner, {})[holder] = shares.self_mask.share
            self.mask_keys.setdefault(owner, {})[holder] = shares.mask_key.share

    def seeds(self) -> dict[int, Secret]:
        """b_u of everybody of whom there are t shares."""
        return self._combined(self.self_masks)

    def privates(self) -> dict[int, Secret]:
        """The mask private key of everybody of whom there are t shares."""
        return self._combined(self.mask_keys)

    def _combined(self, shares: Mapping[int, Mapping[int, bytes]]) -> dict[int, Secret]:
        return {
            owner: shamir.combine(dict(sorted(held.items())[: self.threshold]))
            for owner, held in shares.items()
            if len(held) >= self.threshold
        }


def colluding(cohort: Cohort, u: int, loot: Loot) -> None:
    """Hospital u, having masked its input, hands the server all the shares it holds."""
    loot.take_held(u, state_of(cohort, u, Masked).held)


def masked_words(cohort: Cohort, u: int) -> NDArray[Any]:
    """y_u as the server received it."""
    return np.concatenate([words for _, words in cohort.spool[u]])


def opened_sum(
    cohort: Cohort,
    facts: Facts,
    over: Sequence[int],
    seeds: Mapping[int, Secret],
    mask_keys: Mapping[int, Secret],
) -> Vector | None:
    """The sum of the inputs of ``over``, if these secrets remove every mask from it; else None."""
    outside = [w for w in facts.u2 if w not in over]
    if not all(u in seeds for u in over):
        return None
    masks = [Mask(self_mask_seed(seeds[u], facts.u2_hash, u), -1) for u in over]
    for u in over:
        for w in outside:
            if w in mask_keys:
                private, public = mask_keys[w], facts.mask_keys[u]
            elif u in mask_keys:
                private, public = mask_keys[u], facts.mask_keys[w]
            else:
                return None
            seed = pairwise_seed(private, public, facts.u2_hash, u, w)
            masks.append(Mask(seed, mask_sign(w, u)))  # the opposite of what u added
    ring = cohort.policy.ring
    total = np.zeros(cohort.policy.vector.dimension, ring.dtype)
    for u in over:
        total += masked_words(cohort, u)
    ring.reduce(total)
    apply_masks(total, masks, ring)
    return ring.decode(total)


def plain_sum(cohort: Cohort, over: Iterable[int]) -> Vector:
    """What the inputs of ``over`` add up to."""
    total: Vector = np.sum([cohort.vectors[u] for u in over], axis=0)
    return total


# --- what a malicious hospital can sign ----------------------------------------------------------


def readvertised(
    cohort: Cohort,
    u: int,
    *,
    channel_keys: Sequence[bytes] | None = None,
    mask_key: bytes | None = None,
) -> ClientKeys:
    """Hospital u's own advertisement with other keys in it, properly signed."""
    message = state_of(cohort, u, Advertised).outbound
    (original,) = (m for m in message if isinstance(m, AdvertiseKeys))
    keys = tuple(channel_keys or original.channel_keys)
    return advertisement_of(
        cohort.hospitals[u].identity,
        original.session,
        u,
        keys,
        mask_key or original.advertisement.mask_key,
    )


def advertisement_of(
    identity: IdentityKey, session: bytes, u: int, channel_keys: Sequence[bytes], mask_key: bytes
) -> ClientKeys:
    """Keys advertised in the name of client ``u``, signed by whoever ``identity`` is."""
    tree = r0_advertise_keys.channel_tree(channel_keys)
    signature = identity.sign(*context.advertisement(session, u, tree.root, mask_key))
    return ClientKeys(Advertisement(u, tree.root, mask_key, signature), tree, tuple(channel_keys))


def redealt(
    cohort: Cohort,
    u: int,
    message: ShareKeys,
    shares: Mapping[int, EncryptedShares],
    seed_commitment: bytes | None = None,
) -> ShareKeys:
    """Hospital u's dealing with other shares for some holders in it, properly signed; from here on
    it stands by it.
    """
    shared = state_of(cohort, u, Shared)
    roster = shared.roster_digest
    dealt = tuple(shares.get(s.v, s) for s in message.shares)
    root = merkle.root(list(leaves(roster, u, message.own, dealt).values()))
    commitment = seed_commitment or message.seed_commitment
    signature = cohort.hospitals[u].identity.sign(*context.share_keys(roster, u, root, commitment))
    dealing = Dealing(u, root, commitment, signature)
    cohort.sessions[u] = ClientSession(replace(shared, dealing=dealing))
    return ShareKeys(message.session, message.own, dealt, commitment, signature)
