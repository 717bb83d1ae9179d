"""Attack 14: the sum that the server publishes is not the sum, or not the same for everybody.

A server that lies to everybody alike is caught by whoever recomputes the sum from the masked
inputs; here is what each hospital checks by itself, and what certificates make impossible.
"""

from __future__ import annotations

from typing import Any

import pytest

from secagg import context
from secagg.checks import Check
from secagg.crypto.hashing import Label
from secagg.rounds.journal import CertificateSigned, Standing
from secagg.rounds.machine import Step
from secagg.rounds.r5_certification import (
    Certifying,
    Concluded,
    SumReceived,
    SumSigned,
    abandonment,
    check_abandonment,
    check_abandonment_share,
    check_certificate,
    conclude,
    sign_abandonment,
    sign_sum,
)
from secagg.simulate import Cohort
from secagg.vector.aggregate import vector_digest
from secagg.wire.messages import (
    AbandonmentRequest,
    Certificate,
    CertificateNotice,
    CertificateShare,
    PublishedSum,
    Signed,
    SumAnnouncement,
)
from tests.cohorts import (
    Vector,
    changed,
    flipped,
    opened,
    plain_sum,
    reach,
    refused,
    stranger,
    template,
    without,
)


def published_by(cohort: Cohort, total: Vector, **facts: Any) -> PublishedSum:
    """A sum that the server made up, signed by it."""
    state = cohort.server.state
    assert isinstance(state, Certifying)
    digest = vector_digest(Label.SUM, total, cohort.policy.ring)
    published = changed(state.published, **{"sum_digest": digest, **facts})
    signature = cohort.identity.sign(*context.published_sum(published))
    return changed(published, server_signature=signature)


def signed_by(
    cohort: Cohort,
    u: int,
    published: PublishedSum,
    total: Vector,
    standing: Standing | None = None,
) -> Step[SumSigned]:
    """Hospital u's step on a published sum."""
    session = context.attempt_of(published).session
    return sign_sum(
        cohort.hospitals[u],
        SumReceived(SumAnnouncement(session, published), total),
        standing=standing or cohort.standings[u],
        base_model_hash=cohort.base_model_hash,
        next_model_hash=cohort.next_model_hash,
    )


@pytest.fixture
def certifying() -> Cohort:
    """The sum is computed; nobody has seen it yet."""
    cohort = opened()
    reach(cohort, Certifying)
    return cohort


@pytest.fixture
def total(certifying: Cohort) -> Vector:
    """The sum as it should be."""
    assert certifying.total is not None
    return certifying.total


# --- one hospital --------------------------------------------------------------------------------


def test_a_sum_that_is_not_the_signed_one_is_refused(certifying: Cohort, total: Vector) -> None:
    published = published_by(certifying, total)
    for other in (total + 1, total[::-1].copy(), total[:-1]):
        with refused(Check.SUM_MATCHES):
            signed_by(certifying, 1, published, other)


def test_without_that_check_hospitals_could_be_given_different_models(
    certifying: Cohort, total: Vector
) -> None:
    published = published_by(certifying, total)
    with without(Check.SUM_MATCHES):
        one = signed_by(certifying, 1, published, total)
        two = signed_by(certifying, 2, published, total + 1)
    assert one.state.model_hash != two.state.model_hash


def test_a_sum_that_the_pinned_server_did_not_sign_is_refused(
    certifying: Cohort, total: Vector
) -> None:
    good = published_by(certifying, total)
    statement = context.published_sum(good)
    for signature in (
        flipped(good.server_signature),
        stranger(b"server").sign(*statement),
        certifying.hospitals[1].identity.sign(*statement),
    ):
        with refused(Check.SUM_SIGNED):
            signed_by(certifying, 1, changed(good, server_signature=signature), total)


@pytest.mark.parametrize(
    ("facts", "check"),
    [
        ({"u3": (1, 2, 3)}, Check.SUM_QUORUM),
        ({"u2_hash": bytes(32)}, Check.SUM_QUORUM),
        ({"attempt": 2}, Check.SUM_QUORUM),
        ({"round": 2}, Check.SUM_QUORUM),
        ({"base_model_hash": bytes(32)}, Check.SUM_QUORUM),
        ({"policy_digest": bytes(32)}, Check.SUM_QUORUM),
        ({"server_nonce": bytes(32)}, Check.SUM_QUORUM),
        ({"survivor_signatures": ()}, Check.SUM_QUORUM),
        ({"u3": (1, 2)}, Check.SUM_COHORT),
    ],
)
def test_t_survivors_must_vouch_for_all_that_the_sum_states(
    certifying: Cohort, total: Vector, facts: dict[str, Any], check: Check
) -> None:
    with refused(check):
        signed_by(certifying, 1, published_by(certifying, total, **facts), total)


