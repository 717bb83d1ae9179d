"""Digests and statements: every part counts, no two kinds can be taken for one another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from secagg import context
from secagg.context import Attempt
from secagg.crypto.hashing import Label, encode
from secagg.wire.messages import (
    Advertisement,
    Dealing,
    Hello,
    OpenedShare,
    SumFacts,
    UnmaskingAnswer,
)
from tests.cohorts import changed
from tests.secagg.wire.samples import SIGNATURE, A, B, C

D = bytes([4] * 32)
ATTEMPT = Attempt(A, 1, 2, B, C)
FACTS = SumFacts(A, 1, 2, B, C, D, (1, 2, 3), A)
HELLO = Hello(1, A, B, 3, 4, None, None, None, None, SIGNATURE)
OPENED = OpenedShare(1, bytes(33), A)
ANSWER = UnmaskingAnswer(A, (OPENED,), (changed(OPENED, v=2),), (B,), SIGNATURE)

STATEMENTS: dict[str, tuple[Callable[..., context.Statement], tuple[Any, ...]]] = {
    "hello": (context.hello, (A, HELLO)),
    "advertisement": (context.advertisement, (A, 1, B, C)),
    "share_keys": (context.share_keys, (A, 1, B, C)),
    "complaint": (context.complaint, (A, 1, 2, B)),
    "masked_input": (context.masked_input, (A, 1, B)),
    "survivor": (context.survivor, (A, B, 1, (1, 2, 3))),
    "answer": (context.answer, (A, (1, 2), 1, ANSWER)),
    "published_sum": (context.published_sum, (FACTS,)),
    "certificate": (context.certificate, (FACTS, B)),
    "abandonment": (context.abandonment, (A, 1, B)),
}
DIGESTS: dict[str, tuple[Callable[..., bytes], tuple[Any, ...]]] = {
    "roster_digest": (context.roster_digest, (A, (Advertisement(1, B, C, SIGNATURE),))),
    "channel_leaf": (context.channel_leaf, (1, A)),
    "share_leaf": (context.share_leaf, (A, 1, 2, b"ciphertext", B, C)),
    "u2_hash": (context.u2_hash, (A, (Dealing(1, B, C, SIGNATURE),))),
    "u3_hash": (context.u3_hash, (A, (1, 2, 3))),
    "share_commitment": (context.share_commitment, (A, 1, 2, Label.SELF_MASK, bytes(33), B)),
    "seed_commitment": (context.seed_commitment, (A, 1, B)),
}


def variants(argument: Any) -> list[Any]:
    """Other values in the place of one argument."""
    match argument:
        case Label():
            return [Label.MASK_KEY]
        case int():
            return [argument + 1]
        case bytes():
            return [argument[:-1] + bytes([argument[-1] ^ 1]), argument + b"\0"]
        case tuple():
            shorter = argument[:-1]
            longer = (*argument, argument[-1])
            inner = [
                (*argument[:place], other, *argument[place + 1 :])
                for place, item in enumerate(argument)
                for other in variants(item)
            ]
            return [shorter, longer, *inner]
        case _:
            return [
                changed(argument, **{field: other})
                for field in argument.__struct_fields__
                if field not in UNBOUND.get(type(argument), ())
                for other in variants(getattr(argument, field))
            ]


#: Fields that a digest or statement leaves out, and why.
UNBOUND: dict[type, tuple[str, ...]] = {
    # The certificate and abandonment sign for themselves; the session is asked for, not stated.
    Hello: ("certificate", "abandonment", "session", "awaiting", "signature"),
    # The context is in the hash of U3; the signature is what this is for.
    UnmaskingAnswer: ("session", "signature"),
    # What is hashed is what was signed, by whom; the signature may differ without harm.
    Dealing: ("signature",),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_part_of_a_statement_is_signed(name: str) -> None:
    make, arguments = STATEMENTS[name]
    all_of_them = [make(*arguments)]
    for place, argument in enumerate(arguments):
        for other in variants(argument):
            all_of_them.append(make(*arguments[:place], other, *arguments[place + 1 :]))
    encoded = [encode(*statement) for statement in all_of_them]
    assert len(set(encoded)) == len(encoded)


@pytest.mark.parametrize("name", DIGESTS)
def test_every_part_of_a_digest_counts(name: str) -> None:
    make, arguments = DIGESTS[name]
    all_of_them = [make(*arguments)]
    for place, argument in enumerate(arguments):
        for other in variants(argument):
            all_of_them.append(make(*arguments[:place], other, *arguments[place + 1 :]))
    assert len(set(all_of_them)) == len(all_of_them)


def test_no_two_kinds_of_statement_share_a_label() -> None:
    labels = [make(*arguments)[0] for make, arguments in STATEMENTS.values()]
    labels.append(ATTEMPT.statement()[0])
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    "other",
    [
        Attempt(B, 1, 2, B, C),
        Attempt(A, 2, 2, B, C),
        Attempt(A, 1, 1, B, C),
        Attempt(A, 2, 1, B, C),
        Attempt(A, 1, 2, A, C),
        Attempt(A, 1, 2, B, A),
    ],
)
def test_every_part_of_an_attempt_is_in_its_session(other: Attempt) -> None:
    assert other.session != ATTEMPT.session
    assert other.statement() != ATTEMPT.statement()


def test_the_suite_is_in_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    before = ATTEMPT.session
    monkeypatch.setattr(context, "SUITE", "secagg-suite-2")
    assert ATTEMPT.session != before


def test_a_sums_facts_name_its_attempt() -> None:
    assert context.attempt_of(FACTS) == ATTEMPT


def test_clients_are_eight_bytes_each() -> None:
    assert context.clients((1, 258)) == bytes(7) + b"\1" + bytes(6) + b"\1\2"
    assert context.clients(()) == b""


def sha256(*parts: bytes) -> bytes:
    """SHA-256 over the parts, each after its length as 8 bytes: the rule of docs/protocol.md."""
    return hashlib.sha256(prefixed(*parts)).digest()


def prefixed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def test_the_chain_of_digests_as_a_stranger_computes_it() -> None:
    session = sha256(b"secagg/1/session", b"secagg-suite-1", A, number(1), number(2), B, C)
    assert ATTEMPT.session == session
    advertised = prefixed(b"secagg/1/advertisement", number(1), B, C, SIGNATURE)
    roster = sha256(b"secagg/1/roster", session, advertised)
    assert context.roster_digest(session, (Advertisement(1, B, C, SIGNATURE),)) == roster
    dealt = prefixed(b"secagg/1/share keys", number(1), B, C)
    u2 = sha256(b"secagg/1/U2", roster, dealt)
    assert context.u2_hash(roster, (Dealing(1, B, C, SIGNATURE),)) == u2
    u3 = sha256(b"secagg/1/U3", u2, number(1) + number(2) + number(3))
    assert context.u3_hash(u2, (1, 2, 3)) == u3
