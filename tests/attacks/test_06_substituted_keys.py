"""Attack 6: public keys are swapped, forged, altered, repeated, non-canonical or of low order."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from secagg import context
from secagg.checks import Check
from secagg.crypto import merkle
from secagg.crypto.aead import seal
from secagg.crypto.hashing import Label
from secagg.crypto.keys import KeyPair, LowOrderPoint
from secagg.crypto.randomness import SeededRandomness
from secagg.crypto.secret import Secret
from secagg.rounds.r0_advertise_keys import (
    Advertised,
    Advertising,
    ClientKeys,
    channel_pair,
    channel_tree,
)
from secagg.rounds.r1_share_keys import Sharing, associated_data, channel_key, leaves
from secagg.rounds.r2_masked_input import open_shares
from secagg.simulate import Cohort
from secagg.wire.messages import (
    AdvertiseKeys,
    Dealing,
    DeliveredShares,
    EncryptedShares,
    KeyRoster,
    OwnShares,
    ShareDelivery,
    ShareKeys,
)
from tests.cohorts import (
    Facts,
    Loot,
    advertisement_of,
    changed,
    delivered,
    flipped,
    message_for,
    opened,
    opened_sum,
    reach,
    readvertised,
    refused,
    replaced,
    state_of,
    step,
    stranger,
    without,
)

VICTIM, COLLUDER = 4, 1
P = 2**255 - 19
LOW_ORDER = {
    "zero": bytes(32),
    "one": (1).to_bytes(32, "little"),
    "order 4": (P - 1).to_bytes(32, "little"),
    "order 8": (325606250916557431795983626356110631294008115727848805560023387167927233504)
    .to_bytes(32, "little"),
}  # fmt: skip
NON_CANONICAL = {
    "9 + p": (9 + P).to_bytes(32, "little"),
    "top bit": (9 + 2**255).to_bytes(32, "little"),
}


def roster_with(cohort: Cohort, forged: ClientKeys, u: int = COLLUDER) -> KeyRoster:
    """The roster for VICTIM, with client u's entry replaced."""
    roster = message_for(cohort, VICTIM)
    assert isinstance(roster, KeyRoster)
    place = [x.advertisement.u for x in roster.advertised].index(u)
    entry = forged.delivered_to(VICTIM)
    return changed(roster, advertised=replaced(roster.advertised, place, entry))


def fresh_keys(name: bytes, n: int) -> tuple[Secret, tuple[bytes, ...], KeyPair]:
    """Channel seed, channel keys and mask key pair of somebody who is nobody's hospital."""
    source = SeededRandomness(name)
    seed = Secret(source.draw(32))
    keys = tuple(channel_pair(seed, v).public for v in range(1, n + 1))
    return seed, keys, KeyPair.generate(source)


# --- swapped by the server -----------------------------------------------------------------------


@pytest.mark.parametrize("signer", ["stranger", "server", "another hospital"])
def test_keys_that_their_owner_did_not_sign_are_refused(signer: str) -> None:
    cohort = opened()
    state = reach(cohort, Sharing)
    identity = {
        "stranger": stranger(b"x"),
        "server": cohort.identity,
        "another hospital": cohort.hospitals[2].identity,
    }[signer]
    _, keys, mask = fresh_keys(b"swapped", cohort.policy.n)
    forged = advertisement_of(identity, state.attempt.session, COLLUDER, keys, mask.public)
    with refused(Check.ADVERTISEMENTS_SIGNED):
        delivered(cohort, VICTIM, roster_with(cohort, forged))


def test_a_signature_for_another_client_number_is_refused() -> None:
    cohort = opened()
    state = reach(cohort, Sharing)
    two = state.advertised[2]
    renamed = ClientKeys(changed(two.advertisement, u=COLLUDER), two.tree, two.channel_keys)
    with refused(Check.ADVERTISEMENTS_SIGNED):
        delivered(cohort, VICTIM, roster_with(cohort, renamed))


def test_my_own_keys_must_come_back_as_i_sent_them() -> None:
    """Even under my own signature, which an earlier life of mine may have given."""
    cohort = opened()
    reach(cohort, Sharing)
    other = readvertised(cohort, VICTIM, mask_key=fresh_keys(b"other", 1)[2].public)
    with refused(Check.SELF_IN_U1):
        delivered(cohort, VICTIM, roster_with(cohort, other, VICTIM))


def test_i_must_be_in_the_roster_that_i_am_shown() -> None:
    cohort = opened()
    reach(cohort, Sharing)
    roster = message_for(cohort, VICTIM)
    without_me = tuple(x for x in roster.advertised if x.advertisement.u != VICTIM)
    with refused(Check.SELF_IN_U1):
        delivered(cohort, VICTIM, changed(roster, advertised=without_me))


