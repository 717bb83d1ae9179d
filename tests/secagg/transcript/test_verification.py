"""A transcript that was altered anywhere is refused, and the check that refuses it is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg import context
from secagg.checks import Check
from secagg.errors import DecodeError, PeerViolation
from secagg.transcript.record import Transcript, decode, encode
from secagg.transcript.recording import aborted
from secagg.transcript.verification import verify_transcript
from tests.cohorts import changed, flipped, opened, refused, replaced, stranger, template
from tests.secagg.transcript.attempts import certified_attempt, published_attempt

ATTEMPT = certified_attempt()
BYTES = encode(ATTEMPT.transcript)
SERVER = "server"
Alter = Callable[[Transcript], Transcript]


def altered(**fields: Callable[[Any], Any]) -> Alter:
    """Fields of the transcript, each changed by a function."""

    def alter(transcript: Transcript) -> Transcript:
        return changed(
            transcript, **{name: alter(getattr(transcript, name)) for name, alter in fields.items()}
        )

    return alter


def first(**fields: Callable[[Any], Any]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Fields of the first item of a list, each changed by a function."""

    def alter(items: tuple[Any, ...]) -> tuple[Any, ...]:
        item = items[0]
        new = {name: change(getattr(item, name)) for name, change in fields.items()}
        return replaced(items, 0, changed(item, **new))

    return alter


