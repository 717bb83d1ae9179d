"""Round 1: what is dealt, to whom, and how it is committed to."""

from __future__ import annotations

import pytest

from secagg import context
from secagg.checks import Check
from secagg.crypto import merkle, shamir
from secagg.crypto.hashing import Label
from secagg.crypto.signatures import verify
from secagg.rounds.r0_advertise_keys import channel_pair
from secagg.rounds.r1_share_keys import HeldShares, Shared, Sharing, leaves
from secagg.rounds.r2_masked_input import Masked, Masking, open_shares
from secagg.simulate import Cohort
from secagg.wire.messages import KeyRoster, ShareDelivery, ShareKeys
from tests.cohorts import (
    changed,
    delivered,
    message_for,
    opened,
    reach,
    refused,
    state_of,
    step,
    template,
)


@pytest.fixture
def masking() -> Cohort:
    """Everybody has dealt; n = 5, t = 4."""
    cohort = opened(template(5))
    reach(cohort, Masking)
    return cohort


def dealt_by(cohort: Cohort, u: int) -> ShareKeys:
    (message,) = state_of(cohort, u, Shared).outbound
    assert isinstance(message, ShareKeys)
    return message


def shares_from(cohort: Cohort, dealer: int) -> dict[int, HeldShares]:
    """What each holder, the dealer too, holds of the dealer's two secrets."""
    state = cohort.server.state
    assert isinstance(state, Masking)
    found = {dealer: state_of(cohort, dealer, Shared).own}
    for v, shares in state.dealt[dealer].shares.items():
        private = channel_pair(state_of(cohort, v, Shared).channel_seed, dealer).private
        public = state.keys[dealer].channel_key(v)
        held = open_shares(shares, private, public, state.roster_digest, dealer)
        assert isinstance(held, HeldShares)
        found[v] = held
    return found


def test_any_t_of_the_shares_are_the_secrets_and_fewer_are_not(masking: Cohort) -> None:
    shared, t = state_of(masking, 2, Shared), masking.policy.threshold
    held = shares_from(masking, 2)
    assert held.keys() == {1, 2, 3, 4, 5}
    seeds = {v: x.self_mask.share for v, x in held.items()}
    keys = {v: x.mask_key.share for v, x in held.items()}
    for left_out in held:
        some = [v for v in held if v != left_out]
        assert len(some) == t
        assert shamir.combine({v: seeds[v] for v in some}) == shared.seed
        assert shamir.combine({v: keys[v] for v in some}) == shared.mask.private
    few = [1, 2, 3]
    assert shamir_value({v: seeds[v] for v in few}) != shared.seed.reveal()


def shamir_value(shares: dict[int, bytes]) -> bytes:
    try:
        return shamir.combine(shares).reveal()
    except shamir.ShareError:  # above 2^256: no secret either
        return b""


def test_every_share_opens_the_commitment_that_its_dealer_signed(masking: Cohort) -> None:
    state, message = reach(masking, Masking), dealt_by(masking, 2)
    roster = state.roster_digest
    tree = leaves(roster, 2, message.own, message.shares)
    assert list(tree) == [1, 2, 3, 4, 5]
    root = merkle.root(list(tree.values()))
    statement = context.share_keys(roster, 2, root, message.seed_commitment)
    assert verify(masking.policy.identity_key(2), message.signature, *statement)
    for v, held in shares_from(masking, 2).items():
        for kind, x, committed in zip(
            (Label.SELF_MASK, Label.MASK_KEY),
            (held.self_mask, held.mask_key),
            state.dealt[2].commitments(v),
            strict=True,
        ):
            assert x.v == 2
            expected = context.share_commitment(roster, 2, v, kind, x.share, x.salt)
            assert committed == expected


def test_the_seed_is_committed_to(masking: Cohort) -> None:
    shared = state_of(masking, 2, Shared)
    expected = context.seed_commitment(shared.roster_digest, 2, shared.seed.reveal())
    assert shared.dealing.seed_commitment == dealt_by(masking, 2).seed_commitment == expected


