"""Round 4, Unmasking: t answers open b_u of the survivors and the mask keys of the dropped.

Bonawitz et al. (CCS 2017), Figure 4, round 4. An answer is a release: it is journalled before it
is sent, and its client takes part in no other attempt of that training round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from secagg import context
from secagg.checks import Check
from secagg.crypto import shamir
from secagg.crypto.hashing import Label
from secagg.crypto.keys import KeyPair
from secagg.crypto.randomness import Randomness
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import verify
from secagg.errors import PeerViolation
from secagg.graph import graph_of, mask_sign
from secagg.policy import Policy
from secagg.rounds.journal import AnswerReleased
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
from secagg.rounds.r1_share_keys import Dealt
from secagg.rounds.r2_masked_input import pairwise_seed, self_mask_seed
from secagg.rounds.r3_consistency_check import Checking, Confirmed, signed, unseal_answer
from secagg.vector.masking import Mask
from secagg.wire.messages import (
    Advertisement,
    MaskedInputSignature,
    OpenedShare,
    Signed,
    SurvivorSignatures,
    UnmaskingAnswer,
    Wire,
)

# --- client --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answered(ClientState):
    """The client has answered; what is left is the sum and its certification."""

    u2_hash: bytes
    u3: tuple[int, ...]


def answer(
    state: Confirmed,
    message: SurvivorSignatures,
    randomness: Randomness,
) -> Step[Answered]:
    """Answer once at least t members of U3 have signed the very U3 that this client signed."""
    session = state.attempt.session
    check_survivors(state.hospital.policy, session, state.u2_hash, state.u3, message.signatures)
    answered = Answered(
        hospital=state.hospital,
        attempt=state.attempt,
        outbound=(unseal_answer(state),),
        u2_hash=state.u2_hash,
        u3=state.u3,
    )
    return Step(answered, durable=(AnswerReleased(state.attempt),))


def check_survivors(
    policy: Policy,
    session: bytes,
    u2: bytes,
    u3: tuple[int, ...],
    signatures: Iterable[Signed],
) -> None:
    """Raise PeerViolation unless t or more members of U3 signed exactly this U2 and U3."""
    listed = tuple(signatures)
    signers = [s.u for s in listed]
    require(ascending(signers) and set(signers) <= set(u3), Check.SURVIVORS_WELL_FORMED, SERVER)
    for s in listed:
        require(
            verify(policy.identity_key(s.u), s.signature, *context.survivor(session, u2, s.u, u3)),
            Check.SURVIVORS_VALID,
            SERVER,
            f"signature of {policy.name(s.u)}",
        )
    require(
        len(listed) >= policy.threshold,
        Check.SURVIVORS_QUORUM,
        SERVER,
        f"{len(listed)} of {policy.threshold}",
    )


# --- server --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unmasking(ServerState):
    """Survivor signatures are relayed; answers come in. Past its deadline the attempt stays here,
    *awaiting unmasking*, with the same U3.
    """

    keys: Mapping[int, Advertisement]
    roster_digest: bytes
    dealt: Mapping[int, Dealt]
    u2_hash: bytes
    masked: Mapping[int, MaskedInputSignature]
    signatures: Mapping[int, bytes]
    answers: Mapping[int, UnmaskingAnswer] = field(default_factory=dict)

    @property
    def u3(self) -> tuple[int, ...]:
        """U3, ascending."""
        return tuple(self.masked)

    @property
    def dropped(self) -> tuple[int, ...]:
        """U2 minus U3, ascending: whose mask keys are opened."""
        return tuple(v for v in self.dealt if v not in self.masked)

    @property
    def has_enough(self) -> bool:
        """Whether t answers are here, which make the sum."""
        return len(self.answers) >= self.policy.threshold

    def outbound(self, u: int) -> Iterable[Wire]:
        """The survivor signatures, for members of U4 that have not answered."""
        if u not in self.awaited():
            return ()
        return (SurvivorSignatures(self.attempt.session, signed(self.signatures)),)

    def awaited(self) -> frozenset[int]:
        """The members of U4 that have not answered."""
        return frozenset(self.signatures) - self.answers.keys()


@dataclass(frozen=True, slots=True)
class Unmasked(ServerState):
    """Every seed is reconstructed. Removing ``masks`` from the aggregate of U3 leaves the sum.

    ``answered``: the state that the answers came in. ``self_mask_seeds``: b_u by survivor;
    ``mask_keys``: private mask key by dropped client.
    """

    answered: Unmasking = field(repr=False)
    self_mask_seeds: Mapping[int, Secret]
    mask_keys: Mapping[int, Secret]
    masks: tuple[Mask, ...] = field(repr=False)

    @property
    def u2_hash(self) -> bytes:
        """Of U2 and its dealings."""
        return self.answered.u2_hash

    @property
    def u3(self) -> tuple[int, ...]:
        """U3, ascending."""
        return self.answered.u3

    @property
    def signatures(self) -> Mapping[int, bytes]:
        """The survivor signatures, by member of U4."""
        return self.answered.signatures

    def surplus_noise(self) -> NDArray[np.int64]:
        """What to subtract from the unmasked sum; ``surplus_noise`` of the module."""
        seeds = [message.surplus_seeds for message in self.answered.answers.values()]
        return surplus_noise(self.policy, seeds, len(self.answered.dealt), len(self.u3))


def surplus_noise(
    policy: Policy, disclosed: Iterable[tuple[bytes, ...]], shared: int, survivors: int
) -> NDArray[np.int64]:
    """The noise components that U3 does not need, from the seeds ``disclosed`` by their owners.

    ``shared``: |U2|; ``survivors``: |U3|. Who has not answered leaves its surplus in: more noise,
    never less. int64, shape (d,).
    """
    surplus = np.zeros(policy.vector.dimension, np.int64)
    for seeds in disclosed:
        surplus += policy.mechanism.surplus_noise(seeds, policy.vector.dimension, shared, survivors)
    return surplus


def relay_survivor_signatures(state: Checking) -> ServerStep[ServerState]:
    """Round 3 ends: relay U4's signatures, or abort below t (nobody has answered anything yet)."""
    if len(state.signatures) < state.policy.threshold:
        reason = f"{len(state.signatures)} of at least {state.policy.threshold} survivors signed U3"
        return ServerStep(abort(state, reason), recipients=frozenset(state.u3))
    unmasking = Unmasking(
        policy=state.policy,
        identity=state.identity,
        attempt=state.attempt,
        keys=state.keys,
        roster_digest=state.roster_digest,
        dealt=state.dealt,
        u2_hash=state.u2_hash,
        masked=state.masked,
        signatures=state.signatures,
    )
    return ServerStep(unmasking, recipients=frozenset(state.signatures))


