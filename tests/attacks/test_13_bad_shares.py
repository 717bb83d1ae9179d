"""Attack 13: wrong shares, wrong seeds, false complaints. Whoever cheats is named, and a complaint
gives away nothing but the cheat's own shares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest

from secagg import context
from secagg.checks import Check
from secagg.crypto import shamir
from secagg.crypto.aead import seal
from secagg.crypto.randomness import SeededRandomness
from secagg.crypto.secret import Secret
from secagg.rounds.journal import Charged
from secagg.rounds.machine import Aborted, Withdrawn
from secagg.rounds.r0_advertise_keys import announce, channel_pair
from secagg.rounds.r1_share_keys import (
    HeldShares,
    Shared,
    Sharing,
    associated_data,
    channel_key,
    commitments_to,
)
from secagg.rounds.r2_masked_input import Masking, open_shares
from secagg.rounds.r4_unmasking import Unmasking
from secagg.rounds.r5_certification import Certifying
from secagg.rounds.session import ServerSession
from secagg.simulate import Cohort
from secagg.wire.messages import (
    ENCRYPTED_SHARES_BYTES,
    Complaint,
    EncryptedShares,
    OpenedShare,
    ShareKeys,
    UnmaskingAnswer,
    Wire,
)
from tests.cohorts import (
    Loot,
    changed,
    colluding,
    delivered,
    flipped,
    message_for,
    opened,
    plain_sum,
    reach,
    redealt,
    refused,
    replaced,
    state_of,
    step,
    template,
    without,
)

CHEAT = 4
Dealing = Callable[[Cohort, int], EncryptedShares]
Alteration = Callable[[UnmaskingAnswer], UnmaskingAnswer]

# --- the dealer cheats, and its holders see it ---------------------------------------------------


def encrypted(
    cohort: Cohort, holder: int, held: HeldShares, committed: HeldShares | None = None
) -> EncryptedShares:
    """The cheat's shares for one holder; committed to others, if ``committed`` is given."""
    state = cohort.sessions[CHEAT].state
    assert isinstance(state, Shared)
    roster = state.roster_digest
    key = channel_key(
        channel_pair(state.channel_seed, holder).private,
        state.keys[holder].channel_key,
        roster,
        CHEAT,
        holder,
    )
    parts = (held.self_mask.share, held.self_mask.salt, held.mask_key.share, held.mask_key.salt)
    ciphertext = seal(key, b"".join(parts), associated_data(roster, CHEAT, holder))
    return EncryptedShares(holder, ciphertext, *commitments_to(roster, committed or held, holder))


def pair(share: int, other: int) -> HeldShares:
    """Two shares of the cheat, with salts of zeros."""
    return HeldShares(
        OpenedShare(CHEAT, share.to_bytes(33, "big"), bytes(32)),
        OpenedShare(CHEAT, other.to_bytes(33, "big"), bytes(32)),
    )


def noise_shares(cohort: Cohort, holder: int) -> EncryptedShares:
    """Bytes that no key opens."""
    return EncryptedShares(holder, bytes(ENCRYPTED_SHARES_BYTES), bytes(32), bytes(32))


def other_shares(cohort: Cohort, holder: int) -> EncryptedShares:
    """Shares that are not those committed to."""
    return encrypted(cohort, holder, pair(1, 2), committed=pair(1, 3))


def unreduced_shares(cohort: Cohort, holder: int) -> EncryptedShares:
    """A share that is no element of the field, properly committed to."""
    return encrypted(cohort, holder, pair(1, shamir.P))


BAD: dict[Dealing, Check] = {
    noise_shares: Check.SHARES_DECRYPT,
    other_shares: Check.SHARES_OPEN,
    unreduced_shares: Check.SHARES_OPEN,
}


def with_bad_shares(
    cohort: Cohort, bad: Dealing = noise_shares, holders: Iterable[int] = (1, 2)
) -> Masking:
    """Reach round 2 with bad shares dealt by the cheat to ``holders``."""
    reach(cohort, Sharing)

    def cheating(u: int, message: Wire) -> Wire:
        if u != CHEAT or not isinstance(message, ShareKeys):
            return message
        return redealt(cohort, u, message, {v: bad(cohort, v) for v in holders})

    step(cohort, up=cheating)
    return reach(cohort, Masking)


