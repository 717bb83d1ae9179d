"""Attack 6 on a real node: the server plays every peer, and reads the hospital's gradient."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from secagg import context
from secagg.checks import Check
from secagg.rounds.r0_advertise_keys import channel_pair
from secagg.rounds.r1_share_keys import Sharing
from secagg.rounds.r2_masked_input import open_shares
from secagg.wire.messages import DeliveredKeys, KeyRoster, ShareKeys
from tests.attacks.processes.siege import Siege, besieged
from tests.attacks.test_06_substituted_keys import (
    LOW_ORDER,
    VICTIM,
    fresh_keys,
    in_mask_key,
    mask_for,
    roster_with,
    victims_channel_key,
)
from tests.cohorts import (
    Facts,
    Loot,
    advertisement_of,
    changed,
    delivered,
    message_for,
    opened_sum,
    reach,
    refused,
    stranger,
)

PEERS = (1, 2, 3)


def invented(siege: Siege) -> tuple[KeyRoster, dict[int, DeliveredKeys]]:
    """U1 for the victim, in which all its peers are the server's own inventions."""
    cohort = siege.cohort
    session = reach(cohort, Sharing).attempt.session
    roster, nobody = message_for(cohort, VICTIM), stranger(b"nobody")
    entries = {x.advertisement.u: x for x in roster.advertised}
    for u in PEERS:
        _, keys, mask = fresh_keys(b"peer %d" % u, cohort.policy.n)
        forged = advertisement_of(nobody, session, u, keys, mask.public)
        entries[u] = forged.delivered_to(VICTIM)
    tampered: KeyRoster = changed(roster, advertised=tuple(entries.values()))
    return tampered, entries


def test_keys_that_their_owners_did_not_sign_are_refused(tmp_path: Path) -> None:
    with besieged(tmp_path, real=VICTIM) as siege:
        tampered, _ = invented(siege)
        with refused(Check.ADVERTISEMENTS_SIGNED):
            siege.tell(tampered)


def test_a_key_of_low_order_is_refused(tmp_path: Path) -> None:
    with besieged(tmp_path, real=VICTIM) as siege:
        reach(siege.cohort, Sharing)
        forged = in_mask_key(siege.cohort, LOW_ORDER["order 8"])
        with refused(Check.KEYS_NOT_LOW_ORDER):
            siege.tell(roster_with(siege.cohort, forged))


def test_without_the_signatures_the_server_reads_the_gradient(tmp_path: Path) -> None:
    removed = [Check.ADVERTISEMENTS_SIGNED, Check.DEALERS_SIGNED]
    with besieged(tmp_path, real=VICTIM, removed=removed) as siege:
        cohort = siege.cohort
        tampered, entries = invented(siege)
        session = cohort.server.state.attempt.session
        peers = {u: fresh_keys(b"peer %d" % u, cohort.policy.n) for u in PEERS}
        (dealt,) = delivered(cohort, VICTIM, tampered)
        assert isinstance(dealt, ShareKeys)
        advertisements = [x.advertisement for x in entries.values()]
        digest, loot = context.roster_digest(session, advertisements), Loot(siege.policy.threshold)
        for shares in dealt.shares:
            private = channel_pair(peers[shares.v][0], VICTIM).private
            public = victims_channel_key(cohort, shares.v)
            held = open_shares(shares, private, public, digest, VICTIM)
            assert not isinstance(held, Check)
            loot.take_held(shares.v, {VICTIM: held})
        masked = mask_for(cohort, session, digest, dealt, PEERS, peers)
        keys = {u: entries[u].advertisement.mask_key for u in entries}
        facts = Facts(cohort.server.state.attempt, masked, (*PEERS, VICTIM), keys)
        read = opened_sum(cohort, facts, [VICTIM], loot.seeds(), loot.privates())
        assert read is not None
        assert np.array_equal(read, siege.vector())