def collect_answer(state: Unmasking, u: int, message: UnmaskingAnswer) -> Unmasking:
    """Take one answer of U4 if it opens exactly what it must; else its sender is named."""
    policy, name = state.policy, state.policy.name(u)
    require(u in state.signatures, Check.EXPECTED_MESSAGE, name, "has not signed U3")
    shares = message.self_mask_shares, message.mask_key_shares
    require(
        verify(
            policy.identity_key(u),
            message.signature,
            *context.answer(state.u2_hash, state.u3, u, message),
        ),
        Check.ANSWER_SIGNED,
        name,
    )
    graph = graph_of(policy, state.keys)
    held = [v for v in state.dealt if u in graph.neighbours(v)]
    expected = [v for v in held if v in state.masked], [v for v in held if v not in state.masked]
    surplus = policy.mechanism.surplus(len(state.dealt), len(state.u3))
    require(
        tuple([opened.v for opened in listed] for listed in shares) == expected
        and len(message.surplus_seeds) == len(surplus),
        Check.ANSWER_EXACT,
        name,
    )
    for kind, listed in zip((Label.SELF_MASK, Label.MASK_KEY), shares, strict=True):
        for opened in listed:
            require(
                _opens(state, u, kind, opened),
                Check.ANSWER_OPENS,
                name,
                f"share of {policy.name(opened.v)}",
            )
    if u in state.answers:
        require(state.answers[u] == message, Check.ANSWER_ONCE, name)
        return state
    return replace(state, answers={**state.answers, u: message})