def complaint_of(cohort: Cohort, u: int) -> Complaint:
    (complaint,) = delivered(cohort, u, message_for(cohort, u))
    assert isinstance(complaint, Complaint)
    return complaint


@pytest.mark.parametrize("bad", BAD)
def test_a_holder_of_bad_shares_complains_and_masks_nothing(bad: Dealing) -> None:
    cohort = opened()
    with_bad_shares(cohort, bad)
    shared = state_of(cohort, 1, Shared)
    assert complaint_of(cohort, 1).dealer == CHEAT
    state = cohort.sessions[1].state
    assert isinstance(state, Withdrawn)
    assert BAD[bad].id in state.reason
    assert "hospital-4" in state.reason
    for secret in (shared.seed, shared.mask.private, shared.channel_seed):
        assert len(secret) == 0
    assert not any(isinstance(entry, Charged) for entry in cohort.journals[1])
    with refused(Check.EXPECTED_MESSAGE):
        delivered(cohort, 1, message_for(cohort, 2))


@pytest.mark.parametrize("bad", BAD)
def test_a_proven_complaint_ends_the_attempt_and_the_next_one_omits_the_dealer(
    bad: Dealing,
) -> None:
    cohort = opened()
    with_bad_shares(cohort, bad)
    recipients = cohort.collect(1, complaint_of(cohort, 1))
    state = cohort.server.state
    assert isinstance(state, Aborted)
    assert state.omit == {CHEAT}
    assert state.reason == "hospital-4 dealt bad shares to hospital-1, who proved it"
    assert recipients == {1, 2, 3}

    cohort.server = ServerSession(
        announce(
            cohort.policy,
            cohort.identity,
            round_number=1,
            attempt_number=2,
            base_model_hash=cohort.base_model_hash,
            randomness=cohort.randomness[0],
            invited=frozenset(cohort.policy.members) - state.omit,
        )
    )
    cohort.spool, cohort.receivers = {}, {}
    reach(cohort, Certifying)
    assert cohort.survivors == (1, 2, 3)
    assert cohort.total is not None
    assert np.array_equal(cohort.total, plain_sum(cohort, (1, 2, 3)))


def test_complaints_open_nobodys_shares_but_the_cheats() -> None:
    """A cheat that colludes with the server can make everybody but the victim complain. Were the
    disclosed keys good for other dealers' shares too, the server would hold t shares of both of
    the victim's secrets, and read its masked input.
    """
    cohort = opened()
    state = with_bad_shares(cohort)
    victim, loot = 3, Loot(cohort.policy.threshold)
    complaints = {u: complaint_of(cohort, u) for u in (1, 2)}
    step(cohort, (victim, CHEAT))
    colluding(cohort, CHEAT, loot)
    assert len(complaints) + cohort.policy.corrupt >= cohort.policy.threshold
    for u, complaint in complaints.items():
        private = Secret(complaint.channel_private_key)
        for dealer in (1, 2, victim):
            if dealer != u:
                found = open_shares(
                    state.dealt[dealer].shares[u],
                    private,
                    state.keys[dealer].channel_key(u),
                    state.roster_digest,
                    dealer,
                )
                assert found is Check.SHARES_DECRYPT
    assert victim not in loot.seeds()
    assert victim not in loot.privates()


def test_keys_for_all_dealers_at_once_would_have_given_the_victim_away() -> None:
    """The same complaints, were each holder to disclose what it opens all its shares with."""
    cohort = opened()
    state = with_bad_shares(cohort)
    victim, loot = 3, Loot(cohort.policy.threshold)
    seeds = {}
    for u in (1, 2):
        shared = cohort.sessions[u].state
        assert isinstance(shared, Shared)
        seeds[u] = Secret(shared.channel_seed.reveal())
        complaint_of(cohort, u)
    step(cohort, (victim, CHEAT))
    colluding(cohort, CHEAT, loot)
    for u, seed in seeds.items():
        found = open_shares(
            state.dealt[victim].shares[u],
            channel_pair(seed, victim).private,
            state.keys[victim].channel_key(u),
            state.roster_digest,
            victim,
        )
        assert isinstance(found, HeldShares)
        loot.take_held(u, {victim: found})
    assert victim in loot.seeds()
    assert victim in loot.privates()


# --- the holder cheats ---------------------------------------------------------------------------


