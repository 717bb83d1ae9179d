"""Attack 7: sybils, unknown ids, ids listed twice, lists that are not in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from secagg import context
from secagg.checks import Check
from secagg.errors import DecodeError
from secagg.policy import checked
from secagg.rounds.r1_share_keys import Sharing
from secagg.rounds.r2_masked_input import Masking
from secagg.rounds.r3_consistency_check import Checking
from secagg.rounds.r4_unmasking import Unmasking
from secagg.rounds.r5_certification import Certifying, check_published
from secagg.wire.codec import decode_from_server, encode
from secagg.wire.messages import MAX_CLIENTS, Signed, SurvivorSet
from tests.cohorts import (
    advertisement_of,
    changed,
    delivered,
    message_for,
    opened,
    reach,
    refused,
    stranger,
    template,
    without,
)

SYBIL = 5
"""A client number that is on the wire's range and on nobody's roster of four."""

Disorder = Callable[[tuple[Any, ...]], tuple[Any, ...]]


def twice(items: tuple[Any, ...]) -> tuple[Any, ...]:
    return (items[0], *items)


def twice_at_the_end(items: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*items, items[0])


def reversed_order(items: tuple[Any, ...]) -> tuple[Any, ...]:
    return items[::-1]


DISORDERS = (twice, twice_at_the_end, reversed_order)


@pytest.mark.parametrize("disorder", DISORDERS)
def test_u1_lists_each_hospital_once_in_order(disorder: Disorder) -> None:
    cohort = opened()
    reach(cohort, Sharing)
    roster = message_for(cohort, 1)
    with refused(Check.U1_WELL_FORMED):
        delivered(cohort, 1, changed(roster, advertised=disorder(roster.advertised)))


def test_u1_lists_no_sybil() -> None:
    cohort = opened()
    state = reach(cohort, Sharing)
    roster, two = message_for(cohort, 1), state.advertised[2]
    sybil = advertisement_of(
        stranger(b"sybil"),
        state.attempt.session,
        SYBIL,
        two.channel_keys,
        two.advertisement.mask_key,
    ).delivered_to(1)
    with refused(Check.U1_WELL_FORMED):
        delivered(cohort, 1, changed(roster, advertised=(*roster.advertised, sybil)))


def test_without_those_checks_two_hospitals_pass_for_the_floor_of_three() -> None:
    cohort = opened()
    reach(cohort, Sharing)
    roster = message_for(cohort, 1)
    one, two = roster.advertised[:2]
    padded = changed(roster, advertised=(one, two, two))
    with without(Check.U1_WELL_FORMED), refused(Check.KEYS_DISTINCT):
        delivered(cohort, 1, padded)  # what still stands in the way; and behind it:
    with (
        without(Check.U1_WELL_FORMED, Check.KEYS_DISTINCT),
        pytest.raises(ValueError, match="threshold"),
    ):
        delivered(cohort, 1, padded)


@pytest.mark.parametrize("disorder", DISORDERS)
def test_u2_lists_each_dealer_once_in_order(disorder: Disorder) -> None:
    cohort = opened()
    reach(cohort, Masking)
    delivery = message_for(cohort, 1)
    with refused(Check.U2_WELL_FORMED):
        delivered(cohort, 1, changed(delivery, delivered=disorder(delivery.delivered)))


def test_u2_lists_nobody_who_has_not_advertised() -> None:
    cohort = opened()
    reach(cohort, Masking)
    delivery = message_for(cohort, 1)
    last = delivery.delivered[-1]
    sybil = changed(last, dealing=changed(last.dealing, u=SYBIL))
    with refused(Check.U2_WELL_FORMED):
        delivered(cohort, 1, changed(delivery, delivered=(*delivery.delivered, sybil)))


@pytest.mark.parametrize("u3", [(1, 1, 2, 3), (1, 2, 3, 3), (3, 2, 1), (1, 2, 3, 4, SYBIL)])
def test_u3_lists_members_of_u2_once_in_order(u3: tuple[int, ...]) -> None:
    cohort = opened()
    session = reach(cohort, Checking).attempt.session
    with refused(Check.U3_WELL_FORMED):
        delivered(cohort, 1, SurvivorSet(session, u3))


def test_u3_lists_nobody_who_had_dropped_before() -> None:
    cohort = opened()
    reach(cohort, Sharing)
    session = reach(cohort, Checking, (1, 2, 3)).attempt.session
    with refused(Check.U3_WELL_FORMED):
        delivered(cohort, 1, SurvivorSet(session, (1, 2, 3, 4)))


def test_without_that_check_a_hospital_signs_a_cohort_of_itself() -> None:
    cohort = opened()
    session = reach(cohort, Checking).attempt.session
    with without(Check.U3_WELL_FORMED):
        (signed,) = delivered(cohort, 1, SurvivorSet(session, (1, 1, 1)))
    assert signed.session == session


@pytest.mark.parametrize("disorder", DISORDERS)
def test_no_survivor_is_counted_twice(disorder: Disorder) -> None:
    cohort = opened()
    reach(cohort, Unmasking)
    shown = message_for(cohort, 1)
    with refused(Check.SURVIVORS_WELL_FORMED):
        delivered(cohort, 1, changed(shown, signatures=disorder(shown.signatures)))


def test_only_survivors_vouch_for_the_survivor_set() -> None:
    cohort = opened()
    reach(cohort, Masking)
    reach(cohort, Unmasking, (1, 2, 3))
    shown = message_for(cohort, 1)
    outsider = Signed(4, shown.signatures[0].signature)
    with refused(Check.SURVIVORS_WELL_FORMED):
        delivered(cohort, 1, changed(shown, signatures=(*shown.signatures, outsider)))


def test_without_that_check_one_signature_is_a_quorum() -> None:
    cohort = opened()
    reach(cohort, Unmasking)
    shown = message_for(cohort, 1)
    alone = changed(shown, signatures=shown.signatures[:1] * cohort.policy.threshold)
    with without(Check.SURVIVORS_WELL_FORMED):
        (answer,) = delivered(cohort, 1, alone)
    assert answer.self_mask_shares


@pytest.mark.parametrize("u3", [(1, 2, 2), (3, 2, 1), (2, 3, SYBIL), (1, 2)])
def test_a_sums_survivors_are_checked_the_same_way(u3: tuple[int, ...]) -> None:
    cohort = opened()
    published = changed(reach(cohort, Certifying).published, u3=u3)
    signature = cohort.identity.sign(*context.published_sum(published))
    with refused(Check.SUM_COHORT):
        check_published(cohort.policy, changed(published, server_signature=signature))


@pytest.mark.parametrize("u", [0, -1, MAX_CLIENTS + 1])
def test_a_number_that_no_client_can_have_does_not_decode(u: int) -> None:
    with pytest.raises(DecodeError):
        decode_from_server(encode(SurvivorSet(bytes(32), (1, 2, u))))


@pytest.mark.parametrize("field", ["name", "identity_key"])
def test_no_hospital_is_on_the_roster_twice(field: str) -> None:
    policy = template(4)
    double = changed(policy.roster[1], **{field: getattr(policy.roster[0], field)})
    with pytest.raises(DecodeError, match="every hospital"):
        checked(changed(policy, roster=(policy.roster[0], double, *policy.roster[2:])))
