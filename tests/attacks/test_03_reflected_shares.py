"""Attack 3: encrypted shares are reflected to their sender, re-addressed, swapped or withheld."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from secagg.checks import Check
from secagg.crypto.aead import AuthenticationFailure, open_sealed
from secagg.rounds.r0_advertise_keys import channel_pair
from secagg.rounds.r1_share_keys import Shared, associated_data, channel_key
from secagg.rounds.r2_masked_input import Masking
from secagg.simulate import Cohort
from secagg.wire.messages import Complaint, DeliveredShares, EncryptedShares
from tests.cohorts import (
    changed,
    delivered,
    message_for,
    opened,
    reach,
    refused,
    replaced,
    state_of,
    without,
)

ME, DEALER, OTHER = 2, 1, 3
Forgery = Callable[[Masking, DeliveredShares], DeliveredShares]


def shares_of(state: Masking, dealer: int, holder: int) -> EncryptedShares:
    return state.dealt[dealer].shares[holder]


def meant_for_another(state: Masking, mine: DeliveredShares) -> DeliveredShares:
    """The dealer's shares for OTHER, with the path that proves them."""
    return state.dealt[DEALER].delivered_to(OTHER)


def readdressed(state: Masking, mine: DeliveredShares) -> DeliveredShares:
    """The dealer's shares for OTHER, with my name and my path on them."""
    return changed(mine, shares=changed(shares_of(state, DEALER, OTHER), v=ME))


def reflected(state: Masking, mine: DeliveredShares) -> DeliveredShares:
    """My own ciphertext for the dealer, as if it came from there."""
    return changed(mine, shares=changed(shares_of(state, ME, DEALER), v=ME))


def from_another_dealer(state: Masking, mine: DeliveredShares) -> DeliveredShares:
    """OTHER's shares for me under DEALER's signature."""
    return changed(mine, shares=shares_of(state, OTHER, ME))


def withheld(state: Masking, mine: DeliveredShares) -> DeliveredShares:
    """No shares, as for a client that is no neighbour."""
    return changed(mine, shares=None, path=())


def cut_path(state: Masking, mine: DeliveredShares) -> DeliveredShares:
    """My shares with a proof that ends too early."""
    return changed(mine, path=mine.path[:-1])


FORGERIES: tuple[Forgery, ...] = (
    meant_for_another,
    readdressed,
    reflected,
    from_another_dealer,
    withheld,
    cut_path,
)


def forged(cohort: Cohort, forgery: Forgery) -> Any:
    state = reach(cohort, Masking)
    delivery = message_for(cohort, ME)
    place = [x.dealing.u for x in delivery.delivered].index(DEALER)
    tampered = forgery(state, delivery.delivered[place])
    return changed(delivery, delivered=replaced(delivery.delivered, place, tampered))


@pytest.mark.parametrize("forgery", FORGERIES)
def test_only_the_shares_that_the_dealer_signed_for_this_holder_are_taken(forgery: Forgery) -> None:
    cohort = opened()
    delivery = forged(cohort, forgery)
    with refused(Check.SHARE_COMMITTED):
        delivered(cohort, ME, delivery)


def test_my_own_shares_are_not_delivered_to_me() -> None:
    cohort = opened()
    state = reach(cohort, Masking)
    delivery = message_for(cohort, ME)
    place = [x.dealing.u for x in delivery.delivered].index(ME)
    own = changed(delivery.delivered[place], shares=shares_of(state, ME, OTHER), path=())
    with refused(Check.SHARE_COMMITTED):
        delivered(cohort, ME, changed(delivery, delivered=replaced(delivery.delivered, place, own)))


@pytest.mark.parametrize("forgery", [readdressed, reflected, from_another_dealer])
def test_without_that_check_the_server_could_have_an_honest_dealer_accused(
    forgery: Forgery,
) -> None:
    cohort = opened()
    delivery = forged(cohort, forgery)
    with without(Check.SHARE_COMMITTED):
        (complaint,) = delivered(cohort, ME, delivery)
    assert isinstance(complaint, Complaint)
    assert complaint.dealer == DEALER
    # The server's own record shows that there is nothing to it.
    with refused(Check.COMPLAINT_PROVEN, "hospital-2"):
        cohort.collect(ME, complaint)


def test_a_ciphertext_is_bound_to_its_direction() -> None:
    """Below the signature, too: key and associated data name sender and recipient."""
    cohort = opened()
    state = reach(cohort, Masking)
    roster, ciphertext = state.roster_digest, shares_of(state, ME, DEALER).ciphertext
    private = channel_pair(state_of(cohort, ME, Shared).channel_seed, DEALER).private
    public = state.keys[DEALER].channel_key(ME)
    mine = channel_key(private, public, roster, ME, DEALER)
    theirs = channel_key(private, public, roster, DEALER, ME)
    assert open_sealed(mine, ciphertext, associated_data(roster, ME, DEALER))
    with pytest.raises(AuthenticationFailure):
        open_sealed(theirs, ciphertext, associated_data(roster, ME, DEALER))
    with pytest.raises(AuthenticationFailure):
        open_sealed(mine, ciphertext, associated_data(roster, DEALER, ME))
