"""Everything that a transcript lets anybody check, who has nothing but the consortium's policy.

Each check is the protocol's own, under its own id; a PeerViolation names it and, in its detail,
whose part of the record it is. docs/protocol.md, "Transcripts".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from secagg import context
from secagg.checks import Check
from secagg.crypto.hashing import Label
from secagg.crypto.keys import KeyPair, is_canonical, is_low_order
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import verify
from secagg.errors import PeerViolation
from secagg.policy import Policy
from secagg.rounds.machine import SERVER, ascending, require
from secagg.rounds.r4_unmasking import check_survivors
from secagg.rounds.r5_certification import check_certificate, check_published, within_bound
from secagg.transcript.record import OpenedSecret, Transcript
from secagg.vector.aggregate import vector_digest
from secagg.vector.packing import unpack


class Outcome(Enum):
    """How far the attempt got."""

    ABORTED = "aborted"
    PUBLISHED = "published"
    CERTIFIED = "certified"


@dataclass(frozen=True, slots=True)
class Verified:
    """What holds. ``total``: the published sum, int64 (d,), None without one.

    The sum is what the server has signed; only ``Recomputation`` says that it is the right one.
    """

    outcome: Outcome
    session: bytes
    u1: tuple[int, ...]
    u2: tuple[int, ...]
    u3: tuple[int, ...]
    u4: tuple[int, ...]
    total: NDArray[np.int64] | None


def verify_transcript(transcript: Transcript, policy: Policy) -> Verified:
    """Check all that stands in ``transcript`` under ``policy``.

    Raises PeerViolation for the first check that fails.
    """
    session = _announced(transcript, policy)
    u1 = _advertised(transcript, policy, session)
    roster = context.roster_digest(session, transcript.advertisements)
    u2 = _dealt(transcript, policy, roster)
    u2_hash = context.u2_hash(roster, transcript.dealings)
    u3 = _masked(transcript, policy, u2_hash)
    u4 = _signed(transcript, policy, session, u2_hash)
    _answered(transcript, policy, u2_hash)
    _opened(transcript, policy, roster)
    total = _published(transcript, policy, session, u2_hash)
    certified = transcript.certificate is not None
    outcome = Outcome.ABORTED if total is None else Outcome.PUBLISHED
    return Verified(Outcome.CERTIFIED if certified else outcome, session, u1, u2, u3, u4, total)


def _announced(transcript: Transcript, policy: Policy) -> bytes:
    attempt = transcript.attempt
    require(attempt.policy_digest == policy.digest(), Check.POLICY_PINNED, SERVER)
    signature = transcript.announcement.signature
    require(
        verify(bytes.fromhex(policy.server_key), signature, *attempt.statement()),
        Check.ANNOUNCEMENT_SIGNED,
        SERVER,
    )
    return attempt.session


def _advertised(transcript: Transcript, policy: Policy, session: bytes) -> tuple[int, ...]:
    listed = transcript.advertisements
    u1 = tuple(a.u for a in listed)
    require(ascending(u1) and set(u1) <= set(policy.members), Check.U1_WELL_FORMED, SERVER)
    for a in listed:
        statement = context.advertisement(session, a.u, a.channel_root, a.mask_key)
        require(
            verify(policy.identity_key(a.u), a.signature, *statement),
            Check.ADVERTISEMENTS_SIGNED,
            SERVER,
            f"advertisement of {policy.name(a.u)}",
        )
    if transcript.dealings:
        keys = [a.mask_key for a in listed]
        require(len(u1) >= policy.min_survivors, Check.U1_LARGE_ENOUGH, SERVER, f"{len(u1)}")
        require(all(map(is_canonical, keys)), Check.KEYS_CANONICAL, SERVER)
        require(not any(map(is_low_order, keys)), Check.KEYS_NOT_LOW_ORDER, SERVER)
        require(len(set(keys)) == len(keys), Check.KEYS_DISTINCT, SERVER)
    return u1


def _dealt(transcript: Transcript, policy: Policy, roster: bytes) -> tuple[int, ...]:
    u1 = {a.u for a in transcript.advertisements}
    u2 = tuple(dealing.u for dealing in transcript.dealings)
    require(ascending(u2) and set(u2) <= u1, Check.U2_WELL_FORMED, SERVER)
    for dealing in transcript.dealings:
        statement = context.share_keys(roster, dealing.u, dealing.root, dealing.seed_commitment)
        require(
            verify(policy.identity_key(dealing.u), dealing.signature, *statement),
            Check.DEALERS_SIGNED,
            SERVER,
            f"dealing of {policy.name(dealing.u)}",
        )
    if transcript.masked_inputs:
        require(len(u2) >= policy.min_survivors, Check.U2_LARGE_ENOUGH, SERVER, f"{len(u2)}")
    return u2


def _masked(transcript: Transcript, policy: Policy, u2_hash: bytes) -> tuple[int, ...]:
    u2, u3 = {dealing.u for dealing in transcript.dealings}, transcript.u3
    require(ascending(u3) and set(u3) <= u2, Check.U3_WELL_FORMED, SERVER)
    for record in transcript.masked_inputs:
        statement = context.masked_input(u2_hash, record.u, record.masked_digest)
        require(
            verify(policy.identity_key(record.u), record.signature, *statement),
            Check.MASKED_INPUT_SIGNED,
            policy.name(record.u),
        )
    if transcript.survivor_signatures:
        require(len(u3) >= policy.min_survivors, Check.U3_LARGE_ENOUGH, SERVER, f"{len(u3)}")
    return u3


def _signed(
    transcript: Transcript, policy: Policy, session: bytes, u2_hash: bytes
) -> tuple[int, ...]:
    signatures, u3 = transcript.survivor_signatures, transcript.u3
    if transcript.answers or transcript.published is not None:
        check_survivors(policy, session, u2_hash, u3, signatures)
    u4 = tuple(each.u for each in signatures)
    require(ascending(u4) and set(u4) <= set(u3), Check.SURVIVORS_WELL_FORMED, SERVER)
    for each in signatures:
        statement = context.survivor(session, u2_hash, each.u, u3)
        require(
            verify(policy.identity_key(each.u), each.signature, *statement),
            Check.SURVIVORS_VALID,
            SERVER,
            f"signature of {policy.name(each.u)}",
        )
    return u4


def _answered(transcript: Transcript, policy: Policy, u2_hash: bytes) -> None:
    answered = [record.u for record in transcript.answers]
    u4 = {each.u for each in transcript.survivor_signatures}
    require(ascending(answered) and set(answered) <= u4, Check.TRANSCRIPT_EXACT, SERVER, "answers")
    if not answered:
        return
    due = len(policy.mechanism.surplus(len(transcript.dealings), len(transcript.u3)))
    for record in transcript.answers:
        name = policy.name(record.u)
        statement = context.answer_of(
            u2_hash, transcript.u3, record.u, record.shares_digest, record.surplus_seeds
        )
        require(
            verify(policy.identity_key(record.u), record.signature, *statement),
            Check.ANSWER_SIGNED,
            name,
        )
        require(len(record.surplus_seeds) == due, Check.ANSWER_EXACT, name)


def _opened(transcript: Transcript, policy: Policy, roster: bytes) -> None:
    """The opened secrets are those of U3 and of U2 minus U3, and the ones that were advertised."""
    u3 = set(transcript.u3)
    dropped = [d.u for d in transcript.dealings if d.u not in u3]
    seeds, keys = transcript.self_mask_seeds, transcript.mask_keys
    if not (seeds or keys or transcript.published):
        return
    require(
        _owners(seeds) == list(transcript.u3) and _owners(keys) == dropped,
        Check.TRANSCRIPT_EXACT,
        SERVER,
    )
    committed = {d.u: d.seed_commitment for d in transcript.dealings}
    advertised = {a.u: a.mask_key for a in transcript.advertisements}
    for each in seeds:
        held = context.seed_commitment(roster, each.u, each.secret)
        _consistent(held == committed[each.u], policy.name(each.u))
    for each in keys:
        public = KeyPair.from_private(Secret(each.secret)).public
        _consistent(public == advertised[each.u], policy.name(each.u))


def _owners(secrets: Iterable[OpenedSecret]) -> list[int]:
    return [each.u for each in secrets]


def _consistent(holds: bool, name: str) -> None:
    require(holds, Check.DEALER_CONSISTENT, SERVER, f"secret of {name}")


def _published(
    transcript: Transcript, policy: Policy, session: bytes, u2_hash: bytes
) -> NDArray[np.int64] | None:
    facts, certificate = transcript.published, transcript.certificate
    if facts is None:
        require(
            certificate is None and not transcript.total and bool(transcript.ended),
            Check.TRANSCRIPT_EXACT,
            SERVER,
            "neither a sum nor a reason why there is none",
        )
        return None
    require(not transcript.ended, Check.TRANSCRIPT_EXACT, SERVER, "a sum, and why there is none")
    check_published(policy, facts)
    ours = (session, u2_hash, transcript.u3)
    theirs = (context.attempt_of(facts).session, facts.u2_hash, facts.u3)
    require(theirs == ours, Check.SUM_CONTEXT, SERVER)
    quorum = len(transcript.answers) >= policy.threshold
    require(quorum, Check.TRANSCRIPT_EXACT, SERVER, f"{len(transcript.answers)} answers")
    total = _total(transcript, policy)
    digest = vector_digest(Label.SUM, total, policy.ring)
    require(digest == facts.sum_digest, Check.SUM_MATCHES, SERVER)
    require(within_bound(policy, len(facts.u3), total), Check.SUM_BOUNDED, SERVER)
    if certificate is not None:
        check_certificate(policy, certificate)
        same = (context.attempt_of(certificate).session, certificate.u2_hash, certificate.u3)
        require(
            same == ours and certificate.sum_digest == facts.sum_digest,
            Check.CERTIFICATE_QUORUM,
            SERVER,
            "it certifies another sum",
        )
    return total


def _total(transcript: Transcript, policy: Policy) -> NDArray[np.int64]:
    try:
        words = unpack(transcript.total, policy.ring.bits, policy.vector.dimension)
    except ValueError as error:
        raise PeerViolation(Check.SUM_MATCHES, SERVER, str(error)) from None
    return policy.ring.decode(words)
