"""Certification: every hospital computes the model from the sum and signs its hash; or the round
is abandoned by a quorum. One of the two, never both.

Not in the paper; docs/protocol.md, "Certification". What is signed here outlives the session, so
it can be verified from the policy alone: by hospitals that had dropped, and by a reviewer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from secagg import context
from secagg.checks import Check
from secagg.crypto.hashing import Label
from secagg.crypto.randomness import Randomness
from secagg.crypto.signatures import verify
from secagg.errors import PeerViolation
from secagg.policy import Policy
from secagg.rounds.journal import (
    Abandoned,
    AbandonmentSigned,
    CertificateSigned,
    Certified,
    Standing,
)
from secagg.rounds.machine import (
    SERVER,
    Hospital,
    ServerState,
    ServerStep,
    Step,
    abort,
    ascending,
    require,
)
from secagg.rounds.r3_consistency_check import signed
from secagg.rounds.r4_unmasking import Unmasked, check_survivors
from secagg.vector.aggregate import packed_chunks, vector_digest
from secagg.wire.messages import (
    Abandonment,
    AbandonmentRequest,
    Certificate,
    CertificateNotice,
    CertificateShare,
    PublishedSum,
    SumAnnouncement,
    VectorChunk,
    Wire,
)

NextModelHash = Callable[[NDArray[np.int64]], bytes]
"""From the sum to the hash of the model it makes of the held one; secagg.model computes it."""

# --- client --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SumReceived:
    """Client-side event: the published sum has come whole, chunks checked."""

    announcement: SumAnnouncement
    total: NDArray[np.int64] = field(repr=False)


@dataclass(frozen=True, slots=True)
class SumSigned:
    """The hospital has signed the model of this round; it expects CertificateNotice."""

    hospital: Hospital
    session: bytes
    published: PublishedSum
    model_hash: bytes
    outbound: Iterable[Wire]


@dataclass(frozen=True, slots=True)
class RoundCertified:
    """Terminal: the round has a certificate that names the model this hospital computed."""

    certificate: Certificate
    outbound: Iterable[Wire] = ()


def sign_sum(
    hospital: Hospital,
    event: SumReceived,
    *,
    standing: Standing,
    base_model_hash: bytes,
    next_model_hash: NextModelHash,
    recomputed: NDArray[np.int64] | None = None,
) -> Step[SumSigned]:
    """Check a published sum, compute the model, sign its hash: at most once per training round.

    Any hospital of the roster may do so, also one that dropped out of the attempt. ``recomputed``:
    the sum as ``secagg.transcript.Recomputation`` found it; a policy may demand it.
    """
    published, policy = event.announcement.published, hospital.policy
    session = context.attempt_of(published).session
    require(event.announcement.session == session, Check.SESSION_MATCHES, SERVER)
    check_published(policy, published)
    require(
        published.policy_digest == policy.digest()
        and published.base_model_hash == base_model_hash
        and published.round > max(standing.closed, standing.abandoning or 0),
        Check.SUM_CONTEXT,
        SERVER,
        f"round {published.round}",
    )
    require(standing.signed is None, Check.SUM_ONCE, SERVER, f"round {standing.signed} is signed")
    total = event.total
    require(
        total.shape == (policy.vector.dimension,)
        and vector_digest(Label.SUM, total, policy.ring) == published.sum_digest,
        Check.SUM_MATCHES,
        SERVER,
    )
    require(within_bound(policy, len(published.u3), total), Check.SUM_BOUNDED, SERVER)
    require(
        policy.verification != "recompute"
        or (recomputed is not None and np.array_equal(recomputed, total)),
        Check.SUM_RECOMPUTED,
        SERVER,
    )
    model_hash = next_model_hash(total)
    signature = hospital.identity.sign(*context.certificate(published, model_hash))
    entry = CertificateSigned(session, published, model_hash, signature)
    return Step(restore_signed(hospital, entry), durable=(entry,))


def restore_signed(hospital: Hospital, entry: CertificateSigned) -> SumSigned:
    """The state that a client restarts in, from its journal alone."""
    return SumSigned(
        hospital=hospital,
        session=entry.session,
        published=entry.published,
        model_hash=entry.model_hash,
        outbound=(CertificateShare(entry.session, entry.model_hash, entry.signature),),
    )


def conclude(
    state: SumSigned,
    message: CertificateNotice,
    randomness: Randomness,
) -> Step[RoundCertified]:
    """Accept the certificate of the sum that this hospital signed."""
    certificate = message.certificate
    check_certificate(state.hospital.policy, certificate)
    ours = (state.published.round, state.model_hash)
    require((certificate.round, certificate.model_hash) == ours, Check.CERTIFICATE_HASH, SERVER)
    return Step(RoundCertified(certificate), durable=(Certified(certificate),))


def check_published(policy: Policy, published: PublishedSum) -> None:
    """Raise PeerViolation unless the server vouches for this sum and t survivors for its U3.

    They signed it in the session that the sum states: an old cohort cannot lend its signatures.
    """
    u3 = published.u3
    require(
        verify(
            bytes.fromhex(policy.server_key),
            published.server_signature,
            *context.published_sum(published),
        ),
        Check.SUM_SIGNED,
        SERVER,
    )
    require(
        ascending(u3) and set(u3) <= set(policy.members) and len(u3) >= policy.min_survivors,
        Check.SUM_COHORT,
        SERVER,
    )
    session = context.attempt_of(published).session
    try:
        check_survivors(policy, session, published.u2_hash, u3, published.survivor_signatures)
    except PeerViolation as violation:
        raise PeerViolation(Check.SUM_QUORUM, SERVER, str(violation)) from None


def within_bound(policy: Policy, survivors: int, total: NDArray[np.int64]) -> bool:
    """Whether every coordinate is one that so many hospitals can add up to."""
    bound = survivors * policy.max_coordinate
    return not total.size or (-bound <= int(total.min()) and int(total.max()) <= bound)


def check_certificate(policy: Policy, certificate: Certificate) -> None:
    """Raise PeerViolation unless t roster members signed this certificate under this policy."""
    statement = context.certificate(certificate, certificate.model_hash)
    signers = [s.u for s in certificate.signatures]
    require(
        certificate.policy_digest == policy.digest()
        and ascending(signers)
        and set(signers) <= set(policy.members)
        and len(signers) >= policy.threshold
        and all(
            verify(policy.identity_key(s.u), s.signature, *statement)
            for s in certificate.signatures
        ),
        Check.CERTIFICATE_QUORUM,
        SERVER,
        f"round {certificate.round}",
    )


def sign_abandonment(
    hospital: Hospital,
    request: AbandonmentRequest,
    *,
    standing: Standing,
    base_model_hash: bytes,
    newest_round: int,
) -> AbandonmentSigned:
    """Sign that a training round ends without a model; make the entry durable, then send it.

    ``newest_round``: the highest round that this hospital has entered or has a batch for. Every
    earlier round ends with this one, so what was answered or signed in one of those counts too: a
    hospital that has signed a sum refuses, and one that has answered signs only for that very
    round and if noise covers what two cohorts would tell.
    """
    policy, number = hospital.policy, request.round
    covered = standing.answered is None or (
        standing.answered == number and policy.noise.mode != "none"
    )
    require(
        standing.closed < number <= newest_round
        and standing.signed is None
        and request.base_model_hash == base_model_hash
        and covered,
        Check.ABANDON_ALLOWED,
        SERVER,
        f"round {number}",
    )
    statement = context.abandonment(policy.digest(), number, base_model_hash)
    return AbandonmentSigned(number, hospital.identity.sign(*statement))


def check_abandonment(policy: Policy, abandonment: Abandonment) -> Abandoned:
    """The journal entry of a valid abandonment; raises PeerViolation without t signatures."""
    statement = context.abandonment(policy.digest(), abandonment.round, abandonment.base_model_hash)
    signers = [s.u for s in abandonment.signatures]
    require(
        abandonment.policy_digest == policy.digest()
        and ascending(signers)
        and set(signers) <= set(policy.members)
        and len(signers) >= policy.threshold
        and all(
            verify(policy.identity_key(s.u), s.signature, *statement)
            for s in abandonment.signatures
        ),
        Check.ABANDONMENT_QUORUM,
        SERVER,
        f"round {abandonment.round}",
    )
    return Abandoned(abandonment.round)


# --- server --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Certifying(ServerState):
    """The sum is published; signatures on model hashes come in, from any roster member.

    ``evidence``: what a policy with ``verification = "recompute"`` has every hospital receive.
    """

    published: PublishedSum
    total: NDArray[np.int64] = field(repr=False)
    shares: Mapping[int, CertificateShare] = field(default_factory=dict)
    evidence: Iterable[Wire] = field(default=(), repr=False)

    def outbound(self, u: int) -> Iterable[Wire]:
        """The sum, for roster members that have not signed; evidence and sum chunk by chunk."""
        if u not in self.awaited():
            return
        session = self.attempt.session
        yield SumAnnouncement(session, self.published)
        if self.policy.verification == "recompute":
            yield from self.evidence
        for start, data in packed_chunks(self.total, self.policy.ring):
            yield VectorChunk(session, start, data)

    def awaited(self) -> frozenset[int]:
        """The roster members that have not signed."""
        return frozenset(self.policy.members) - self.shares.keys()

    def certificate(self) -> Certificate | None:
        """The certificate, if t hospitals have signed one model hash; all its signatures in it."""
        by_hash: dict[bytes, dict[int, bytes]] = {}
        for u, share in self.shares.items():
            by_hash.setdefault(share.model_hash, {})[u] = share.signature
        for model_hash, signatures in by_hash.items():
            if len(signatures) >= self.policy.threshold:
                p = self.published
                return Certificate(
                    policy_digest=p.policy_digest,
                    round=p.round,
                    attempt=p.attempt,
                    base_model_hash=p.base_model_hash,
                    server_nonce=p.server_nonce,
                    u2_hash=p.u2_hash,
                    u3=p.u3,
                    sum_digest=p.sum_digest,
                    model_hash=model_hash,
                    signatures=signed(signatures),
                )
        return None


@dataclass(frozen=True, slots=True)
class Concluded(ServerState):
    """Terminal: the round is certified."""

    certificate: Certificate

    def outbound(self, u: int) -> Iterable[Wire]:
        """The certificate, for everybody."""
        return (CertificateNotice(self.certificate),)


def publish_sum(state: Unmasked, total: NDArray[np.int64]) -> ServerStep[ServerState]:
    """Round 4 ends: sign and publish the sum (int64, unmasked and centred).

    A sum out of bounds ends the attempt: some hospital's vector, or the noise seeds it disclosed,
    were not what they should be; masks hide whose.
    """
    policy, attempt = state.policy, state.attempt
    if not within_bound(policy, len(state.u3), total):
        reason = "the sum exceeds what its hospitals can add up to: one of them sent a bad vector"
        return ServerStep(abort(state, reason), recipients=frozenset(state.u3))
    facts = PublishedSum(
        policy_digest=attempt.policy_digest,
        round=attempt.round,
        attempt=attempt.attempt,
        base_model_hash=attempt.base_model_hash,
        server_nonce=attempt.server_nonce,
        u2_hash=state.u2_hash,
        u3=state.u3,
        sum_digest=vector_digest(Label.SUM, total, policy.ring),
        survivor_signatures=signed(state.signatures),
        server_signature=bytes(64),
    )
    signature = state.identity.sign(*context.published_sum(facts))
    certifying = Certifying(
        policy=policy,
        identity=state.identity,
        attempt=attempt,
        published=msgspec.structs.replace(facts, server_signature=signature),
        total=total,
    )
    return ServerStep(certifying, recipients=frozenset(policy.members))


def collect_certificate_share(state: Certifying, u: int, message: CertificateShare) -> Certifying:
    """Take one hospital's signature on the model hash that it computed."""
    require(
        verify(
            state.policy.identity_key(u),
            message.signature,
            *context.certificate(state.published, message.model_hash),
        ),
        Check.CERTIFICATE_SHARE_VALID,
        state.policy.name(u),
    )
    return replace(state, shares={**state.shares, u: message})


def conclude_round(state: Certifying) -> ServerStep[ServerState]:
    """Certification ends, if t hospitals agree; else it goes on waiting in the same state."""
    certificate = state.certificate()
    if certificate is None:
        return ServerStep(state)
    concluded = Concluded(
        policy=state.policy,
        identity=state.identity,
        attempt=state.attempt,
        certificate=certificate,
    )
    return ServerStep(concluded, recipients=frozenset(state.policy.members))


def check_abandonment_share(
    policy: Policy, u: int, round_number: int, base_model_hash: bytes, signature: bytes
) -> None:
    """Raise PeerViolation unless ``signature`` is u's on the abandonment of this round."""
    statement = context.abandonment(policy.digest(), round_number, base_model_hash)
    require(
        verify(policy.identity_key(u), signature, *statement),
        Check.ABANDONMENT_SHARE_VALID,
        policy.name(u),
        f"round {round_number}",
    )


def abandonment(
    policy: Policy, round_number: int, base_model_hash: bytes, signatures: Mapping[int, bytes]
) -> Abandonment | None:
    """The abandonment, if t hospitals have signed it."""
    if len(signatures) < policy.threshold:
        return None
    return Abandonment(policy.digest(), round_number, base_model_hash, signed(signatures))