def false_complaint(cohort: Cohort, u: int, dealer: int, private: bytes | None = None) -> Complaint:
    state = cohort.sessions[u].state
    assert isinstance(state, Shared)
    key = private or channel_pair(state.channel_seed, dealer).private.reveal()
    statement = context.complaint(state.roster_digest, u, dealer, key)
    return Complaint(
        state.attempt.session, dealer, key, cohort.hospitals[u].identity.sign(*statement)
    )


def test_a_false_complaint_names_its_author_and_stops_nothing() -> None:
    cohort = opened()
    state = reach(cohort, Masking)
    complaint = false_complaint(cohort, 1, 2)
    with refused(Check.COMPLAINT_PROVEN, "hospital-1"):
        cohort.collect(1, complaint)
    assert cohort.server.state is state
    reach(cohort, Certifying, (2, 3, 4))
    assert cohort.survivors == (2, 3, 4)


def test_a_key_that_the_complainer_did_not_advertise_proves_nothing() -> None:
    cohort = opened()
    reach(cohort, Masking)
    for private in (bytes([7] * 32), bytes(32)):
        with refused(Check.COMPLAINT_PROVEN, "hospital-1"):
            cohort.collect(1, false_complaint(cohort, 1, 2, private))


def test_its_key_for_another_dealer_proves_nothing_either() -> None:
    cohort = opened()
    reach(cohort, Masking)
    state = cohort.sessions[1].state
    assert isinstance(state, Shared)
    private = channel_pair(state.channel_seed, 3).private.reveal()
    with refused(Check.COMPLAINT_PROVEN, "hospital-1"):
        cohort.collect(1, false_complaint(cohort, 1, 2, private))


def test_a_complaint_is_signed_by_its_author() -> None:
    cohort = opened()
    with_bad_shares(cohort)
    complaint = complaint_of(cohort, 1)
    with refused(Check.COMPLAINT_PROVEN, "hospital-1"):
        cohort.collect(1, changed(complaint, signature=flipped(complaint.signature)))


def test_without_that_check_any_hospital_could_have_any_other_omitted() -> None:
    cohort = opened()
    reach(cohort, Masking)
    with without(Check.COMPLAINT_PROVEN):
        cohort.collect(1, false_complaint(cohort, 1, 2))
    state = cohort.server.state
    assert isinstance(state, Aborted)
    assert state.omit == {2}


@pytest.mark.parametrize("dealer", [1, 5])
def test_nobody_complains_about_itself_or_a_stranger(dealer: int) -> None:
    cohort = opened()
    reach(cohort, Masking)
    complaint = changed(false_complaint(cohort, 1, 2), dealer=dealer)
    with refused(Check.EXPECTED_MESSAGE, "hospital-1"):
        cohort.collect(1, complaint)


def test_nobody_complains_after_masking() -> None:
    cohort = opened()
    reach(cohort, Masking)
    complaint = false_complaint(cohort, 1, 2)
    step(cohort, [1])
    with refused(Check.EXPECTED_MESSAGE, "hospital-1"):
        cohort.collect(1, complaint)


def test_the_server_cannot_make_a_dealer_look_like_a_cheat() -> None:
    """What it alters is not what the dealer signed; the holder blames the server."""
    cohort = opened()
    reach(cohort, Masking)
    delivery = message_for(cohort, 1)
    two = delivery.delivered[1]
    altered = changed(two, shares=changed(two.shares, ciphertext=flipped(two.shares.ciphertext)))
    with refused(Check.SHARE_COMMITTED):
        delivered(cohort, 1, changed(delivery, delivered=replaced(delivery.delivered, 1, altered)))


# --- wrong answers -------------------------------------------------------------------------------


def answer_of(cohort: Cohort, u: int) -> UnmaskingAnswer:
    (answer,) = delivered(cohort, u, message_for(cohort, u))
    assert isinstance(answer, UnmaskingAnswer)
    return answer


def resigned(cohort: Cohort, u: int, answer: UnmaskingAnswer) -> UnmaskingAnswer:
    state = cohort.server.state
    assert isinstance(state, Unmasking)
    statement = context.answer(state.u2_hash, state.u3, u, answer)
    return changed(answer, signature=cohort.hospitals[u].identity.sign(*statement))


def another_share(answer: UnmaskingAnswer) -> UnmaskingAnswer:
    first = answer.self_mask_shares[0]
    wrong = changed(first, share=flipped(first.share))
    return changed(answer, self_mask_shares=replaced(answer.self_mask_shares, 0, wrong))