def test_a_swapped_channel_key_is_not_in_its_owners_tree() -> None:
    cohort = opened()
    state = reach(cohort, Sharing)
    roster = message_for(cohort, VICTIM)
    swapped = changed(roster.advertised[0], channel_key=fresh_keys(b"swapped", 1)[1][0])
    for entry in (swapped, state.advertised[COLLUDER].delivered_to(3)):
        with refused(Check.CHANNEL_KEYS_COMMITTED):
            tampered = changed(roster, advertised=replaced(roster.advertised, 0, entry))
            delivered(cohort, VICTIM, tampered)


def test_without_the_signatures_the_server_plays_every_peer_and_reads_its_victim() -> None:
    """The man in the middle: all the victim's peers are the server's own inventions."""
    cohort = opened()
    session = reach(cohort, Sharing).attempt.session
    n, peers = cohort.policy.n, (1, 2, 3)
    invented = {u: fresh_keys(b"peer %d" % u, n) for u in peers}
    nobody = stranger(b"nobody")
    roster = message_for(cohort, VICTIM)
    entries = {x.advertisement.u: x for x in roster.advertised}
    for u, (_, keys, mask) in invented.items():
        forged = advertisement_of(nobody, session, u, keys, mask.public)
        entries[u] = forged.delivered_to(VICTIM)
    loot = Loot(cohort.policy.threshold)
    with without(Check.ADVERTISEMENTS_SIGNED, Check.DEALERS_SIGNED):
        tampered = changed(roster, advertised=tuple(entries.values()))
        (dealt,) = delivered(cohort, VICTIM, tampered)
        assert isinstance(dealt, ShareKeys)
        digest = context.roster_digest(session, [x.advertisement for x in entries.values()])
        for shares in dealt.shares:
            private = channel_pair(invented[shares.v][0], VICTIM).private
            public = victims_channel_key(cohort, shares.v)
            held = open_shares(shares, private, public, digest, VICTIM)
            assert not isinstance(held, Check)
            loot.take_held(shares.v, {VICTIM: held})
        masked = mask_for(cohort, session, digest, dealt, peers, invented)
    facts = Facts(
        cohort.server.state.attempt,
        masked,
        (1, 2, 3, VICTIM),
        {u: entries[u].advertisement.mask_key for u in entries},
    )
    read = opened_sum(cohort, facts, [VICTIM], loot.seeds(), loot.privates())
    assert read is not None
    assert np.array_equal(read, cohort.vectors[VICTIM])


def victims_channel_key(cohort: Cohort, peer: int) -> bytes:
    """The channel key that the victim advertised for ``peer``."""
    state = cohort.server.state
    assert isinstance(state, Sharing)
    return state.advertised[VICTIM].channel_key(peer)


def mask_for(
    cohort: Cohort,
    session: bytes,
    roster: bytes,
    dealt: ShareKeys,
    peers: tuple[int, ...],
    invented: Mapping[int, tuple[Secret, tuple[bytes, ...], KeyPair]],
) -> bytes:
    """Let the victim mask toward invented dealers; the server receives it. Returns the U2 hash."""
    root = merkle.root(list(leaves(roster, VICTIM, dealt.own, dealt.shares).values()))
    entries = {VICTIM: Dealing(VICTIM, root, dealt.seed_commitment, dealt.signature)}
    listed = [DeliveredShares(entries[VICTIM], None, ())]
    for u in peers:
        share, salt = bytes(33), bytes(32)
        commitments = [
            context.share_commitment(roster, u, VICTIM, kind, share, salt)
            for kind in (Label.SELF_MASK, Label.MASK_KEY)
        ]
        key = channel_key(
            channel_pair(invented[u][0], VICTIM).private,
            victims_channel_key(cohort, u),
            roster,
            u,
            VICTIM,
        )
        ciphertext = seal(key, 2 * (share + salt), associated_data(roster, u, VICTIM))
        mine = EncryptedShares(VICTIM, ciphertext, *commitments)
        others = [
            EncryptedShares(v, bytes(146), bytes(32), bytes(32))
            for v in (*peers, VICTIM)
            if v not in (u, VICTIM)
        ]
        own = OwnShares(bytes(32), bytes(32))
        in_order = leaves(roster, u, own, [*others, mine])
        tree = merkle.Tree(list(in_order.values()))
        dealing = Dealing(u, tree.root, bytes(32), bytes(64))
        path = tuple(tree.path(list(in_order).index(VICTIM)))
        listed.append(DeliveredShares(dealing, mine, path))
    listed.sort(key=lambda x: x.dealing.u)
    for message in delivered(cohort, VICTIM, ShareDelivery(session, tuple(listed)))[:-1]:
        cohort.collect(VICTIM, message)
    return context.u2_hash(roster, [x.dealing for x in listed])


# --- chosen by a colluding hospital --------------------------------------------------------------


