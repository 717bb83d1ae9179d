"""Round 1, ShareKeys: each client deals shares of b_u and of its mask key to its neighbours.

Bonawitz et al. (CCS 2017), Figure 4, round 1. Beyond the paper, every share is committed to under
the dealer's signature, so that a bad share can be pinned on its dealer or on its holder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from secagg import context
from secagg.checks import Check
from secagg.crypto import merkle, shamir
from secagg.crypto.aead import seal
from secagg.crypto.hashing import Label, u64
from secagg.crypto.kdf import derive
from secagg.crypto.keys import KeyPair, agree, is_canonical, is_low_order
from secagg.crypto.randomness import Randomness
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import verify
from secagg.graph import graph_of
from secagg.policy import Policy
from secagg.rounds.machine import (
    SERVER,
    ClientState,
    ServerState,
    ServerStep,
    Step,
    abort,
    ascending,
    require,
)
from secagg.rounds.r0_advertise_keys import (
    Advertised,
    Advertising,
    ClientKeys,
    channel_pair,
)
from secagg.wire.messages import (
    Dealing,
    DeliveredKeys,
    DeliveredShares,
    EncryptedShares,
    KeyRoster,
    OpenedShare,
    OwnShares,
    ShareKeys,
    Wire,
)

SEED_BYTES = 32
SALT_BYTES = 32


@dataclass(frozen=True, slots=True)
class HeldShares:
    """What one holder has of one dealer's two secrets, ready to be opened in an answer."""

    self_mask: OpenedShare = field(repr=False)
    mask_key: OpenedShare = field(repr=False)


def leaves(
    roster: bytes, dealer: int, own: OwnShares, shares: Sequence[EncryptedShares]
) -> dict[int, bytes]:
    """The leaves of a dealer's tree by holder, ascending: neighbours and the dealer itself."""
    found = {
        s.v: context.share_leaf(
            roster, dealer, s.v, s.ciphertext, s.self_mask_commitment, s.mask_key_commitment
        )
        for s in shares
    }
    found[dealer] = context.share_leaf(
        roster, dealer, dealer, b"", own.self_mask_commitment, own.mask_key_commitment
    )
    return dict(sorted(found.items()))


def channel_key(
    private: Secret, public: bytes, roster: bytes, sender: int, recipient: int
) -> Secret:
    """The key of one direction of one pair; it seals one message only, so its nonce is zero.

    ``private``, ``public``: the channel keys that each of the two has for the other.
    """
    return derive(agree(private, public), Label.CHANNEL, roster, u64(sender), u64(recipient))


def associated_data(roster: bytes, sender: int, recipient: int) -> bytes:
    """What e_uv is bound to beside its key: context, sender, recipient."""
    return roster + u64(sender) + u64(recipient)


# --- client --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shared(ClientState):
    """The client has dealt its shares; it expects ShareDelivery."""

    vector: NDArray[np.int64] = field(repr=False)
    channel_seed: Secret
    mask: KeyPair
    seed: Secret
    keys: Mapping[int, DeliveredKeys]
    roster_digest: bytes
    dealing: Dealing
    own: HeldShares


def share_keys(state: Advertised, message: KeyRoster, randomness: Randomness) -> Step[Shared]:
    """Check U1 and deal; raises PeerViolation for a U1 that this client must not trust."""
    hospital, session, u = state.hospital, state.attempt.session, state.hospital.u
    keys = _checked_u1(hospital.policy, state, message.advertised)
    roster = context.roster_digest(session, [x.advertisement for x in message.advertised])
    holders = graph_of(hospital.policy, keys).neighbours(u)
    seed = Secret(randomness.draw(SEED_BYTES))
    threshold = hospital.policy.threshold
    seed_shares = shamir.split(seed, threshold, holders, randomness)
    key_shares = shamir.split(state.mask.private, threshold, holders, randomness)

    shares: list[EncryptedShares] = []
    for v in holders:
        held = HeldShares(
            OpenedShare(u, seed_shares[v], randomness.draw(SALT_BYTES)),
            OpenedShare(u, key_shares[v], randomness.draw(SALT_BYTES)),
        )
        commitments = commitments_to(roster, held, v)
        if v == u:
            own, own_shares = held, OwnShares(*commitments)
            continue
        private = channel_pair(state.channel_seed, v).private
        key = channel_key(private, keys[v].channel_key, roster, u, v)
        plaintext = (
            held.self_mask.share + held.self_mask.salt + held.mask_key.share + held.mask_key.salt
        )
        ciphertext = seal(key, plaintext, associated_data(roster, u, v))
        shares.append(EncryptedShares(v, ciphertext, *commitments))

    root = merkle.root(list(leaves(roster, u, own_shares, shares).values()))
    commitment = context.seed_commitment(roster, u, seed.reveal())
    signature = hospital.identity.sign(*context.share_keys(roster, u, root, commitment))
    shared = Shared(
        hospital=hospital,
        attempt=state.attempt,
        outbound=(ShareKeys(session, own_shares, tuple(shares), commitment, signature),),
        vector=state.vector,
        channel_seed=state.channel_seed,
        mask=state.mask,
        seed=seed,
        keys=keys,
        roster_digest=roster,
        dealing=Dealing(u, root, commitment, signature),
        own=own,
    )
    return Step(shared)


def commitments_to(roster: bytes, held: HeldShares, holder: int) -> tuple[bytes, bytes]:
    """The commitments to one holder's pair of shares; the opened shares name their dealer."""
    b, s = held.self_mask, held.mask_key
    return (
        context.share_commitment(roster, b.v, holder, Label.SELF_MASK, b.share, b.salt),
        context.share_commitment(roster, s.v, holder, Label.MASK_KEY, s.share, s.salt),
    )


