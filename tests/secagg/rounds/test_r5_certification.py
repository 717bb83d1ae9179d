"""Certification: from the sum to t signatures on one model. Lies: tests/attacks/test_14."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from secagg import context
from secagg.checks import Check
from secagg.crypto.hashing import Label
from secagg.crypto.signatures import verify
from secagg.policy import NoiseSpec
from secagg.privacy.accounting import RHO_UNIT
from secagg.rounds.journal import AbandonmentSigned, CertificateSigned, Certified, Standing
from secagg.rounds.r2_masked_input import Masking
from secagg.rounds.r3_consistency_check import signed
from secagg.rounds.r5_certification import (
    Certifying,
    Concluded,
    RoundCertified,
    SumReceived,
    SumSigned,
    abandonment,
    check_abandonment,
    check_certificate,
    check_published,
    restore_signed,
    sign_abandonment,
    sign_sum,
    within_bound,
)
from secagg.rounds.session import ClientSession
from secagg.simulate import Cohort
from secagg.vector.aggregate import vector_digest
from secagg.wire.messages import (
    AbandonmentRequest,
    CertificateShare,
    SumAnnouncement,
    VectorChunk,
    Wire,
)
from tests.cohorts import (
    changed,
    delivered,
    message_for,
    opened,
    plain_sum,
    reach,
    refused,
    state_of,
    step,
    template,
)


def test_the_published_sum_stands_by_itself() -> None:
    """Whoever has the policy can verify it: the server's signature, and t survivors'."""
    cohort = opened()
    published = reach(cohort, Certifying).published
    check_published(cohort.policy, published)
    assert published.sum_digest == vector_digest(
        Label.SUM, plain_sum(cohort, (1, 2, 3, 4)), cohort.policy.ring
    )
    assert context.attempt_of(published) == cohort.server.state.attempt


def test_everybody_on_the_roster_is_sent_the_sum_whoever_dropped_included() -> None:
    cohort = opened()
    reach(cohort, Masking)
    state = reach(cohort, Certifying, (1, 2, 3))
    assert state.awaited() == {1, 2, 3, 4}
    announcement, *chunks = cohort.to_client(4)
    assert isinstance(announcement, SumAnnouncement)
    assert all(isinstance(chunk, VectorChunk) for chunk in chunks)
    step(cohort, (4,))
    assert state_of(cohort, 4, SumSigned).published == state.published
    assert reach(cohort, Certifying).awaited() == {1, 2, 3}
    assert list(cohort.to_client(4)) == []


def test_a_model_hash_is_durable_before_its_signature_leaves_and_survives_a_restart() -> None:
    cohort = opened()
    reach(cohort, Certifying)
    step(cohort, [1])
    signed = state_of(cohort, 1, SumSigned)
    entry = cohort.journals[1][-1]
    assert isinstance(entry, CertificateSigned)
    assert cohort.standings[1].signed == 1
    (share,) = signed.outbound
    assert isinstance(share, CertificateShare)
    statement = context.certificate(signed.published, signed.model_hash)
    assert verify(cohort.policy.identity_key(1), share.signature, *statement)
    assert list(restore_signed(cohort.hospitals[1], entry).outbound) == [share]


def test_t_hospitals_that_agree_make_the_certificate_when_time_is_over() -> None:
    cohort = opened()
    reach(cohort, Certifying)
    step(cohort, [1, 2])
    waiting = cohort.server.state
    assert cohort.server.close() == frozenset()
    assert cohort.server.state is waiting
    step(cohort, [4])
    assert isinstance(cohort.server.state, Certifying)  # hospital 3 may still sign
    assert cohort.server.close() == {1, 2, 3, 4}
    certificate = reach(cohort, Concluded).certificate
    assert [s.u for s in certificate.signatures] == [1, 2, 4]
    check_certificate(cohort.policy, certificate)
    assert cohort.server.over


def test_all_signatures_that_agree_are_in_the_certificate() -> None:
    cohort = opened()
    certificate = reach(cohort, Concluded).certificate
    assert [s.u for s in certificate.signatures] == [1, 2, 3, 4]


def signed_differently(cohort: Cohort, u: int) -> CertificateShare:
    state = cohort.server.state
    assert isinstance(state, Certifying)
    other = bytes([u] * 32)
    statement = context.certificate(state.published, other)
    return CertificateShare(
        state.attempt.session, other, cohort.hospitals[u].identity.sign(*statement)
    )


def test_signatures_on_another_model_hash_do_not_count_towards_t() -> None:
    cohort = opened()
    reach(cohort, Certifying)
    cohort.collect(1, signed_differently(cohort, 1))
    step(cohort, [2, 3])
    cohort.server.close()
    state = cohort.server.state
    assert isinstance(state, Certifying)
    assert state.certificate() is None
    step(cohort, [4])
    certificate = reach(cohort, Concluded).certificate
    assert [s.u for s in certificate.signatures] == [2, 3, 4]


def test_whoever_signed_accepts_the_certificate_of_its_own_model() -> None:
    cohort = opened()
    concluded = reach(cohort, Concluded)
    assert delivered(cohort, 1, message_for(cohort, 1)) == []
    assert state_of(cohort, 1, RoundCertified).certificate == concluded.certificate
    assert cohort.journals[1][-1] == Certified(concluded.certificate)
    assert cohort.standings[1] == Standing(entered=(1, 1), closed=1)


def test_a_certified_round_makes_room_for_the_next() -> None:
    cohort = opened()
    reach(cohort, Concluded)
    step(cohort)
    cohort.open(cohort.vectors, 2, 1)
    reach(cohort, Concluded)
    assert cohort.total is not None
    assert np.array_equal(cohort.total, plain_sum(cohort, (1, 2, 3, 4)))


def test_a_certificate_of_another_round_is_not_the_expected_one() -> None:
    cohort = opened()
    reach(cohort, Concluded)
    first = message_for(cohort, 1)
    step(cohort)
    cohort.open(cohort.vectors, 2, 1)
    reach(cohort, Concluded)
    with refused(Check.CERTIFICATE_HASH):
        delivered(cohort, 1, first)


@pytest.mark.parametrize(
    ("total", "bounded"),
    [
        ([], True),
        ([0, 30_000], True),
        ([-30_000, 0], True),
        ([-30_000, 30_000], True),
        ([0, 30_001], False),
        ([-30_001, 0], False),
        ([-30_001, 30_001], False),
    ],
)
def test_a_sum_is_bounded_by_what_its_survivors_can_add_up_to(
    total: list[int], bounded: bool
) -> None:
    policy = template(max_value=10_000)
    assert within_bound(policy, 3, np.array(total, np.int64)) is bounded


@pytest.mark.parametrize(
    ("standing", "base"),
    [
        (Standing(closed=1), None),
        (Standing(closed=2), None),
        (Standing(abandoning=1), None),
        (Standing(abandoning=2), None),
        (Standing(), bytes(32)),
        (Standing(), b"\xff" * 32),
    ],
)
def test_a_sum_of_a_closed_round_or_another_model_is_not_signed(
    standing: Standing, base: bytes | None
) -> None:
    cohort = opened()
    state = reach(cohort, Certifying)
    announcement = message_of(state.outbound(1))

    def sign(standing: Standing, base_model_hash: bytes) -> None:
        sign_sum(
            cohort.hospitals[1],
            SumReceived(announcement, state.total),
            standing=standing,
            base_model_hash=base_model_hash,
            next_model_hash=lambda _total: bytes(32),
        )

    sign(Standing(entered=(1, 1)), cohort.base_model_hash)
    with refused(Check.SUM_CONTEXT):
        sign(standing, cohort.base_model_hash if base is None else base)


def test_a_sum_under_another_policy_of_the_same_hospitals_is_not_signed() -> None:
    ours, theirs = opened(), opened(template(max_charged_attempts=5))
    assert ours.identity.public == theirs.identity.public
    state = reach(theirs, Certifying)
    announcement = message_of(state.outbound(1))
    check_published(ours.policy, announcement.published)  # everybody's signatures are good
    with refused(Check.SUM_CONTEXT):
        sign_sum(
            ours.hospitals[1],
            SumReceived(announcement, state.total),
            standing=Standing(entered=(1, 1)),
            base_model_hash=theirs.base_model_hash,
            next_model_hash=lambda _total: bytes(32),
        )


def message_of(messages: Iterable[Wire]) -> SumAnnouncement:
    (found,) = (message for message in messages if isinstance(message, SumAnnouncement))
    return found


def test_a_published_sum_is_in_no_states_repr() -> None:
    cohort = opened()
    state = reach(cohort, Certifying)
    assert repr(state.total) not in repr(state)
    assert repr(state.total) not in repr(SumReceived(message_of(state.outbound(1)), state.total))


@pytest.mark.parametrize("model_hash", [bytes(32), b"\xff" * 32])
def test_a_certificate_of_another_model_is_not_the_expected_one(model_hash: bytes) -> None:
    """Even if t hospitals signed it."""
    cohort = opened()
    concluded = reach(cohort, Concluded)
    statement = context.certificate(concluded.certificate, model_hash)
    signatures = {u: cohort.hospitals[u].identity.sign(*statement) for u in (2, 3, 4)}
    other = changed(concluded.certificate, model_hash=model_hash, signatures=signed(signatures))
    check_certificate(cohort.policy, other)
    with refused(Check.CERTIFICATE_HASH):
        delivered(cohort, 1, changed(message_for(cohort, 1), certificate=other))


# --- abandonment ---------------------------------------------------------------------------------

NOISE = NoiseSpec(mode="at_least", sensitivity=100, rho_units=int(1 / RHO_UNIT))


def abandon(cohort: Cohort, u: int, number: int, standing: Standing) -> AbandonmentSigned:
    return sign_abandonment(
        cohort.hospitals[u],
        AbandonmentRequest(number, cohort.base_model_hash, "too few answers"),
        standing=standing,
        base_model_hash=cohort.base_model_hash,
        newest_round=3,
    )


@pytest.mark.parametrize(
    ("noise", "standing", "number", "allowed"),
    [
        (None, Standing(entered=(1, 1)), 1, True),
        (None, Standing(entered=(1, 1)), 3, True),
        (None, Standing(entered=(1, 1)), 4, False),
        (None, Standing(entered=(1, 1), answered=1), 1, False),
        (None, Standing(entered=(1, 1), answered=1), 2, False),
        (None, Standing(entered=(2, 1), answered=2), 1, False),
        (NOISE, Standing(entered=(1, 1), answered=1), 1, True),
        (NOISE, Standing(entered=(1, 1), answered=1), 2, False),
        (NOISE, Standing(entered=(1, 1), signed=1), 1, False),
        (NOISE, Standing(entered=(1, 1), closed=1), 1, False),
        (NOISE, Standing(entered=(1, 1), abandoning=1), 1, True),
        (NOISE, Standing(entered=(2, 1), abandoning=2), 3, True),
    ],
)
def test_what_may_be_abandoned(
    noise: NoiseSpec | None, standing: Standing, number: int, allowed: bool
) -> None:
    cohort = opened(template(noise=noise))
    if allowed:
        assert abandon(cohort, 1, number, standing).round == number
    else:
        with refused(Check.ABANDON_ALLOWED):
            abandon(cohort, 1, number, standing)


@pytest.mark.parametrize("other", [bytes(32), b"\xff" * 32])
def test_a_round_on_another_model_is_not_abandoned(other: bytes) -> None:
    cohort = opened()
    with refused(Check.ABANDON_ALLOWED):
        sign_abandonment(
            cohort.hospitals[1],
            AbandonmentRequest(1, other, "too few answers"),
            standing=Standing(entered=(1, 1)),
            base_model_hash=cohort.base_model_hash,
            newest_round=3,
        )


def test_t_abandonments_close_the_round_and_the_next_number_goes_on() -> None:
    cohort = opened()
    reach(cohort, Masking)
    signatures = {u: abandon(cohort, u, 1, cohort.standings[u]).signature for u in (1, 2, 3)}
    document = abandonment(cohort.policy, 1, cohort.base_model_hash, signatures)
    assert document is not None
    entry = check_abandonment(cohort.policy, document)
    for u in cohort.policy.members:
        cohort.standings[u] = cohort.standings[u].after(entry)
    cohort.open(cohort.vectors, 1, 2)
    with refused(Check.ROUND_OPEN):
        delivered(cohort, 1, message_for(cohort, 1))
    cohort.open(cohort.vectors, 2, 1)
    reach(cohort, Concluded)
    assert cohort.survivors == (1, 2, 3, 4)


@pytest.mark.parametrize(("signers", "enough"), [(2, False), (3, True), (4, True)])
def test_t_signatures_or_more_abandon_a_round(signers: int, enough: bool) -> None:
    cohort = opened()
    reach(cohort, Masking)
    everybody = {u: abandon(cohort, u, 1, cohort.standings[u]).signature for u in (1, 2, 3, 4)}
    document = abandonment(cohort.policy, 1, cohort.base_model_hash, everybody)
    assert document is not None
    some = changed(document, signatures=document.signatures[:signers])
    if enough:
        assert check_abandonment(cohort.policy, some).round == 1
    else:
        with refused(Check.ABANDONMENT_QUORUM):
            check_abandonment(cohort.policy, some)


def test_a_signed_abandonment_is_the_same_however_often_it_is_asked_for() -> None:
    cohort = opened()
    first = abandon(cohort, 1, 1, Standing(entered=(1, 1)))
    assert abandon(cohort, 1, 1, Standing(entered=(1, 1)).after(first)) == first


def test_sessions_start_from_the_journals_signature() -> None:
    cohort = opened()
    reach(cohort, Certifying)
    step(cohort)
    entry = cohort.journals[2][-1]
    assert isinstance(entry, CertificateSigned)
    cohort.sessions[2] = ClientSession(restore_signed(cohort.hospitals[2], entry))
    assert cohort.sessions[2].expects == "CertificateNotice"
    delivered(cohort, 2, message_for(cohort, 2))
    assert isinstance(cohort.sessions[2].state, RoundCertified)