def _opens(state: Unmasking, holder: int, kind: Label, opened: OpenedShare) -> bool:
    self_mask, mask_key = state.dealt[opened.v].commitments(holder)
    committed = self_mask if kind is Label.SELF_MASK else mask_key
    try:
        shamir.check_share(holder, opened.share)
    except shamir.ShareError:
        return False
    return committed == context.share_commitment(
        state.roster_digest, opened.v, holder, kind, opened.share, opened.salt
    )


def reconstruct(state: Unmasking) -> ServerStep[ServerState]:
    """With t good answers: reconstruct every seed and lay out the masks to remove.

    Every share opened its commitment, so a secret that does not come out as advertised is its
    dealer's doing: the attempt ends and the dealer is named.
    """
    policy, t = state.policy, state.policy.threshold
    seeds: dict[int, dict[int, bytes]] = {v: {} for v in state.u3}
    keys: dict[int, dict[int, bytes]] = {v: {} for v in state.dropped}
    for u, message in sorted(state.answers.items()):
        for collected, listed in (
            (seeds, message.self_mask_shares),
            (keys, message.mask_key_shares),
        ):
            for opened in listed:
                if len(collected[opened.v]) < t:
                    collected[opened.v][u] = opened.share
    combiners: dict[frozenset[int], shamir.Combiner] = {}

    def combine(v: int, shares: Mapping[int, bytes]) -> Secret:
        holders = frozenset(shares)
        if holders not in combiners:
            combiners[holders] = shamir.Combiner(sorted(holders))
        try:
            return combiners[holders].combine(shares)
        except shamir.ShareError as error:
            raise PeerViolation(Check.DEALER_CONSISTENT, policy.name(v), str(error)) from None

    try:
        self_mask_seeds = {v: combine(v, seeds[v]) for v in seeds}
        mask_keys = {v: combine(v, keys[v]) for v in keys}
        for v, seed in self_mask_seeds.items():
            commitment = context.seed_commitment(state.roster_digest, v, seed.reveal())
            require(
                commitment == state.dealt[v].dealing.seed_commitment,
                Check.DEALER_CONSISTENT,
                policy.name(v),
            )
        for v, private in mask_keys.items():
            require(
                KeyPair.from_private(private).public == state.keys[v].mask_key,
                Check.DEALER_CONSISTENT,
                policy.name(v),
            )
    except PeerViolation as violation:
        cheat = frozenset({policy.client(violation.peer)})
        return ServerStep(abort(state, str(violation), cheat), recipients=frozenset(state.u3))
    unmasked = Unmasked(
        policy=policy,
        identity=state.identity,
        attempt=state.attempt,
        answered=state,
        self_mask_seeds=self_mask_seeds,
        mask_keys=mask_keys,
        masks=removal(policy, state.keys, state.u2_hash, self_mask_seeds, mask_keys),
    )
    return ServerStep(unmasked)


def removal(
    policy: Policy,
    keys: Mapping[int, Advertisement],
    u2_hash: bytes,
    self_mask_seeds: Mapping[int, Secret],
    mask_keys: Mapping[int, Secret],
) -> tuple[Mask, ...]:
    """The masks that turn the aggregate of U3 into the sum of its inputs.

    ``keys``: of U1. ``self_mask_seeds``: b_u of all of U3; ``mask_keys``: of all of U2 minus U3.
    Each survivor added p_u; toward each dropped neighbour v it added ``mask_sign(u, v) * p_uv``.
    """
    masks = [Mask(self_mask_seed(seed, u2_hash, u), -1) for u, seed in self_mask_seeds.items()]
    graph = graph_of(policy, keys)
    for v, private in mask_keys.items():
        for u in self_mask_seeds:
            if u in graph.neighbours(v):
                seed = pairwise_seed(private, keys[u].mask_key, u2_hash, u, v)
                masks.append(Mask(seed, mask_sign(v, u)))  # the opposite of what u added
    return tuple(masks)