def another_salt(answer: UnmaskingAnswer) -> UnmaskingAnswer:
    first = answer.mask_key_shares[0]
    wrong = changed(first, salt=flipped(first.salt))
    return changed(answer, mask_key_shares=replaced(answer.mask_key_shares, 0, wrong))


def unreduced(answer: UnmaskingAnswer) -> UnmaskingAnswer:
    first = answer.self_mask_shares[0]
    wrong = changed(first, share=shamir.P.to_bytes(33, "big"))
    return changed(answer, self_mask_shares=replaced(answer.self_mask_shares, 0, wrong))


def one_share_short(answer: UnmaskingAnswer) -> UnmaskingAnswer:
    return changed(answer, self_mask_shares=answer.self_mask_shares[1:])


def one_share_twice(answer: UnmaskingAnswer) -> UnmaskingAnswer:
    shares = answer.self_mask_shares
    return changed(answer, self_mask_shares=(*shares, shares[-1]))


def both_kinds(answer: UnmaskingAnswer) -> UnmaskingAnswer:
    return changed(answer, mask_key_shares=(answer.self_mask_shares[0], *answer.mask_key_shares))


@pytest.fixture
def five() -> Cohort:
    """n = 5, t = 4, unmasking; hospital 5 has dropped after sharing its keys."""
    cohort = opened(template(5))
    reach(cohort, Masking)
    reach(cohort, Unmasking, (1, 2, 3, 4))
    return cohort


@pytest.mark.parametrize(
    ("wrong", "check"),
    [
        (another_share, Check.ANSWER_OPENS),
        (another_salt, Check.ANSWER_OPENS),
        (unreduced, Check.ANSWER_OPENS),
        (one_share_short, Check.ANSWER_EXACT),
        (one_share_twice, Check.ANSWER_EXACT),
        (both_kinds, Check.ANSWER_EXACT),
    ],
)
def test_a_wrong_answer_names_its_sender(five: Cohort, wrong: Alteration, check: Check) -> None:
    before = five.server.state
    answer = resigned(five, 1, wrong(answer_of(five, 1)))
    with refused(check, "hospital-1"):
        five.collect(1, answer)
    assert five.server.state is before


def test_an_answer_is_signed_by_its_sender(five: Cohort) -> None:
    answer = answer_of(five, 1)
    for forged in (changed(answer, signature=flipped(answer.signature)), answer_of(five, 2)):
        with refused(Check.ANSWER_SIGNED, "hospital-1"):
            five.collect(1, forged)


def test_only_whoever_signed_the_survivor_set_answers(five: Cohort) -> None:
    answer = answer_of(five, 1)
    with refused(Check.EXPECTED_MESSAGE, "hospital-5"):
        five.collect(5, answer)


def test_a_second_answer_must_be_the_first_one(five: Cohort) -> None:
    answer = answer_of(five, 1)
    five.collect(1, answer)
    five.collect(1, answer)
    with without(Check.ANSWER_OPENS), refused(Check.ANSWER_ONCE, "hospital-1"):
        five.collect(1, resigned(five, 1, another_share(answer)))


def test_the_server_goes_on_with_t_good_answers() -> None:
    """n = 4, t = 3: one bad answer is one answer less, no more."""
    cohort = opened()
    reach(cohort, Unmasking)
    bad = resigned(cohort, 1, another_share(answer_of(cohort, 1)))
    with refused(Check.ANSWER_OPENS, "hospital-1"):
        cohort.collect(1, bad)
    for u in (2, 3, 4):
        cohort.collect(u, answer_of(cohort, u))
    assert cohort.total is not None
    assert np.array_equal(cohort.total, plain_sum(cohort, (1, 2, 3, 4)))


def test_without_the_commitments_a_wrong_answer_would_be_laid_to_the_dealer() -> None:
    cohort = opened()
    reach(cohort, Unmasking)
    with without(Check.ANSWER_OPENS):
        cohort.collect(2, resigned(cohort, 2, another_share(answer_of(cohort, 2))))
    for u in (3, 4):
        cohort.collect(u, answer_of(cohort, u))
    state = cohort.server.state
    assert isinstance(state, Aborted)
    assert state.omit == {1}  # an honest dealer, for a share that its holder made up


# --- the dealer cheats where only the reconstruction shows it ------------------------------------


