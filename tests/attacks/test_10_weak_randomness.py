"""Attack 10: weak, repeated or biased randomness. tests/test_core_is_sans_io.py keeps ambient
generators out of the core; this keeps what is drawn fresh, whole and uniform.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

import secagg
from secagg.checks import Check
from secagg.crypto.randomness import SeededRandomness
from secagg.rounds.journal import Standing
from secagg.rounds.r0_advertise_keys import ClientKeys, advertise_keys, channel_tree
from secagg.rounds.r1_share_keys import Shared, Sharing
from secagg.rounds.r2_masked_input import Masked, Masking
from secagg.simulate import Cohort
from secagg.vector.ring import Ring
from tests.cohorts import (
    changed,
    delivered,
    message_for,
    opened,
    reach,
    refused,
    state_of,
    step,
    vectors,
)


@dataclass
class Counted:
    """Randomness that remembers how much was drawn at a time."""

    source: SeededRandomness
    draws: list[int] = field(default_factory=list)

    def draw(self, size: int) -> bytes:
        self.draws.append(size)
        return self.source.draw(size)


def drawn_by_one(cohort: Cohort) -> list[bytes]:
    """Everything secret that client 1 draws in the attempt that is open."""
    reach(cohort, Masking)
    shared = state_of(cohort, 1, Shared)
    drawn = [shared.channel_seed.reveal(), shared.mask.private.reveal(), shared.seed.reveal()]
    for own in (shared.own.self_mask, shared.own.mask_key):
        drawn += [own.share, own.salt]
    delivered(cohort, 1, message_for(cohort, 1))
    return [*drawn, state_of(cohort, 1, Masked).noise_seed.reveal()]


def test_nothing_secret_is_used_twice_in_one_attempt_or_in_two() -> None:
    cohort = opened()
    drawn = drawn_by_one(cohort)
    cohort.open(vectors(cohort.policy), 1, 2)
    drawn += drawn_by_one(cohort)
    assert len(drawn) == len(set(drawn)) == 16


def test_every_secret_has_256_bits_of_its_own() -> None:
    cohort = opened()
    source = Counted(SeededRandomness(b"counted"))
    announcement = message_for(cohort, 1)
    advertise_keys(
        cohort.hospitals[1],
        announcement,
        standing=Standing(),
        base_model_hash=cohort.base_model_hash,
        batch_round=1,
        vector=cohort.vectors[1],
        randomness=source,
    )
    assert source.draws == [32, 32]  # channel seed, mask key


def test_two_hospitals_with_one_generator_are_found_out() -> None:
    """A cloned virtual machine: both draw the same keys."""
    cohort = opened()
    cohort.randomness = {u: SeededRandomness(b"clone") for u in cohort.policy.members}
    step(cohort, [1])
    (second,) = delivered(cohort, 2, message_for(cohort, 2))
    with refused(Check.KEYS_DISTINCT, "hospital-2"):
        cohort.collect(2, second)


def test_a_server_that_relays_them_all_the_same_is_found_out_too() -> None:
    cohort = opened()
    cohort.randomness = {
        u: SeededRandomness(b"clone" if u in (1, 2) else bytes([u])) for u in cohort.policy.members
    }
    (second,) = delivered(cohort, 2, message_for(cohort, 2))
    reach(cohort, Sharing, (1, 3, 4))
    tree = channel_tree(second.channel_keys)
    clone = ClientKeys(second.advertisement, tree, second.channel_keys).delivered_to(3)
    roster = message_for(cohort, 3)
    entries = sorted((*roster.advertised, clone), key=lambda x: x.advertisement.u)
    with refused(Check.KEYS_DISTINCT):
        delivered(cohort, 3, changed(roster, advertised=tuple(entries)))


def test_a_run_without_a_seed_is_like_no_other() -> None:
    first, second = (secagg.simulate([[1], [2], [3]]).certificate for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.server_nonce != second.server_nonce
    assert first.policy_digest != second.policy_digest  # fresh identities, too


@pytest.mark.parametrize("bound", [0, 1, 127, 128, 2**31, 2**62])
def test_every_ring_has_a_power_of_two_elements(bound: int) -> None:
    """So that uniform words stay uniform: no reduction modulo anything else, no bias."""
    modulus = Ring.for_bound(bound).modulus
    assert modulus & (modulus - 1) == 0
