"""Round 3, ConsistencyCheck: every client signs the one U3 that it was shown.

Bonawitz et al. (CCS 2017), Figure 4, round 3 (active adversary). The client computes its unmasking
answer here already, seals it and has it journalled before its signature leaves, so that a client
that restarts can still answer, while b_u and the mask key never touch disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from secagg import context
from secagg.checks import Check
from secagg.crypto.aead import NONCE_BYTES, open_sealed, seal
from secagg.crypto.hashing import Label
from secagg.crypto.kdf import derive
from secagg.crypto.randomness import Randomness
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import verify
from secagg.rounds.journal import SurvivorSigned
from secagg.rounds.machine import (
    SERVER,
    ClientState,
    Hospital,
    ServerState,
    ServerStep,
    Step,
    abort,
    ascending,
    require,
)
from secagg.rounds.r1_share_keys import Dealt
from secagg.rounds.r2_masked_input import Masked, Masking
from secagg.wire.messages import (
    Advertisement,
    MaskedInputSignature,
    Signed,
    SurvivorSet,
    SurvivorSignature,
    UnmaskingAnswer,
    Wire,
)

# --- client --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Confirmed(ClientState):
    """The client has signed U3; it expects SurvivorSignatures. Its answer waits, sealed."""

    u2_hash: bytes
    u3: tuple[int, ...]
    sealed_answer: bytes


def confirm(state: Masked, message: SurvivorSet, randomness: Randomness) -> Step[Confirmed]:
    """Check U3, sign it, and seal the one answer that U2 and U3 allow."""
    hospital, u, u3 = state.hospital, state.hospital.u, message.u3
    require(ascending(u3) and set(u3) <= state.held.keys(), Check.U3_WELL_FORMED, SERVER)
    require(
        len(u3) >= hospital.policy.min_survivors,
        Check.U3_LARGE_ENOUGH,
        SERVER,
        f"{len(u3)} clients",
    )
    require(u in u3, Check.SELF_IN_U3, SERVER)
    # Never both kinds for one v: the two lists partition U2.
    u2 = sorted(state.held)
    opened = UnmaskingAnswer(
        state.attempt.session,
        self_mask_shares=tuple(state.held[v].self_mask for v in u2 if v in u3),
        mask_key_shares=tuple(state.held[v].mask_key for v in u2 if v not in u3),
        surplus_seeds=hospital.policy.mechanism.surplus_seeds(
            state.noise_seed.reveal(), len(u2), len(u3)
        ),
        signature=bytes(64),
    )
    statement = context.answer(state.u2_hash, u3, u, opened)
    answer = msgspec.structs.replace(opened, signature=hospital.identity.sign(*statement))
    sealed = _seal(hospital, state.u2_hash, answer, randomness)
    statement = context.survivor(state.attempt.session, state.u2_hash, u, u3)
    signature = hospital.identity.sign(*statement)
    entry = SurvivorSigned(state.attempt, state.u2_hash, u3, signature, sealed)
    return Step(restore(hospital, entry), durable=(entry,))


def restore(hospital: Hospital, entry: SurvivorSigned) -> Confirmed:
    """The state that a client restarts in, from its journal alone."""
    return Confirmed(
        hospital=hospital,
        attempt=entry.attempt,
        outbound=(SurvivorSignature(entry.attempt.session, entry.signature),),
        u2_hash=entry.u2_hash,
        u3=entry.u3,
        sealed_answer=entry.sealed_answer,
    )


def unseal_answer(state: Confirmed) -> UnmaskingAnswer:
    """The answer that was sealed when U3 was signed.

    Raises AuthenticationFailure if journal or journal key are not those of this attempt.
    """
    nonce, ciphertext = state.sealed_answer[:NONCE_BYTES], state.sealed_answer[NONCE_BYTES:]
    key = _answer_key(state.hospital, state.u2_hash)
    return msgspec.msgpack.decode(
        open_sealed(key, ciphertext, state.u2_hash, nonce), type=UnmaskingAnswer
    )


def _seal(hospital: Hospital, u2: bytes, answer: UnmaskingAnswer, randomness: Randomness) -> bytes:
    nonce = randomness.draw(NONCE_BYTES)
    plaintext = msgspec.msgpack.encode(answer)
    return nonce + seal(_answer_key(hospital, u2), plaintext, u2, nonce)


def _answer_key(hospital: Hospital, u2: bytes) -> Secret:
    return derive(hospital.journal_key, Label.JOURNAL_KEY, u2)


# --- server --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Checking(ServerState):
    """U3 is announced; survivor signatures come in."""

    keys: Mapping[int, Advertisement]
    roster_digest: bytes
    dealt: Mapping[int, Dealt]
    u2_hash: bytes
    masked: Mapping[int, MaskedInputSignature]
    signatures: Mapping[int, bytes] = field(default_factory=dict)

    @property
    def u3(self) -> tuple[int, ...]:
        """U3, ascending."""
        return tuple(self.masked)

    def outbound(self, u: int) -> Iterable[Wire]:
        """U3, for its members that have not signed."""
        return (SurvivorSet(self.attempt.session, self.u3),) if u in self.awaited() else ()

    def awaited(self) -> frozenset[int]:
        """The members of U3 that have not signed."""
        return frozenset(self.u3) - self.signatures.keys()


def announce_survivors(state: Masking) -> ServerStep[ServerState]:
    """Round 2 ends: announce U3, once and for all, or abort below the floor."""
    u3 = sorted(state.masked)
    if len(u3) < state.policy.min_survivors:
        reason = f"{len(u3)} of at least {state.policy.min_survivors} hospitals sent masked inputs"
        return ServerStep(abort(state, reason), recipients=frozenset(state.u2))
    checking = Checking(
        policy=state.policy,
        identity=state.identity,
        attempt=state.attempt,
        keys={u: keys.advertisement for u, keys in state.keys.items()},
        roster_digest=state.roster_digest,
        dealt=state.dealt,
        u2_hash=state.u2_hash,
        masked={u: state.masked[u] for u in u3},
    )
    return ServerStep(checking, recipients=frozenset(u3))


def collect_survivor_signature(state: Checking, u: int, message: SurvivorSignature) -> Checking:
    """Take sigma'_u into U4."""
    require(
        u in state.u3
        and verify(
            state.policy.identity_key(u),
            message.signature,
            *context.survivor(state.attempt.session, state.u2_hash, u, state.u3),
        ),
        Check.SURVIVOR_SIGNED,
        state.policy.name(u),
    )
    return replace(state, signatures={**state.signatures, u: message.signature})


def signed(signatures: Mapping[int, bytes]) -> tuple[Signed, ...]:
    """Signatures by client, as they stand in messages: ascending."""
    return tuple(Signed(u, signature) for u, signature in sorted(signatures.items()))