def dealt_from_another_secret(cohort: Cohort, which: str) -> dict[int, EncryptedShares]:
    """Every share opens its commitment; together they are shares of something else."""
    threshold, holders = cohort.policy.threshold, cohort.policy.members
    source = SeededRandomness(b"cheat")
    state = cohort.sessions[CHEAT].state
    assert isinstance(state, Shared)
    secrets = {"b": state.seed, "s": state.mask.private}
    if which in secrets:
        secrets[which] = Secret(source.draw(32))
    split = {
        kind: shamir.split(secret, threshold, holders, source) for kind, secret in secrets.items()
    }
    if which == "too large":
        # A constant polynomial: the value at 0 is 2^256, which is no secret.
        split["b"] = dict.fromkeys(holders, (1 << 256).to_bytes(33, "big"))
    return {
        v: encrypted(
            cohort,
            v,
            HeldShares(
                OpenedShare(CHEAT, split["b"][v], bytes(32)),
                OpenedShare(CHEAT, split["s"][v], bytes(32)),
            ),
        )
        for v in holders
        if v != CHEAT
    }


def run_with_inconsistent_dealer(which: str, *, dropped: bool) -> Cohort:
    cohort = opened()
    reach(cohort, Sharing)

    def cheating(u: int, message: Wire) -> Wire:
        if u != CHEAT or not isinstance(message, ShareKeys):
            return message
        return redealt(cohort, u, message, dealt_from_another_secret(cohort, which))

    step(cohort, up=cheating)
    reach(cohort, Masking)
    survivors = (1, 2, 3) if dropped else (1, 2, 3, CHEAT)
    reach(cohort, Unmasking, survivors)
    step(cohort, (1, 2, 3))
    return cohort


@pytest.mark.parametrize(("which", "dropped"), [("b", False), ("too large", False), ("s", True)])
def test_an_inconsistent_dealer_is_named_once_its_shares_are_put_together(
    which: str, dropped: bool
) -> None:
    cohort = run_with_inconsistent_dealer(which, dropped=dropped)
    state = cohort.server.state
    assert isinstance(state, Aborted)
    assert state.omit == {CHEAT}
    assert Check.DEALER_CONSISTENT.id in state.reason
    assert "hospital-4" in state.reason
    assert cohort.total is None


@pytest.mark.parametrize(("which", "dropped"), [("b", False), ("s", True)])
def test_without_that_check_the_sum_would_be_garbage(which: str, dropped: bool) -> None:
    with without(Check.DEALER_CONSISTENT):
        cohort = run_with_inconsistent_dealer(which, dropped=dropped)
    state = cohort.server.state
    survivors = (1, 2, 3) if dropped else cohort.policy.members
    if isinstance(state, Certifying):
        assert cohort.total is not None
        assert not np.array_equal(cohort.total, plain_sum(cohort, survivors))
    else:
        assert isinstance(state, Aborted)
        assert "exceeds" in state.reason


def test_an_inconsistent_secret_that_nobody_opens_does_no_harm() -> None:
    """The cheat survives, so its mask key is never put together."""
    cohort = run_with_inconsistent_dealer("s", dropped=False)
    assert cohort.total is not None
    assert np.array_equal(cohort.total, plain_sum(cohort, cohort.policy.members))


def test_a_share_message_is_signed_over_exactly_what_is_dealt() -> None:
    cohort = opened()
    reach(cohort, Sharing)
    (message,) = delivered(cohort, 1, message_for(cohort, 1))
    assert isinstance(message, ShareKeys)
    first = message.shares[0]
    tampered = {
        Check.SHARES_FOR_NEIGHBOURS: (
            changed(message, shares=message.shares[1:]),
            changed(message, shares=message.shares[::-1]),
            changed(message, shares=(first, *message.shares)),
            changed(message, shares=(changed(first, v=1), *message.shares[1:])),
        ),
        Check.SHARE_KEYS_SIGNED: (
            changed(message, seed_commitment=bytes(32)),
            changed(message, signature=flipped(message.signature)),
            changed(message, own=changed(message.own, self_mask_commitment=bytes(32))),
            changed(
                message,
                shares=replaced(
                    message.shares, 0, changed(first, ciphertext=flipped(first.ciphertext))
                ),
            ),
        ),
    }
    for check, forgeries in tampered.items():
        for forged in forgeries:
            with refused(check, "hospital-1"):
                cohort.collect(1, forged)