def _checked_u1(
    policy: Policy, state: Advertised, listed: Sequence[DeliveredKeys]
) -> dict[int, DeliveredKeys]:
    advertisements = [x.advertisement for x in listed]
    u1 = [a.u for a in advertisements]
    require(ascending(u1) and set(u1) <= set(policy.members), Check.U1_WELL_FORMED, SERVER)
    require(len(u1) >= policy.min_survivors, Check.U1_LARGE_ENOUGH, SERVER, f"{len(u1)} clients")
    require(state.advertisement in advertisements, Check.SELF_IN_U1, SERVER)
    for a in advertisements:
        require(
            verify(
                policy.identity_key(a.u),
                a.signature,
                *context.advertisement(state.attempt.session, a.u, a.channel_root, a.mask_key),
            ),
            Check.ADVERTISEMENTS_SIGNED,
            SERVER,
            f"advertisement of {policy.name(a.u)}",
        )
    me = state.hospital.u
    for x in listed:
        leaf = context.channel_leaf(me, x.channel_key)
        require(
            merkle.verify(x.advertisement.channel_root, leaf, me - 1, policy.n, x.path),
            Check.CHANNEL_KEYS_COMMITTED,
            SERVER,
            f"channel key of {policy.name(x.advertisement.u)}",
        )
    public_keys = [key for x in listed for key in (x.channel_key, x.advertisement.mask_key)]
    require(all(map(is_canonical, public_keys)), Check.KEYS_CANONICAL, SERVER)
    require(not any(map(is_low_order, public_keys)), Check.KEYS_NOT_LOW_ORDER, SERVER)
    require(len(set(public_keys)) == len(public_keys), Check.KEYS_DISTINCT, SERVER)
    return {x.advertisement.u: x for x in listed}


# --- server --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dealt:
    """What one dealer sent, as the server relays it: signed statement, tree, shares by holder."""

    dealing: Dealing
    tree: merkle.Tree
    own: OwnShares
    shares: Mapping[int, EncryptedShares]

    def delivered_to(self, holder: int) -> DeliveredShares:
        """The part meant for ``holder``; the bare dealing if it is the dealer or no neighbour."""
        if holder not in self.shares:
            return DeliveredShares(self.dealing, None, ())
        index = sorted({self.dealing.u, *self.shares}).index(holder)
        return DeliveredShares(self.dealing, self.shares[holder], tuple(self.tree.path(index)))

    def commitments(self, holder: int) -> tuple[bytes, bytes]:
        """The signed commitments to the shares of ``holder``: of b_u, of the mask key."""
        dealt = self.own if holder == self.dealing.u else self.shares[holder]
        return dealt.self_mask_commitment, dealt.mask_key_commitment


@dataclass(frozen=True, slots=True)
class Sharing(ServerState):
    """U1 is relayed; encrypted shares come in."""

    advertised: Mapping[int, ClientKeys]
    roster_digest: bytes
    dealt: Mapping[int, Dealt] = field(default_factory=dict)

    @property
    def u1(self) -> tuple[int, ...]:
        """U1, ascending."""
        return tuple(self.advertised)

    def outbound(self, u: int) -> Iterable[Wire]:
        """U1, for its members that have not dealt."""
        if u not in self.awaited():
            return ()
        advertised = tuple(keys.delivered_to(u) for keys in self.advertised.values())
        return (KeyRoster(self.attempt.session, advertised),)

    def awaited(self) -> frozenset[int]:
        """The members of U1 that have not dealt."""
        return frozenset(self.u1) - self.dealt.keys()


def relay_advertisements(state: Advertising) -> ServerStep[ServerState]:
    """Round 0 ends: relay U1, or abort below the floor."""
    u1 = sorted(state.advertised)
    if len(u1) < state.policy.min_survivors:
        reason = f"{len(u1)} of at least {state.policy.min_survivors} hospitals advertised keys"
        return ServerStep(abort(state, reason), recipients=frozenset(u1))
    advertised = {u: state.advertised[u] for u in u1}
    sharing = Sharing(
        policy=state.policy,
        identity=state.identity,
        attempt=state.attempt,
        advertised=advertised,
        roster_digest=context.roster_digest(
            state.attempt.session, [keys.advertisement for keys in advertised.values()]
        ),
    )
    return ServerStep(sharing, recipients=frozenset(u1))


def collect_share_keys(state: Sharing, u: int, message: ShareKeys) -> Sharing:
    """Take one dealer's shares; the first message of a dealer stands."""
    name, roster = state.policy.name(u), state.roster_digest
    require(u in state.u1, Check.EXPECTED_MESSAGE, name, "not in U1")
    neighbours = [v for v in graph_of(state.policy, state.u1).neighbours(u) if v != u]
    require([s.v for s in message.shares] == neighbours, Check.SHARES_FOR_NEIGHBOURS, name)
    # The root is recomputed, never received: what is signed is what is relayed.
    tree = merkle.Tree(list(leaves(roster, u, message.own, message.shares).values()))
    require(
        verify(
            state.policy.identity_key(u),
            message.signature,
            *context.share_keys(roster, u, tree.root, message.seed_commitment),
        ),
        Check.SHARE_KEYS_SIGNED,
        name,
    )
    if u in state.dealt:
        return state
    dealing = Dealing(u, tree.root, message.seed_commitment, message.signature)
    dealt = Dealt(dealing, tree, message.own, {s.v: s for s in message.shares})
    return replace(state, dealt={**state.dealt, u: dealt})