def test_the_announced_session_is_the_one_that_the_sum_states(
    certifying: Cohort, total: Vector
) -> None:
    published = published_by(certifying, total)
    with refused(Check.SESSION_MATCHES):
        sign_sum(
            certifying.hospitals[1],
            SumReceived(SumAnnouncement(bytes(32), published), total),
            standing=Standing(),
            base_model_hash=certifying.base_model_hash,
            next_model_hash=certifying.next_model_hash,
        )


@pytest.mark.parametrize(
    "standing",
    [Standing(closed=1), Standing(closed=2), Standing(abandoning=1), Standing(abandoning=2)],
)
def test_no_sum_is_signed_for_a_round_that_has_ended_here(
    certifying: Cohort, total: Vector, standing: Standing
) -> None:
    with refused(Check.SUM_CONTEXT):
        signed_by(certifying, 1, published_by(certifying, total), total, standing)


def test_no_sum_is_signed_on_top_of_another_model(certifying: Cohort, total: Vector) -> None:
    published = published_by(certifying, total)
    with refused(Check.SUM_CONTEXT):
        sign_sum(
            certifying.hospitals[1],
            SumReceived(SumAnnouncement(certifying.server.state.attempt.session, published), total),
            standing=certifying.standings[1],
            base_model_hash=bytes(32),
            next_model_hash=certifying.next_model_hash,
        )


def test_a_second_sum_of_the_round_is_not_signed(certifying: Cohort, total: Vector) -> None:
    """The server signed both: evidence of equivocation, in the journal of whoever sees both."""
    first = signed_by(certifying, 1, published_by(certifying, total), total)
    (entry,) = first.durable
    assert isinstance(entry, CertificateSigned)
    other = published_by(certifying, total + 1)
    with refused(Check.SUM_ONCE):
        signed_by(certifying, 1, other, total + 1, certifying.standings[1].after(entry))
    assert other.server_signature != entry.published.server_signature


# --- certificates --------------------------------------------------------------------------------


def certificate_of(cohort: Cohort) -> Certificate:
    return reach(cohort, Concluded).certificate


def test_two_sums_are_never_both_certified(certifying: Cohort, total: Vector) -> None:
    """Two hospitals sign each: neither has t = 3, whoever the one corrupt hospital joins."""
    shares: dict[bytes, list[int]] = {}
    for u in certifying.policy.members:
        mine = total + (u % 2)
        step = signed_by(certifying, u, published_by(certifying, mine), mine)
        shares.setdefault(step.state.published.sum_digest, []).append(u)
    assert sorted(map(len, shares.values())) == [2, 2]
    assert all(len(signers) < certifying.policy.threshold for signers in shares.values())


def test_a_certificate_carries_t_signatures_of_the_roster() -> None:
    cohort = opened()
    good = certificate_of(cohort)
    check_certificate(cohort.policy, good)
    few, one = good.signatures[:2], good.signatures[0]
    statement = context.certificate(good, good.model_hash)
    sybil = Signed(5, stranger(b"sybil").sign(*statement))
    for signatures in (
        few,
        (*few, few[1]),
        (*few, changed(few[1], u=3)),
        (*few, sybil),
        good.signatures[::-1],
        (one, *good.signatures),
        (*good.signatures[:3], changed(good.signatures[3], signature=bytes(64))),
    ):
        with refused(Check.CERTIFICATE_QUORUM):
            check_certificate(cohort.policy, changed(good, signatures=signatures))


@pytest.mark.parametrize(
    "facts",
    [
        {"round": 2},
        {"attempt": 2},
        {"model_hash": bytes(32)},
        {"sum_digest": bytes(32)},
        {"u3": (1, 2, 3)},
        {"policy_digest": bytes(32)},
        {"base_model_hash": bytes(32)},
        {"server_nonce": bytes(32)},
    ],
)
def test_a_certificate_is_signed_over_all_that_it_states(facts: dict[str, Any]) -> None:
    cohort = opened()
    with refused(Check.CERTIFICATE_QUORUM):
        check_certificate(cohort.policy, changed(certificate_of(cohort), **facts))


def test_without_the_quorum_one_hospital_could_certify_any_model() -> None:
    cohort = opened()
    good = certificate_of(cohort)
    alone = changed(good, model_hash=bytes(32), signatures=())
    with without(Check.CERTIFICATE_QUORUM):
        check_certificate(cohort.policy, alone)


