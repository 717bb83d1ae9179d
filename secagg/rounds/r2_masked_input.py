"""Round 2, MaskedInputCollection: y_u = x_u + noise + p_u + sum of p_uv, streamed once.

Bonawitz et al. (CCS 2017), Figure 4, round 2. Holders check their shares here, before anything
that depends on their input leaves; a bad share ends in a complaint that anybody can verify.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from secagg import context
from secagg.checks import Check
from secagg.crypto import merkle
from secagg.crypto.aead import AuthenticationFailure, open_sealed
from secagg.crypto.hashing import Digest, Label, u64
from secagg.crypto.kdf import derive
from secagg.crypto.keys import KeyPair, agree
from secagg.crypto.randomness import Randomness
from secagg.crypto.secret import Secret
from secagg.crypto.shamir import SHARE_BYTES, ShareError, check_share
from secagg.crypto.signatures import verify
from secagg.errors import PeerViolation
from secagg.graph import graph_of, mask_sign
from secagg.rounds.journal import Charged
from secagg.rounds.machine import (
    SERVER,
    ClientState,
    Hospital,
    ServerState,
    ServerStep,
    Step,
    Withdrawn,
    abort,
    ascending,
    require,
)
from secagg.rounds.r0_advertise_keys import ClientKeys, channel_pair
from secagg.rounds.r1_share_keys import (
    SALT_BYTES,
    SEED_BYTES,
    Dealt,
    HeldShares,
    Shared,
    Sharing,
    associated_data,
    channel_key,
    commitments_to,
)
from secagg.vector.masking import Mask, apply_masks
from secagg.vector.packing import pack, packed_size
from secagg.vector.ring import Ring, Words
from secagg.vector.stream import slices
from secagg.wire.messages import (
    Complaint,
    DeliveredShares,
    EncryptedShares,
    MaskedInputSignature,
    OpenedShare,
    ShareDelivery,
    VectorChunk,
    Wire,
)


def pairwise_seed(private: Secret, public: bytes, u2: bytes, u: int, v: int) -> Secret:
    """s_uv, the same from either side."""
    return derive(agree(private, public), Label.PAIRWISE_SEED, u2, u64(min(u, v)), u64(max(u, v)))


def self_mask_seed(seed: Secret, u2: bytes, u: int) -> Secret:
    """What PRG(b_u) is keyed with: b_u in its context."""
    return derive(seed, Label.SELF_MASK, u2, u64(u))


# --- client --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MaskedInput:
    """y_u as it goes out: masked, packed and hashed chunk by chunk, never whole in memory.

    Iterating again yields the same bytes: this is the one masked input of its session.
    """

    hospital: Hospital
    session: bytes
    u2_hash: bytes
    ring: Ring
    noised: Words = field(repr=False)
    masks: Sequence[Mask] = field(repr=False)

    def __iter__(self) -> Iterator[Wire]:
        digest = Digest(Label.MASKED_INPUT, packed_size(self.noised.size, self.ring.bits))
        for where in slices(self.noised.size):
            words = self.noised[where].copy()
            apply_masks(words, self.masks, self.ring, where.start)
            data = pack(words, self.ring.bits)
            digest.update(data)
            yield VectorChunk(self.session, where.start, data)
        masked = digest.finish()
        statement = context.masked_input(self.u2_hash, self.hospital.u, masked)
        yield MaskedInputSignature(self.session, masked, self.hospital.identity.sign(*statement))


@dataclass(frozen=True, slots=True)
class Masked(ClientState):
    """The client sends its masked input; it expects SurvivorSet. ``held``: by dealer, all of U2."""

    u2_hash: bytes
    held: Mapping[int, HeldShares]
    noise_seed: Secret


def mask_input(
    state: Shared, message: ShareDelivery, randomness: Randomness
) -> Step[Masked] | Step[Withdrawn]:
    """Check U2 and every share in it, then noise and mask x_u; or complain and withdraw."""
    hospital, u = state.hospital, state.hospital.u
    policy, ring = hospital.policy, hospital.policy.ring
    u2 = _checked_u2(state, message.delivered)
    held: dict[int, HeldShares] = {u: state.own}
    for delivered in message.delivered:
        dealer = delivered.dealing.u
        if delivered.shares is not None:
            found = open_shares(
                delivered.shares,
                channel_pair(state.channel_seed, dealer).private,
                state.keys[dealer].channel_key,
                state.roster_digest,
                dealer,
            )
            if isinstance(found, Check):
                return _complain(state, dealer, found)
            held[dealer] = found

    digest = context.u2_hash(state.roster_digest, [x.dealing for x in message.delivered])
    peers = [v for v in graph_of(policy, state.keys).neighbours(u) if v in held and v != u]
    masks = [Mask(self_mask_seed(state.seed, digest, u), 1)] + [
        Mask(
            pairwise_seed(state.mask.private, state.keys[v].advertisement.mask_key, digest, u, v),
            mask_sign(u, v),
        )
        for v in peers
    ]
    noise_seed = Secret(randomness.draw(SEED_BYTES))
    noise = policy.mechanism.noise(noise_seed.reveal(), policy.vector.dimension, len(u2))
    masked = Masked(
        hospital=hospital,
        attempt=state.attempt,
        outbound=MaskedInput(
            hospital, state.attempt.session, digest, ring, ring.encode(state.vector + noise), masks
        ),
        u2_hash=digest,
        held=held,
        noise_seed=noise_seed,
    )
    # The mask private key and b_u have done their work here; what others need of them is dealt.
    state.seed.wipe()
    state.mask.private.wipe()
    state.channel_seed.wipe()
    return Step(masked, durable=(Charged(state.attempt, digest),))


def open_shares(
    shares: EncryptedShares, private: Secret, dealer_public: bytes, roster: bytes, dealer: int
) -> HeldShares | Check:
    """The two shares that ``dealer`` encrypted to ``shares.v``, or the check that they break.

    ``private``, ``dealer_public``: their channel keys for each other. A complaint's verifier runs
    this very function.
    """
    key = channel_key(private, dealer_public, roster, dealer, shares.v)
    try:
        plain = open_sealed(key, shares.ciphertext, associated_data(roster, dealer, shares.v))
    except AuthenticationFailure:
        return Check.SHARES_DECRYPT
    half = SHARE_BYTES + SALT_BYTES
    held = HeldShares(
        OpenedShare(dealer, plain[:SHARE_BYTES], plain[SHARE_BYTES:half]),
        OpenedShare(dealer, plain[half : half + SHARE_BYTES], plain[half + SHARE_BYTES :]),
    )
    try:
        check_share(shares.v, held.self_mask.share)
        check_share(shares.v, held.mask_key.share)
    except ShareError:
        return Check.SHARES_OPEN
    committed = (shares.self_mask_commitment, shares.mask_key_commitment)
    return held if commitments_to(roster, held, shares.v) == committed else Check.SHARES_OPEN


def _checked_u2(state: Shared, delivered: Sequence[DeliveredShares]) -> list[int]:
    policy, u, roster = state.hospital.policy, state.hospital.u, state.roster_digest
    u2 = [x.dealing.u for x in delivered]
    require(ascending(u2) and set(u2) <= state.keys.keys(), Check.U2_WELL_FORMED, SERVER)
    require(len(u2) >= policy.min_survivors, Check.U2_LARGE_ENOUGH, SERVER, f"{len(u2)} clients")
    require(state.dealing in [x.dealing for x in delivered], Check.SELF_IN_U2, SERVER)
    graph = graph_of(policy, state.keys)
    for x in delivered:
        dealing, holders = x.dealing, graph.neighbours(x.dealing.u)
        require(
            verify(
                policy.identity_key(dealing.u),
                dealing.signature,
                *context.share_keys(roster, dealing.u, dealing.root, dealing.seed_commitment),
            ),
            Check.DEALERS_SIGNED,
            SERVER,
            f"dealing of {policy.name(dealing.u)}",
        )
        deals_to_me = u in holders and dealing.u != u
        require((x.shares is not None) == deals_to_me, Check.SHARE_COMMITTED, SERVER)
        if x.shares is not None:
            s = x.shares
            leaf = context.share_leaf(
                roster, dealing.u, u, s.ciphertext, s.self_mask_commitment, s.mask_key_commitment
            )
            require(
                s.v == u
                and merkle.verify(dealing.root, leaf, holders.index(u), len(holders), x.path),
                Check.SHARE_COMMITTED,
                SERVER,
                f"shares dealt by {policy.name(dealing.u)}",
            )
    return u2


def _complain(state: Shared, dealer: int, check: Check) -> Step[Withdrawn]:
    hospital, private = state.hospital, channel_pair(state.channel_seed, dealer).private.reveal()
    statement = context.complaint(state.roster_digest, hospital.u, dealer, private)
    complaint = Complaint(
        state.attempt.session, dealer, private, hospital.identity.sign(*statement)
    )
    # It masks nothing any more, and its other channel keys are nobody's business.
    state.seed.wipe()
    state.mask.private.wipe()
    state.channel_seed.wipe()
    return Step(
        Withdrawn(
            hospital=hospital,
            attempt=state.attempt,
            outbound=(complaint,),
            reason=str(PeerViolation(check, hospital.policy.name(dealer), "complaint sent")),
        )
    )


# --- server --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MaskedInputReceived:
    """Server-side event: all chunks of ``u``'s masked input came, and this stood at their end.

    ``received_digest`` is what the receiver computed over the bytes.
    """

    session: bytes
    received_digest: bytes
    message: MaskedInputSignature


@dataclass(frozen=True, slots=True)
class Masking(ServerState):
    """Shares are delivered; masked inputs come in. ``masked``: digest and signature, by client."""

    keys: Mapping[int, ClientKeys]
    roster_digest: bytes
    dealt: Mapping[int, Dealt]
    u2_hash: bytes
    masked: Mapping[int, MaskedInputSignature] = field(default_factory=dict)

    @property
    def u2(self) -> tuple[int, ...]:
        """U2, ascending."""
        return tuple(self.dealt)

    def outbound(self, u: int) -> Iterable[Wire]:
        """The shares dealt to ``u``, for members of U2 whose masked input has not come."""
        if u not in self.awaited():
            return ()
        delivered = tuple(dealt.delivered_to(u) for dealt in self.dealt.values())
        return (ShareDelivery(self.attempt.session, delivered),)

    def awaited(self) -> frozenset[int]:
        """The members of U2 whose masked input has not come."""
        return frozenset(self.u2) - self.masked.keys()


def deliver_shares(state: Sharing) -> ServerStep[ServerState]:
    """Round 1 ends: hand every member of U2 its shares, or abort below the floor."""
    u2 = sorted(state.dealt)
    if len(u2) < state.policy.min_survivors:
        reason = f"{len(u2)} of at least {state.policy.min_survivors} hospitals shared keys"
        return ServerStep(abort(state, reason), recipients=frozenset(u2))
    dealt = {u: state.dealt[u] for u in u2}
    masking = Masking(
        policy=state.policy,
        identity=state.identity,
        attempt=state.attempt,
        keys=state.advertised,
        roster_digest=state.roster_digest,
        dealt=dealt,
        u2_hash=context.u2_hash(state.roster_digest, [x.dealing for x in dealt.values()]),
    )
    return ServerStep(masking, recipients=frozenset(u2))


def collect_masked_input(state: Masking, u: int, event: MaskedInputReceived) -> Masking:
    """Take one client into U3, its masked input being complete and signed; it can't send two."""
    name, message = state.policy.name(u), event.message
    require(u in state.u2, Check.EXPECTED_MESSAGE, name, "not in U2")
    require(
        message.masked_digest == event.received_digest
        and verify(
            state.policy.identity_key(u),
            message.signature,
            *context.masked_input(state.u2_hash, u, message.masked_digest),
        ),
        Check.MASKED_INPUT_SIGNED,
        name,
    )
    if u in state.masked:
        earlier = state.masked[u].masked_digest
        require(earlier == message.masked_digest, Check.MASKED_INPUT_ONCE, name)
        return state
    return replace(state, masked={**state.masked, u: message})


