"""Round 0: who enters what, with which keys. Substituted keys: tests/attacks/test_06."""

from __future__ import annotations

from typing import Any

import pytest

from secagg import context
from secagg.checks import Check
from secagg.crypto import merkle
from secagg.crypto.signatures import verify
from secagg.rounds.journal import Entered, Standing
from secagg.rounds.machine import Aborted
from secagg.rounds.r0_advertise_keys import (
    MAX_ATTEMPT,
    MAX_ROUND_GAP,
    Advertised,
    Advertising,
    advertise_keys,
    announce,
    channel_pair,
)
from secagg.rounds.r1_share_keys import Sharing
from secagg.rounds.session import ServerSession
from secagg.simulate import Cohort
from secagg.wire.messages import AdvertiseKeys, Announcement
from tests.cohorts import (
    changed,
    delivered,
    message_for,
    opened,
    reach,
    readvertised,
    refused,
    state_of,
    step,
    template,
)


def entered(
    cohort: Cohort, u: int = 1, *, standing: Standing | None = None, batch_round: int = 1
) -> AdvertiseKeys:
    """Client u's advertisement for what is announced."""
    taken = advertise_keys(
        cohort.hospitals[u],
        reach(cohort, Advertising).announcement,
        standing=standing or Standing(),
        base_model_hash=cohort.base_model_hash,
        batch_round=batch_round,
        vector=cohort.vectors[u],
        randomness=cohort.randomness[u],
    )
    assert taken.durable == (Entered(taken.state.attempt),)
    (message,) = taken.state.outbound
    assert isinstance(message, AdvertiseKeys)
    return message


# --- client --------------------------------------------------------------------------------------


def test_an_advertisement_says_in_clear_what_its_session_is_made_of() -> None:
    cohort = opened()
    attempt, message = cohort.server.state.attempt, entered(cohort)
    assert message.session == attempt.session
    assert (message.policy_digest, message.round, message.attempt, message.base_model_hash) == (
        cohort.policy.digest(),
        1,
        1,
        cohort.base_model_hash,
    )


def test_it_holds_one_channel_key_for_each_member_of_the_roster() -> None:
    cohort = opened()
    delivered(cohort, 2, message_for(cohort, 2))
    state = state_of(cohort, 2, Advertised)
    (message,) = state.outbound
    assert isinstance(message, AdvertiseKeys)
    assert len(state.channel_seed) == 32
    pairs = [channel_pair(state.channel_seed, v) for v in cohort.policy.members]
    assert message.channel_keys == tuple(pair.public for pair in pairs)
    assert len(set(message.channel_keys)) == cohort.policy.n
    leaves = [context.channel_leaf(v, pair.public) for v, pair in enumerate(pairs, 1)]
    assert message.advertisement.channel_root == merkle.root(leaves)


def test_it_is_signed_by_the_pinned_identity() -> None:
    cohort = opened()
    message = entered(cohort, 3)
    ad = message.advertisement
    statement = context.advertisement(message.session, 3, ad.channel_root, ad.mask_key)
    assert verify(cohort.policy.identity_key(3), ad.signature, *statement)


def test_two_entries_have_nothing_in_common() -> None:
    cohort = opened()
    first, second = entered(cohort), entered(cohort)
    keys = [{*m.channel_keys, m.advertisement.mask_key} for m in (first, second)]
    assert not keys[0] & keys[1]


@pytest.mark.parametrize(
    ("standing", "check"),
    [
        (Standing(entered=(1, 1)), Check.ATTEMPT_INCREASES),
        (Standing(entered=(1, 2)), Check.ATTEMPT_INCREASES),
        (Standing(entered=(2, 1)), Check.ATTEMPT_INCREASES),
        (Standing(closed=1), Check.ROUND_OPEN),
        (Standing(answered=1), Check.ROUND_OPEN),
        (Standing(answered=2), Check.ROUND_OPEN),
        (Standing(signed=1), Check.ROUND_OPEN),
        (Standing(abandoning=1), Check.ROUND_OPEN),
        (Standing(abandoning=3), Check.ROUND_OPEN),
        (Standing(charged=3), Check.CHARGES_LEFT),
        (Standing(charged=4), Check.CHARGES_LEFT),
    ],
)
def test_what_the_journal_forbids(standing: Standing, check: Check) -> None:
    with refused(check):
        entered(opened(), standing=standing)


def test_what_the_journal_allows() -> None:
    cohort = opened()
    cohort.open(cohort.vectors, 3, 2)
    for standing in (
        Standing(),
        Standing(entered=(3, 1), charged=2),
        Standing(entered=(2, 1000), closed=2),
        Standing(entered=(2, 1), abandoning=2),
    ):
        assert entered(cohort, standing=standing).round == 3


