"""Round 0, AdvertiseKeys: fresh keys for one attempt, signed under the pinned identity.

Bonawitz et al. (CCS 2017), Figure 4, round 0, active-adversary variant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from secagg import context
from secagg.checks import Check
from secagg.context import Attempt
from secagg.crypto import merkle
from secagg.crypto.hashing import Label, u64
from secagg.crypto.kdf import derive
from secagg.crypto.keys import KeyPair, is_canonical, is_low_order
from secagg.crypto.randomness import Randomness
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey, verify
from secagg.errors import LocalMisuse
from secagg.policy import Policy
from secagg.rounds.journal import Entered, Standing
from secagg.rounds.machine import (
    SERVER,
    ClientState,
    Hospital,
    ServerState,
    ServerStep,
    Step,
    require,
)
from secagg.wire.messages import (
    AdvertiseKeys,
    Advertisement,
    Announcement,
    DeliveredKeys,
    Wire,
)

MAX_ATTEMPT = 1000
MAX_ROUND_GAP = 10_000
CHANNEL_SEED_BYTES = 32


def channel_pair(seed: Secret, peer: int) -> KeyPair:
    """The key pair c_u with which a client talks to ``peer`` alone.

    One pair for each peer: a complaint about one dealer's shares discloses one private key, and
    with it nothing that any other dealer has encrypted.
    """
    return KeyPair.from_private(derive(seed, Label.CHANNEL_KEY, u64(peer)))


def channel_tree(keys: Sequence[bytes]) -> merkle.Tree:
    """The tree over a client's channel keys, the one for peer v at place v - 1."""
    return merkle.Tree([context.channel_leaf(v, key) for v, key in enumerate(keys, 1)])


# --- client --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Advertised(ClientState):
    """The client has advertised; it expects KeyRoster. ``vector``: x_u before noise, int64 (d,)."""

    vector: NDArray[np.int64] = field(repr=False)
    channel_seed: Secret
    mask: KeyPair
    advertisement: Advertisement


def advertise_keys(
    hospital: Hospital,
    announcement: Announcement,
    *,
    standing: Standing,
    base_model_hash: bytes,
    batch_round: int,
    vector: NDArray[np.int64],
    randomness: Randomness,
) -> Step[Advertised]:
    """Enter an announced attempt with the integer vector x_u (clipped, not yet noised).

    ``batch_round``: the round for which this hospital's batch was made; it counts for later ones
    too, within MAX_ROUND_GAP, so that no single message can exhaust the counter.

    Raises PeerViolation if the announcement is not for this hospital's policy, model and journal;
    LocalMisuse if ``vector`` is not int64 of shape (d,) within ``max_value``.
    """
    attempt = accept(hospital.policy, announcement, standing, base_model_hash)
    require(
        batch_round <= attempt.round <= batch_round + MAX_ROUND_GAP,
        Check.ROUND_WANTED,
        SERVER,
        f"round {attempt.round}, the batch is for round {batch_round}",
    )
    require(
        standing.charged < hospital.policy.max_charged_attempts,
        Check.CHARGES_LEFT,
        SERVER,
        f"{standing.charged} attempts charged: the operator of this node must allow more",
    )
    _check_vector(hospital.policy, vector)
    channel_seed, mask = Secret(randomness.draw(CHANNEL_SEED_BYTES)), KeyPair.generate(randomness)
    channel_keys = tuple(channel_pair(channel_seed, v).public for v in hospital.policy.members)
    root = channel_tree(channel_keys).root
    session, u = attempt.session, hospital.u
    statement = context.advertisement(session, u, root, mask.public)
    advertisement = Advertisement(u, root, mask.public, hospital.identity.sign(*statement))
    message = AdvertiseKeys(
        policy_digest=attempt.policy_digest,
        round=attempt.round,
        attempt=attempt.attempt,
        base_model_hash=attempt.base_model_hash,
        session=session,
        channel_keys=channel_keys,
        advertisement=advertisement,
    )
    state = Advertised(
        hospital=hospital,
        attempt=attempt,
        outbound=(message,),
        vector=vector,
        channel_seed=channel_seed,
        mask=mask,
        advertisement=advertisement,
    )
    return Step(state, durable=(Entered(attempt),))


def accept(
    policy: Policy, announcement: Announcement, standing: Standing, base_model_hash: bytes
) -> Attempt:
    """The attempt that ``announcement`` opens, if this hospital may enter it."""
    attempt = Attempt(
        policy_digest=policy.digest(),
        round=announcement.round,
        attempt=announcement.attempt,
        base_model_hash=base_model_hash,
        server_nonce=announcement.server_nonce,
    )
    require(announcement.policy_digest == attempt.policy_digest, Check.POLICY_PINNED, SERVER)
    require(announcement.base_model_hash == base_model_hash, Check.BASE_MODEL_HELD, SERVER)
    require(
        verify(bytes.fromhex(policy.server_key), announcement.signature, *attempt.statement()),
        Check.ANNOUNCEMENT_SIGNED,
        SERVER,
    )
    require(1 <= announcement.attempt <= MAX_ATTEMPT, Check.ATTEMPT_BOUNDED, SERVER)
    require(
        (announcement.round, announcement.attempt) > standing.entered,
        Check.ATTEMPT_INCREASES,
        SERVER,
        f"announced {(announcement.round, announcement.attempt)}, entered {standing.entered}",
    )
    # A round in which this hospital has answered or signed must end first: two sums over one model
    # and one batch would differ by the vectors of those who are in one cohort only.
    require(
        announcement.round > max(standing.closed, standing.abandoning or 0)
        and standing.answered is None
        and standing.signed is None,
        Check.ROUND_OPEN,
        SERVER,
        f"round {announcement.round}",
    )
    return attempt