def judge_complaint(state: Masking, u: int, message: Complaint) -> ServerStep[ServerState]:
    """A proven complaint ends the attempt and names the dealer; a false one names the holder.

    The complainer discloses its channel key for that dealer, so that anyone can redo the check. It
    opens what these two dealt each other and nothing else: the dealer is a cheat, and the
    complainer has sent no masked input and never will.
    """
    policy, name, dealer = state.policy, state.policy.name(u), message.dealer
    require(
        u in state.awaited() and dealer in state.dealt and u in state.dealt[dealer].shares,
        Check.EXPECTED_MESSAGE,
        name,
    )
    private = Secret(message.channel_private_key)
    statement = context.complaint(state.roster_digest, u, dealer, message.channel_private_key)
    found: HeldShares | Check = open_shares(
        state.dealt[dealer].shares[u],
        private,
        state.keys[dealer].channel_key(u),
        state.roster_digest,
        dealer,
    )
    require(
        verify(policy.identity_key(u), message.signature, *statement)
        and KeyPair.from_private(private).public == state.keys[u].channel_key(dealer)
        and isinstance(found, Check),
        Check.COMPLAINT_PROVEN,
        name,
        f"about {policy.name(dealer)}",
    )
    reason = f"{policy.name(dealer)} dealt bad shares to {name}, who proved it"
    aborted = abort(state, reason, omit=frozenset({dealer}))
    return ServerStep(aborted, recipients=frozenset(state.u2) - {dealer})