@pytest.mark.parametrize(
    ("batch_round", "wanted"),
    [(5, True), (4, True), (6, False), (5 - MAX_ROUND_GAP, True), (4 - MAX_ROUND_GAP, False)],
)
def test_a_batch_counts_for_its_round_and_some_later_ones(batch_round: int, wanted: bool) -> None:
    cohort = opened()
    cohort.open(cohort.vectors, 5, 1)
    if wanted:
        assert entered(cohort, batch_round=batch_round).round == 5
    else:
        with refused(Check.ROUND_WANTED):
            entered(cohort, batch_round=batch_round)


def test_the_charges_that_are_left_are_the_policys() -> None:
    generous = opened(template(max_charged_attempts=5))
    entered(generous, standing=Standing(charged=4))
    with refused(Check.CHARGES_LEFT):
        entered(generous, standing=Standing(charged=5))


# --- server --------------------------------------------------------------------------------------


def test_an_announcement_is_signed_and_fresh() -> None:
    cohort = opened()
    nonces = set()
    for attempt in (1, MAX_ATTEMPT):
        state = announce(
            cohort.policy,
            cohort.identity,
            round_number=7,
            attempt_number=attempt,
            base_model_hash=cohort.base_model_hash,
            randomness=cohort.randomness[0],
        ).state
        assert (state.attempt.round, state.attempt.attempt) == (7, attempt)
        (announcement,) = state.outbound(1)
        assert isinstance(announcement, Announcement)
        assert verify(cohort.identity.public, announcement.signature, *state.attempt.statement())
        nonces.add(announcement.server_nonce)
    assert len(nonces) == 2


def test_whoever_is_not_invited_is_not_asked_and_not_taken() -> None:
    cohort = opened()
    announced = announce(
        cohort.policy,
        cohort.identity,
        round_number=1,
        attempt_number=1,
        base_model_hash=cohort.base_model_hash,
        randomness=cohort.randomness[0],
        invited=frozenset({1, 2, 3}),
    )
    assert announced.recipients == {1, 2, 3}
    assert announced.state.outbound(4) == ()
    (announcement,) = announced.state.outbound(1)
    cohort.server = ServerSession(announced)
    (uninvited,) = delivered(cohort, 4, announcement)
    with refused(Check.ADVERTISEMENT_VALID, "hospital-4"):
        cohort.collect(4, uninvited)


def test_a_client_is_asked_until_it_has_advertised_and_the_first_one_stands() -> None:
    cohort = opened()
    step(cohort, [1])
    state = reach(cohort, Advertising)
    assert state.awaited() == {2, 3, 4}
    assert state.outbound(1) == ()
    assert len(tuple(state.outbound(2))) == 1
    cohort.collect(1, entered(cohort, 1))
    assert cohort.server.state is state


def test_the_round_ends_when_everybody_has_advertised_or_its_time_is_over() -> None:
    everybody = opened()
    step(everybody)
    assert isinstance(everybody.server.state, Sharing)
    some = opened()
    step(some, [4, 2, 1])
    assert isinstance(some.server.state, Advertising)
    assert some.server.close() == {1, 2, 4}
    assert reach(some, Sharing).u1 == (1, 2, 4)


def test_too_few_end_the_attempt() -> None:
    cohort = opened()
    step(cohort, [1, 2])
    assert cohort.server.close() == {1, 2}
    assert isinstance(cohort.server.state, Aborted)
    assert cohort.server.state.omit == frozenset()


@pytest.mark.parametrize("place", range(4))
def test_a_hospital_that_advertises_one_key_twice_is_not_taken(place: int) -> None:
    cohort = opened()
    step(cohort, up=lambda u, message: None if u == 2 else message)
    advertised = state_of(cohort, 2, Advertised)
    (message,) = advertised.outbound
    assert isinstance(message, AdvertiseKeys)
    mask_key = message.advertisement.mask_key
    keys = (*message.channel_keys[:place], mask_key, *message.channel_keys[place + 1 :])
    twice = readvertised(cohort, 2, channel_keys=keys)
    forged = changed(message, channel_keys=keys, advertisement=twice.advertisement)
    with refused(Check.KEYS_DISTINCT, "hospital-2"):
        cohort.collect(2, forged)


@pytest.mark.parametrize(
    "other",
    [
        {"policy_digest": bytes(32)},
        {"policy_digest": b"\xff" * 32},
        {"round": 1},
        {"round": 3},
        {"attempt": 1},
        {"attempt": 3},
        {"base_model_hash": bytes(32)},
        {"base_model_hash": b"\xff" * 32},
    ],
)
def test_an_advertisement_for_anything_else_than_the_open_attempt_is_refused(
    other: dict[str, Any],
) -> None:
    cohort = opened()
    cohort.open(cohort.vectors, 2, 2)
    message = entered(cohort, 2)
    with refused(Check.ADVERTISEMENT_CURRENT, "hospital-2"):
        cohort.collect(2, changed(message, **other))