def _check_vector(policy: Policy, vector: NDArray[np.int64]) -> None:
    dimension, bound = policy.vector.dimension, policy.vector.max_value
    if vector.dtype != np.int64 or vector.shape != (dimension,):
        raise LocalMisuse(f"the vector must be int64 of shape ({dimension},)")
    if vector.size and (int(vector.min()) < -bound or int(vector.max()) > bound):
        raise LocalMisuse(f"a coordinate exceeds the policy's max_value {bound}: clip it first")


# --- server --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """What one client advertised, as the server relays it: signed statement, tree, channel keys."""

    advertisement: Advertisement
    tree: merkle.Tree
    channel_keys: tuple[bytes, ...]

    def channel_key(self, peer: int) -> bytes:
        """The public channel key for ``peer``."""
        return self.channel_keys[peer - 1]

    def delivered_to(self, peer: int) -> DeliveredKeys:
        """The part meant for ``peer``."""
        path = tuple(self.tree.path(peer - 1))
        return DeliveredKeys(self.advertisement, self.channel_key(peer), path)


@dataclass(frozen=True, slots=True)
class Advertising(ServerState):
    """The attempt is announced to ``invited``; advertisements come in."""

    invited: frozenset[int]
    announcement: Announcement
    advertised: Mapping[int, ClientKeys] = field(default_factory=dict)

    def outbound(self, u: int) -> Iterable[Wire]:
        """The announcement, for whoever is invited and has not advertised."""
        return (self.announcement,) if u in self.awaited() else ()

    def awaited(self) -> frozenset[int]:
        """The invited who have not advertised."""
        return self.invited - self.advertised.keys()


def announce(
    policy: Policy,
    identity: IdentityKey,
    *,
    round_number: int,
    attempt_number: int,
    base_model_hash: bytes,
    randomness: Randomness,
    invited: frozenset[int] | None = None,
) -> ServerStep[Advertising]:
    """Open attempt ``attempt_number`` (1..1000) of a training round; default: invite everybody."""
    attempt = Attempt(
        policy.digest(), round_number, attempt_number, base_model_hash, randomness.draw(32)
    )
    announcement = Announcement(
        policy_digest=attempt.policy_digest,
        round=round_number,
        attempt=attempt_number,
        base_model_hash=base_model_hash,
        server_nonce=attempt.server_nonce,
        signature=identity.sign(*attempt.statement()),
    )
    invited = frozenset(policy.members) if invited is None else invited
    state = Advertising(
        policy=policy,
        identity=identity,
        attempt=attempt,
        invited=invited,
        announcement=announcement,
    )
    return ServerStep(state, recipients=invited)


def collect_advertisement(state: Advertising, u: int, message: AdvertiseKeys) -> Advertising:
    """Take one client's advertisement into U1; the first one of a client stands."""
    name, attempt, advertisement = state.policy.name(u), state.attempt, message.advertisement
    stated = (message.policy_digest, message.round, message.attempt, message.base_model_hash)
    current = (
        attempt.policy_digest, attempt.round, attempt.attempt, attempt.base_model_hash
    )  # fmt: skip
    require(stated == current, Check.ADVERTISEMENT_CURRENT, name, "policy, round or model differ")
    # The root is recomputed, never received: what is signed is what is relayed.
    tree = channel_tree(message.channel_keys)
    require(
        advertisement.u == u
        and u in state.invited
        and len(message.channel_keys) == state.policy.n
        and advertisement.channel_root == tree.root
        and verify(
            state.policy.identity_key(u),
            advertisement.signature,
            *context.advertisement(attempt.session, u, tree.root, advertisement.mask_key),
        ),
        Check.ADVERTISEMENT_VALID,
        name,
    )
    # Every client would refuse a U1 with such keys in it, and blame the server.
    keys = (*message.channel_keys, advertisement.mask_key)
    require(all(map(is_canonical, keys)), Check.KEYS_CANONICAL, name)
    require(not any(map(is_low_order, keys)), Check.KEYS_NOT_LOW_ORDER, name)
    others = {x.advertisement.mask_key for v, x in state.advertised.items() if v != u}
    require(
        len(set(keys)) == len(keys) and advertisement.mask_key not in others,
        Check.KEYS_DISTINCT,
        name,
    )
    if u in state.advertised:
        return state
    client_keys = ClientKeys(advertisement, tree, message.channel_keys)
    return replace(state, advertised={**state.advertised, u: client_keys})