def test_a_dealer_keeps_its_own_shares_and_sends_no_ciphertext_of_them(masking: Cohort) -> None:
    message = dealt_by(masking, 2)
    assert [s.v for s in message.shares] == [1, 3, 4, 5]
    (delivery,) = masking.to_client(2)
    assert isinstance(delivery, ShareDelivery)
    mine = delivery.delivered[1]
    assert mine.dealing == state_of(masking, 2, Shared).dealing
    assert mine.shares is None
    step(masking, [2])
    held = state_of(masking, 2, Masked).held
    assert list(held) == [2, 1, 3, 4, 5]
    assert held[2].self_mask.v == 2


def test_shares_go_to_those_who_advertised_and_no_others() -> None:
    cohort = opened(template(5))
    reach(cohort, Sharing, (1, 2, 3, 5))
    (message,) = delivered(cohort, 5, message_for(cohort, 5))
    assert [s.v for s in message.shares] == [1, 2, 3]


def test_all_that_a_roster_says_is_in_its_digest() -> None:
    cohort = opened()
    state = reach(cohort, Sharing)
    digests = set()
    for u in cohort.policy.members:
        roster = message_for(cohort, u)
        assert isinstance(roster, KeyRoster)
        delivered(cohort, u, roster)
        digests.add(state_of(cohort, u, Shared).roster_digest)
    assert digests == {state.roster_digest}


def test_each_client_is_shown_the_channel_keys_meant_for_it() -> None:
    cohort = opened()
    state = reach(cohort, Sharing)
    shown = {u: message_for(cohort, u).advertised for u in cohort.policy.members}
    for u, entries in shown.items():
        keys = [x.channel_key for x in entries]
        assert keys == [state.advertised[v].channel_key(u) for v in cohort.policy.members]
    everything = [x.channel_key for entries in shown.values() for x in entries]
    assert len(set(everything)) == cohort.policy.n**2


def test_the_first_dealing_of_a_client_stands() -> None:
    cohort = opened()
    reach(cohort, Sharing)
    step(cohort, [1])
    state = reach(cohort, Sharing)
    assert state.awaited() == {2, 3, 4}
    assert state.outbound(1) == ()
    cohort.collect(1, dealt_by(cohort, 1))
    assert cohort.server.state is state


def test_nobody_outside_u1_deals() -> None:
    cohort = opened()
    reach(cohort, Sharing, (1, 2, 3))
    (message,) = delivered(cohort, 1, message_for(cohort, 1))
    with refused(Check.EXPECTED_MESSAGE, "hospital-4"):
        cohort.collect(4, message)


def test_the_round_ends_when_everybody_has_dealt_or_its_time_is_over() -> None:
    cohort = opened()
    reach(cohort, Sharing)
    step(cohort, [1, 3, 4])
    assert cohort.server.close() == {1, 3, 4}
    assert reach(cohort, Masking).u2 == (1, 3, 4)


def test_a_u1_out_of_order_or_with_a_client_twice_is_refused() -> None:
    cohort = opened()
    reach(cohort, Sharing)
    roster = message_for(cohort, 1)
    assert isinstance(roster, KeyRoster)
    one, two, *others = roster.advertised
    for clients in ((two, one, *others), (one, one, two, *others)):
        with refused(Check.U1_WELL_FORMED):
            delivered(cohort, 1, changed(roster, advertised=clients))


def test_a_u1_with_a_client_that_no_policy_lists_is_refused() -> None:
    cohort = opened()
    reach(cohort, Sharing)
    roster = message_for(cohort, 1)
    last = roster.advertised[-1]
    fifth = changed(last, advertisement=changed(last.advertisement, u=5))
    with refused(Check.U1_WELL_FORMED):
        delivered(cohort, 1, changed(roster, advertised=(*roster.advertised, fifth)))