def in_mask_key(cohort: Cohort, key: bytes) -> ClientKeys:
    return readvertised(cohort, COLLUDER, mask_key=key)


def in_channel_key(cohort: Cohort, key: bytes) -> ClientKeys:
    seed = state_of(cohort, COLLUDER, Advertised).channel_seed
    keys = [channel_pair(seed, v).public for v in cohort.policy.members]
    return readvertised(cohort, COLLUDER, channel_keys=replaced(keys, VICTIM - 1, key))


Place = Callable[[Cohort, bytes], ClientKeys]


@pytest.mark.parametrize("key", LOW_ORDER.values(), ids=LOW_ORDER)
@pytest.mark.parametrize("place", [in_mask_key, in_channel_key])
def test_a_key_of_low_order_is_refused(place: Place, key: bytes) -> None:
    cohort = opened()
    reach(cohort, Sharing)
    with refused(Check.KEYS_NOT_LOW_ORDER):
        delivered(cohort, VICTIM, roster_with(cohort, place(cohort, key)))


def test_without_that_check_no_secret_is_agreed_all_the_same() -> None:
    cohort = opened()
    reach(cohort, Sharing)
    roster = roster_with(cohort, in_channel_key(cohort, LOW_ORDER["one"]))
    with without(Check.KEYS_NOT_LOW_ORDER), pytest.raises(LowOrderPoint):
        delivered(cohort, VICTIM, roster)


@pytest.mark.parametrize("key", NON_CANONICAL.values(), ids=NON_CANONICAL)
@pytest.mark.parametrize("place", [in_mask_key, in_channel_key])
def test_a_second_encoding_of_a_key_is_refused(place: Place, key: bytes) -> None:
    cohort = opened()
    reach(cohort, Sharing)
    with refused(Check.KEYS_CANONICAL):
        delivered(cohort, VICTIM, roster_with(cohort, place(cohort, key)))


@pytest.mark.parametrize("place", [in_mask_key, in_channel_key])
def test_another_clients_key_is_refused(place: Place) -> None:
    cohort = opened()
    copied = reach(cohort, Sharing).advertised[3].advertisement.mask_key
    with refused(Check.KEYS_DISTINCT):
        delivered(cohort, VICTIM, roster_with(cohort, place(cohort, copied)))


def sent(keys: ClientKeys, original: AdvertiseKeys) -> AdvertiseKeys:
    return changed(original, channel_keys=keys.channel_keys, advertisement=keys.advertisement)


@pytest.mark.parametrize(
    ("key", "check"),
    [
        (LOW_ORDER["order 8"], Check.KEYS_NOT_LOW_ORDER),
        (NON_CANONICAL["9 + p"], Check.KEYS_CANONICAL),
    ],
)
@pytest.mark.parametrize("place", [in_mask_key, in_channel_key])
def test_the_server_lays_a_bad_key_to_its_owner(place: Place, key: bytes, check: Check) -> None:
    """Else every client would refuse the whole roster and blame the server."""
    cohort = opened()
    (original,) = delivered(cohort, COLLUDER, message_for(cohort, COLLUDER))
    with refused(check, "hospital-1"):
        cohort.collect(COLLUDER, sent(place(cohort, key), original))
    state = reach(cohort, Sharing, (2, 3, 4))
    assert state.u1 == (2, 3, 4)


def test_the_server_takes_no_mask_key_twice() -> None:
    cohort = opened()
    step(cohort, [2])
    state = reach(cohort, Advertising)
    copied = state.advertised[2].advertisement.mask_key
    (original,) = delivered(cohort, COLLUDER, message_for(cohort, COLLUDER))
    with refused(Check.KEYS_DISTINCT, "hospital-1"):
        cohort.collect(COLLUDER, sent(in_mask_key(cohort, copied), original))


@pytest.mark.parametrize("change", ["one key too few", "another root", "an altered key"])
def test_the_server_takes_only_the_keys_that_were_signed(change: str) -> None:
    cohort = opened()
    (original,) = delivered(cohort, COLLUDER, message_for(cohort, COLLUDER))
    keys = original.channel_keys
    tampered = {
        "one key too few": changed(original, channel_keys=keys[:-1]),
        "another root": changed(
            original,
            advertisement=changed(original.advertisement, channel_root=channel_tree(keys[1:]).root),
        ),
        "an altered key": changed(original, channel_keys=(flipped(keys[0]), *keys[1:])),
    }[change]
    with refused(Check.ADVERTISEMENT_VALID, "hospital-1"):
        cohort.collect(COLLUDER, tampered)


def test_nobody_advertises_in_anothers_name() -> None:
    cohort = opened()
    (original,) = delivered(cohort, 2, message_for(cohort, 2))
    with refused(Check.ADVERTISEMENT_VALID, "hospital-1"):
        cohort.collect(1, original)