def part(**fields: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Fields of one part."""
    return lambda whole: changed(
        whole, **{name: change(getattr(whole, name)) for name, change in fields.items()}
    )


def swapped(items: tuple[Any, ...]) -> tuple[Any, ...]:
    return (items[1], items[0], *items[2:])


def shorter(items: tuple[Any, ...]) -> tuple[Any, ...]:
    return items[1:]


def few(items: tuple[Any, ...]) -> tuple[Any, ...]:
    return items[:2]


def nothing(_: Any) -> Any:
    return None


NAME = "hospital-1"

#: What is altered -> the check that finds it, and who is blamed.
ALTERATIONS: dict[str, tuple[Alter, Check, str]] = {
    "another round": (
        altered(announcement=part(round=lambda r: r + 1)),
        Check.ANNOUNCEMENT_SIGNED,
        SERVER,
    ),
    "announcement's signature": (
        altered(announcement=part(signature=flipped)),
        Check.ANNOUNCEMENT_SIGNED,
        SERVER,
    ),
    "another policy": (
        altered(announcement=part(policy_digest=flipped)),
        Check.POLICY_PINNED,
        SERVER,
    ),
    "U1 swapped": (altered(advertisements=swapped), Check.U1_WELL_FORMED, SERVER),
    "a mask key": (
        altered(advertisements=first(mask_key=flipped)),
        Check.ADVERTISEMENTS_SIGNED,
        SERVER,
    ),
    "U1 too small": (altered(advertisements=few), Check.U1_LARGE_ENOUGH, SERVER),
    "U1 without a dealer": (altered(advertisements=shorter), Check.U2_WELL_FORMED, SERVER),
    "U2 swapped": (altered(dealings=swapped), Check.U2_WELL_FORMED, SERVER),
    "a dealing": (altered(dealings=first(root=flipped)), Check.DEALERS_SIGNED, SERVER),
    "U2 too small": (altered(dealings=few), Check.U2_LARGE_ENOUGH, SERVER),
    "U2 without a survivor": (altered(dealings=shorter), Check.U3_WELL_FORMED, SERVER),
    "U3 swapped": (altered(masked_inputs=swapped), Check.U3_WELL_FORMED, SERVER),
    "a masked input's digest": (
        altered(masked_inputs=first(masked_digest=flipped)),
        Check.MASKED_INPUT_SIGNED,
        NAME,
    ),
    "U3 too small": (altered(masked_inputs=few), Check.U3_LARGE_ENOUGH, SERVER),
    "U3 without a signer": (altered(masked_inputs=shorter), Check.SURVIVORS_WELL_FORMED, SERVER),
    "too few signatures": (altered(survivor_signatures=few), Check.SURVIVORS_QUORUM, SERVER),
    "a survivor's signature": (
        altered(survivor_signatures=first(signature=flipped)),
        Check.SURVIVORS_VALID,
        SERVER,
    ),
    "answers swapped": (altered(answers=swapped), Check.TRANSCRIPT_EXACT, SERVER),
    "an answer's shares": (
        altered(answers=first(shares_digest=flipped)),
        Check.ANSWER_SIGNED,
        NAME,
    ),
    "a seed of surplus noise": (
        altered(answers=first(surplus_seeds=lambda s: (flipped(s[0]), *s[1:]))),
        Check.ANSWER_SIGNED,
        NAME,
    ),
    "too few answers": (altered(answers=few), Check.TRANSCRIPT_EXACT, SERVER),
    "b_u of one is missing": (altered(self_mask_seeds=shorter), Check.TRANSCRIPT_EXACT, SERVER),
    "another b_u": (
        altered(self_mask_seeds=first(secret=flipped)),
        Check.DEALER_CONSISTENT,
        SERVER,
    ),
    "a mask key is missing": (altered(mask_keys=shorter), Check.TRANSCRIPT_EXACT, SERVER),
    "another mask key": (
        altered(mask_keys=first(secret=lambda s: bytes([s[0] ^ 8]) + s[1:])),
        Check.DEALER_CONSISTENT,
        SERVER,
    ),
    "no sum": (altered(published=nothing), Check.TRANSCRIPT_EXACT, SERVER),
    "the signed sum's digest": (
        altered(published=part(sum_digest=flipped)),
        Check.SUM_SIGNED,
        SERVER,
    ),
    "the sum": (
        altered(total=lambda t: bytes([t[0] ^ 1]) + t[1:]),
        Check.SUM_MATCHES,
        SERVER,
    ),
    "a sum of another length": (altered(total=lambda t: t[:-1]), Check.SUM_MATCHES, SERVER),
    "a reason beside the sum": (altered(ended=lambda _: "x"), Check.TRANSCRIPT_EXACT, SERVER),
    "the certificate's model": (
        altered(certificate=part(model_hash=flipped)),
        Check.CERTIFICATE_QUORUM,
        SERVER,
    ),
    "a certificate of few": (
        altered(certificate=part(signatures=few)),
        Check.CERTIFICATE_QUORUM,
        SERVER,
    ),
}


@pytest.mark.parametrize("name", ALTERATIONS)
def test_what_was_altered_is_named(name: str) -> None:
    alter, check, blamed = ALTERATIONS[name]
    verify_transcript(ATTEMPT.transcript, ATTEMPT.policy)
    with refused(check, blamed):
        verify_transcript(alter(ATTEMPT.transcript), ATTEMPT.policy)


def test_another_policy_of_the_same_people_is_refused() -> None:
    other = msgspec.structs.replace(ATTEMPT.policy, version=2)
    with refused(Check.POLICY_PINNED):
        verify_transcript(ATTEMPT.transcript, other)


def test_a_certificate_of_another_sum_is_refused() -> None:
    """Made by the very hospitals, and valid; it belongs to another attempt."""
    cohort = opened(ATTEMPT.policy)
    cohort.identity = ATTEMPT.cohort.identity
    other = certified_attempt.__wrapped__()
    certificate = other.transcript.certificate
    assert certificate is not None
    assert certificate == ATTEMPT.transcript.certificate  # deterministic: so change the facts
    facts = changed(certificate, sum_digest=flipped(certificate.sum_digest))
    signatures = tuple(
        changed(
            each,
            signature=ATTEMPT.cohort.hospitals[each.u].identity.sign(
                *context.certificate(facts, facts.model_hash)
            ),
        )
        for each in facts.signatures
    )
    with refused(Check.CERTIFICATE_QUORUM):
        verify_transcript(
            changed(ATTEMPT.transcript, certificate=changed(facts, signatures=signatures)),
            ATTEMPT.policy,
        )


def test_a_sum_of_another_attempt_is_refused() -> None:
    published = published_attempt()
    facts = published.transcript.published
    assert facts is not None
    moved = changed(facts, attempt=facts.attempt + 1)
    with pytest.raises(PeerViolation) as caught:
        verify_transcript(changed(published.transcript, published=moved), published.policy)
    assert caught.value.check is Check.SUM_SIGNED
    signature = published.cohort.identity.sign(*context.published_sum(moved))
    resigned = changed(moved, server_signature=signature)
    with refused(Check.SUM_QUORUM):
        verify_transcript(changed(published.transcript, published=resigned), published.policy)


def test_an_aborted_attempt_needs_a_reason() -> None:
    cohort = opened()
    transcript = aborted(cohort.server.state, "too few came")
    verify_transcript(transcript, cohort.policy)
    with refused(Check.TRANSCRIPT_EXACT):
        verify_transcript(changed(transcript, ended=""), cohort.policy)


def test_a_server_of_another_consortium_is_refused() -> None:
    cohort = opened(template())
    attempt = cohort.server.state.attempt
    transcript = aborted(cohort.server.state, "too few came")
    forged = stranger(b"server").sign(*attempt.statement())
    announcement = changed(transcript.announcement, signature=forged)
    with refused(Check.ANNOUNCEMENT_SIGNED):
        verify_transcript(changed(transcript, announcement=announcement), cohort.policy)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 8 * len(BYTES) - 1))
def test_any_flipped_bit_is_found(place: int) -> None:
    data = bytearray(BYTES)
    data[place // 8] ^= 1 << place % 8
    with pytest.raises((DecodeError, PeerViolation)):
        verify_transcript(decode(bytes(data)), ATTEMPT.policy)
