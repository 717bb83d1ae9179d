"""The context that everything is bound to, and every statement that is signed over it.

``session_id`` binds policy, round, attempt, base model and the server's nonce; ``roster_digest``
adds the keys of U1; ``u2_hash`` adds U2 and its dealings; ``u3_hash`` adds U3. Each later value
contains the earlier ones, so binding the newest binds them all. docs/protocol.md, "Context".

A *statement* is ``(label, part, ...)``: pass it on as ``identity.sign(*statement)`` and
``verify(public, signature, *statement)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from secagg.crypto.hashing import Label, digest, encode, u64
from secagg.policy import SUITE
from secagg.wire.messages import (
    Advertisement,
    Dealing,
    Hello,
    OpenedShare,
    SumFacts,
    UnmaskingAnswer,
)

Statement = tuple[Label, *tuple[bytes, ...]]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at one training round: the public facts that its session id is made of."""

    policy_digest: bytes
    round: int
    attempt: int
    base_model_hash: bytes
    server_nonce: bytes

    @property
    def session(self) -> bytes:
        """``session_id``, 32 bytes, which each client computes from what it itself holds."""
        return digest(
            Label.SESSION,
            SUITE.encode(),
            self.policy_digest,
            u64(self.round),
            u64(self.attempt),
            self.base_model_hash,
            self.server_nonce,
        )

    def statement(self) -> Statement:
        """What the server signs when it opens the attempt."""
        return (Label.ANNOUNCEMENT, self.session)


def attempt_of(facts: SumFacts) -> Attempt:
    """The attempt whose sum ``facts`` are about: whoever reads them can recompute its session."""
    return Attempt(
        facts.policy_digest,
        facts.round,
        facts.attempt,
        facts.base_model_hash,
        facts.server_nonce,
    )


def clients(cohort: Iterable[int]) -> bytes:
    """A list of clients as one part: u64 each, in the given (ascending) order."""
    return b"".join(u64(u) for u in cohort)


# --- digests -------------------------------------------------------------------------------------


def roster_digest(session: bytes, advertisements: Sequence[Advertisement]) -> bytes:
    """Hash of all of U1: who advertised which keys under which signature."""
    return digest(
        Label.ROSTER,
        session,
        *(
            encode(Label.ADVERTISEMENT, u64(a.u), a.channel_root, a.mask_key, a.signature)
            for a in advertisements
        ),
    )


def channel_leaf(v: int, channel_key: bytes) -> bytes:
    """Leaf of a client's tree of channel keys for its peer v; the leaves are in roster order."""
    return encode(Label.CHANNEL_KEY_LEAF, u64(v), channel_key)


def share_leaf(
    roster: bytes, dealer: int, holder: int, ciphertext: bytes, *commitments: bytes
) -> bytes:
    """Leaf of the dealer's Merkle tree for one holder; no ciphertext for the dealer's own shares.

    ``commitments``: to the share of the self-mask seed, then to the share of the mask key.
    """
    return encode(
        Label.SHARE_LEAF, roster, u64(dealer), u64(holder), digest(Label.SHARES, ciphertext),
        *commitments,
    )  # fmt: skip


def u2_hash(roster: bytes, dealings: Sequence[Dealing]) -> bytes:
    """Hash of U2 and of every dealing in it: from round 2 on, everything binds this."""
    return digest(
        Label.U2,
        roster,
        *(encode(Label.SHARE_KEYS, u64(x.u), x.root, x.seed_commitment) for x in dealings),
    )


def u3_hash(u2: bytes, u3: Iterable[int]) -> bytes:
    """Hash of U3 in its context."""
    return digest(Label.U3, u2, clients(u3))


def share_commitment(
    roster: bytes, dealer: int, holder: int, kind: Label, share: bytes, salt: bytes
) -> bytes:
    """Commitment to one share; ``kind`` is Label.SELF_MASK or Label.MASK_KEY."""
    return digest(
        Label.SHARE_COMMITMENT, roster, u64(dealer), u64(holder), kind.encode(), share, salt
    )