def test_a_certificate_for_another_model_than_mine_is_refused(
    certifying: Cohort, total: Vector
) -> None:
    """The others have computed something else from the same sum: one of us is wrong."""
    published = published_by(certifying, total)
    mine = signed_by(certifying, 1, published, total).state
    other = bytes(32)
    facts = {name: getattr(published, name) for name in published.__struct_fields__[:8]}
    unsigned = Certificate(**facts, model_hash=other, signatures=())
    statement = context.certificate(unsigned, other)
    signatures = tuple(
        Signed(u, certifying.hospitals[u].identity.sign(*statement)) for u in (2, 3, 4)
    )
    notice = CertificateNotice(changed(unsigned, signatures=signatures))
    with refused(Check.CERTIFICATE_HASH):
        conclude(mine, notice, certifying.randomness[1])


def test_the_server_takes_only_signatures_on_the_sum_it_published(
    certifying: Cohort, total: Vector
) -> None:
    session = certifying.server.state.attempt.session
    other = signed_by(certifying, 1, published_by(certifying, total + 1), total + 1).state
    good = signed_by(certifying, 2, published_by(certifying, total), total).state
    (wrong_sum,), (right,) = other.outbound, good.outbound
    assert isinstance(right, CertificateShare)
    for u, share in (
        (1, wrong_sum),
        (1, right),
        (2, CertificateShare(session, bytes(32), right.signature)),
        (2, changed(right, signature=flipped(right.signature))),
    ):
        with refused(Check.CERTIFICATE_SHARE_VALID, f"hospital-{u}"):
            certifying.server.handle(u, share)


# --- abandonment ---------------------------------------------------------------------------------


def shares_of_abandonment(cohort: Cohort, signers: tuple[int, ...]) -> dict[int, bytes]:
    request = AbandonmentRequest(1, cohort.base_model_hash, "too few answers")
    return {
        u: sign_abandonment(
            cohort.hospitals[u],
            request,
            standing=Standing(entered=(1, 1)),
            base_model_hash=cohort.base_model_hash,
            newest_round=1,
        ).signature
        for u in signers
    }


@pytest.mark.parametrize(
    "standing",
    [
        Standing(entered=(1, 1), closed=1),
        Standing(entered=(1, 1), signed=1),
        Standing(entered=(2, 1), signed=2),
        Standing(entered=(1, 1), answered=1),
        Standing(entered=(0, 0)),
    ],
)
def test_a_round_is_certified_or_abandoned_never_both(standing: Standing) -> None:
    cohort = opened()
    with refused(Check.ABANDON_ALLOWED):
        sign_abandonment(
            cohort.hospitals[1],
            AbandonmentRequest(1, cohort.base_model_hash, ""),
            standing=standing,
            base_model_hash=cohort.base_model_hash,
            newest_round=standing.entered[0],
        )


def test_a_hospital_abandons_only_rounds_on_top_of_its_model() -> None:
    cohort = opened()
    with refused(Check.ABANDON_ALLOWED):
        sign_abandonment(
            cohort.hospitals[1],
            AbandonmentRequest(1, bytes(32), ""),
            standing=Standing(entered=(1, 1)),
            base_model_hash=cohort.base_model_hash,
            newest_round=1,
        )


def test_an_abandonment_carries_t_signatures_of_the_roster() -> None:
    cohort = opened()
    policy, base = cohort.policy, cohort.base_model_hash
    good = abandonment(policy, 1, base, shares_of_abandonment(cohort, (1, 2, 4)))
    assert good is not None
    assert check_abandonment(policy, good).round == 1
    assert abandonment(policy, 1, base, shares_of_abandonment(cohort, (1, 2))) is None
    for forged in (
        changed(good, signatures=good.signatures[:2]),
        changed(good, signatures=(*good.signatures[:2], good.signatures[1])),
        changed(good, signatures=good.signatures[::-1]),
        changed(good, round=2),
        changed(good, base_model_hash=bytes(32)),
        changed(good, policy_digest=bytes(32)),
    ):
        with refused(Check.ABANDONMENT_QUORUM):
            check_abandonment(policy, forged)


def test_the_server_takes_only_the_signers_own_abandonment() -> None:
    cohort = opened(template(4))
    policy, base = cohort.policy, cohort.base_model_hash
    signature = shares_of_abandonment(cohort, (1,))[1]
    check_abandonment_share(policy, 1, 1, base, signature)
    for u, number, model in ((2, 1, base), (1, 2, base), (1, 1, bytes(32))):
        with refused(Check.ABANDONMENT_SHARE_VALID, f"hospital-{u}"):
            check_abandonment_share(policy, u, number, model, signature)


def test_the_certified_sum_is_the_true_one() -> None:
    cohort = opened()
    certificate = certificate_of(cohort)
    assert cohort.total is not None
    true_sum = plain_sum(cohort, cohort.policy.members)
    assert certificate.sum_digest == vector_digest(Label.SUM, true_sum, cohort.policy.ring)