def seed_commitment(roster: bytes, u: int, seed: bytes) -> bytes:
    """``H(label, context, id, b_u)``, unsalted: b_u has 256 bits of its own."""
    return digest(Label.SELF_MASK_COMMITMENT, roster, u64(u), seed)


# --- statements ----------------------------------------------------------------------------------


def hello(nonce: bytes, message: Hello) -> Statement:
    """What a party signs to show who it is, and where it stands, on one connection.

    Certificates and abandonments carry their own signatures.
    """
    return (
        Label.HELLO,
        nonce,
        u64(message.u),
        message.policy_digest,
        message.model_hash,
        u64(message.entered_round),
        u64(message.entered_attempt),
    )


def advertisement(session: bytes, u: int, channel_root: bytes, mask_key: bytes) -> Statement:
    """Round 0, client u."""
    return (Label.ADVERTISEMENT, session, u64(u), channel_root, mask_key)


def share_keys(roster: bytes, u: int, root: bytes, commitment: bytes) -> Statement:
    """Round 1, dealer u."""
    return (Label.SHARE_KEYS, roster, u64(u), root, commitment)


def complaint(roster: bytes, u: int, dealer: int, channel_private_key: bytes) -> Statement:
    """Round 2, client u about a dealer."""
    return (Label.COMPLAINT, roster, u64(u), u64(dealer), channel_private_key)


def masked_input(u2: bytes, u: int, masked_digest: bytes) -> Statement:
    """Round 2, client u, after its last chunk."""
    return (Label.MASKED_INPUT, u2, u64(u), masked_digest)


def survivor(session: bytes, u2: bytes, u: int, u3: Iterable[int]) -> Statement:
    """Round 3, client u: sigma'_u.

    U2's hash contains the session, but only who was there can open it; hospitals that had dropped
    verify this too, so the session stands beside it.
    """
    return (Label.SURVIVOR, session, u2, u64(u), clients(u3))


def answer(u2: bytes, u3: Iterable[int], u: int, opened: UnmaskingAnswer) -> Statement:
    """Round 4, client u: every share and noise seed that it opens; its own signature aside."""
    return answer_of(u2, u3, u, opened_shares(opened), opened.surplus_seeds)


def answer_of(
    u2: bytes, u3: Iterable[int], u: int, shares_digest: bytes, surplus_seeds: Iterable[bytes]
) -> Statement:
    """The same statement for who sees no shares: a transcript has their digest alone."""
    seeds = (encode(Label.NOISE, seed) for seed in surplus_seeds)
    parts = (u3_hash(u2, u3), u64(u), shares_digest, *seeds)
    return (Label.ANSWER, *parts)


def opened_shares(opened: UnmaskingAnswer) -> bytes:
    """Digest of all shares in an answer. A share's kind, b or s, is the label of its part."""
    return digest(
        Label.OPENED_SHARES,
        *(_opened(Label.SELF_MASK, share) for share in opened.self_mask_shares),
        *(_opened(Label.MASK_KEY, share) for share in opened.mask_key_shares),
    )


def _opened(kind: Label, share: OpenedShare) -> bytes:
    return encode(kind, u64(share.v), share.share, share.salt)


def _sum_facts(facts: SumFacts) -> tuple[bytes, ...]:
    return (
        facts.policy_digest,
        u64(facts.round),
        u64(facts.attempt),
        facts.base_model_hash,
        facts.server_nonce,
        facts.u2_hash,
        clients(facts.u3),
        facts.sum_digest,
    )


def published_sum(facts: SumFacts) -> Statement:
    """Certification, server: the sum that it publishes."""
    return (Label.SUM, *_sum_facts(facts))


def certificate(facts: SumFacts, model_hash: bytes) -> Statement:
    """Certification, party: the model that it computed from that sum. Not bound to the party's
    number: the key that verifies it is the party's.
    """
    parts = (*_sum_facts(facts), model_hash)
    return (Label.CERTIFICATE, *parts)


def abandonment(policy_digest: bytes, round_number: int, base_model_hash: bytes) -> Statement:
    """Party: the training round ends without a model."""
    return (Label.ABANDONMENT, policy_digest, u64(round_number), base_model_hash)
