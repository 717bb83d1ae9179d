"""What the server holds, given everything that it ever receives from an honest cohort.

1. Each masked input by itself is uniform. 2. With every secret that it has put together, the masks
that remain between the survivors still connect them all. 3. For two inputs with equal sums there
are honest pairwise masks that make everything the server receives the same, byte for byte: what it
holds tells it the sum, and nothing that the sum does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from secagg.graph import mask_sign
from secagg.policy import Policy
from secagg.rounds import r2_masked_input
from secagg.rounds.r1_share_keys import Shared
from secagg.rounds.r2_masked_input import Masked, Masking, pairwise_seed
from secagg.rounds.r4_unmasking import Unmasked, Unmasking, collect_answer, reconstruct
from secagg.rounds.r5_certification import Certifying
from secagg.simulate import Cohort
from secagg.vector.masking import Mask, apply_masks
from secagg.vector.ring import Ring, Words
from secagg.wire.codec import encode
from secagg.wire.messages import UnmaskingAnswer, Wire
from tests.cohorts import (
    Facts,
    Loot,
    Vector,
    assembled,
    colluding,
    delivered,
    masked_words,
    message_for,
    opened,
    opened_sum,
    reach,
    state_of,
    step,
    template,
)

SIGNIFICANCE = 1e-6
"""Of each uniformity test; seeds are fixed, so that what passes once passes always."""

# --- 1. each masked input is uniform -------------------------------------------------------------


def uniformity(words: NDArray[Any], ring: Ring) -> float:
    """The least p-value of chi-square tests of the words' lowest, middle and highest 8 bits."""
    shifts = (0, ring.bits // 2 - 4, ring.bits - 8)
    counts = [np.bincount((words >> shift) & 0xFF, minlength=256) for shift in shifts]
    return min(float(stats.chisquare(count).pvalue) for count in counts)


@pytest.mark.parametrize("value", [0, 1, -9_999])
def test_each_masked_input_alone_is_uniform(value: int) -> None:
    policy = template(4, dimension=100_000)
    cohort = assembled(policy)
    cohort.open({u: np.full(policy.vector.dimension, value) for u in policy.members})
    reach(cohort, Masking)
    step(cohort)
    ring = cohort.policy.ring
    for u in policy.members:
        assert uniformity(masked_words(cohort, u), ring) > SIGNIFICANCE
    # The test can fail: the input itself, and the sum of all that is masked, are far from it.
    plain = ring.encode(cohort.vectors[1])
    assert uniformity(plain, ring) < SIGNIFICANCE


def test_an_input_under_a_mask_of_too_few_bits_would_be_seen() -> None:
    ring = template(4).ring
    mask = stats.randint.rvs(0, ring.modulus // 2, size=100_000, random_state=1)
    assert uniformity(mask.astype(ring.dtype), ring) < SIGNIFICANCE


def test_masked_inputs_of_equal_vectors_are_unrelated() -> None:
    policy = template(4, dimension=100_000)
    cohort = assembled(policy)
    cohort.open({u: np.ones(policy.vector.dimension, np.int64) for u in policy.members})
    reach(cohort, Masking)
    step(cohort)
    ring = cohort.policy.ring
    for u in (2, 3, 4):
        difference = masked_words(cohort, 1) - masked_words(cohort, u)
        assert uniformity(ring.reduce(difference), ring) > SIGNIFICANCE


# --- 2. the masks that remain --------------------------------------------------------------------


def connected(nodes: Iterable[int], edges: Iterable[tuple[int, int]]) -> bool:
    """Whether the graph is in one piece."""
    component = {u: u for u in nodes}
    for u, v in edges:
        old, new = component[u], component[v]
        component = {w: new if c == old else c for w, c in component.items()}
    return len(set(component.values())) == 1


def masks_left(unmasked: Unmasked, known: Iterable[int]) -> list[tuple[int, int]]:
    """The pairs of survivors whose pairwise mask nobody's private key in ``known`` gives away."""
    return list(combinations([u for u in unmasked.u3 if u not in known], 2))


@pytest.mark.parametrize(("n", "dropped"), [(4, ()), (4, (4,)), (7, (2, 5)), (10, (1, 4, 9))])
def test_every_secret_that_the_server_puts_together_leaves_the_survivors_connected(
    n: int, dropped: tuple[int, ...]
) -> None:
    cohort = opened(template(n))
    reach(cohort, Masking)
    survivors = [u for u in cohort.policy.members if u not in dropped]
    unmasking = reach(cohort, Unmasking, survivors)
    for u in survivors:
        for answer in cohort.deliver(u, message_for(cohort, u)):
            assert isinstance(answer, UnmaskingAnswer)
            unmasking = collect_answer(unmasking, u, answer)
    unmasked = reconstruct(unmasking).state
    assert isinstance(unmasked, Unmasked)
    assert unmasked.mask_keys.keys() == set(dropped)
    assert unmasked.self_mask_seeds.keys() == set(survivors)
    assert connected(survivors, masks_left(unmasked, unmasked.mask_keys))
    # With the keys of c survivors who collude with it as well, the honest ones stay together.
    corrupt, honest = survivors[: cohort.policy.corrupt], survivors[cohort.policy.corrupt :]
    left = masks_left(unmasked, {*unmasked.mask_keys, *corrupt})
    assert connected(honest, left)
    assert not connected(honest, [pair for pair in left if honest[0] not in pair])


def test_the_servers_secrets_open_the_sum_of_all_survivors_and_of_no_fewer() -> None:
    cohort = opened(template(5))
    facts = Facts.of(reach(cohort, Masking))
    survivors = (1, 2, 3, 4)
    reach(cohort, Unmasking, survivors)
    loot = Loot(cohort.policy.threshold)
    for u in survivors:
        (answer,) = delivered(cohort, u, message_for(cohort, u))
        loot.take_answer(u, answer)
    secrets = loot.seeds(), loot.privates()
    assert opened_sum(cohort, facts, survivors, *secrets) is not None
    for left_out in survivors:
        fewer = [u for u in survivors if u != left_out]
        assert opened_sum(cohort, facts, fewer, *secrets) is None


# --- 3. equal sums, equal views ------------------------------------------------------------------


def received(
    cohort: Cohort, vectors: Mapping[int, Vector], dropped: tuple[int, ...], corrupt: set[int]
) -> list[bytes]:
    """Run an attempt; every byte that reaches the server or a corrupt hospital, in order."""
    view: list[bytes] = []

    def up(u: int, message: Wire) -> Wire:
        view.append(bytes([u]) + encode(message))
        return message

    def down(u: int, message: Wire) -> Wire:
        return up(u, message) if u in corrupt else message

    cohort.open(vectors)
    survivors = [u for u in cohort.policy.members if u not in dropped]
    while not isinstance(cohort.server.state, Certifying):
        before = cohort.server.state
        taking_part = survivors if isinstance(before, Masking) else cohort.policy.members
        step(cohort, taking_part, up=up, down=down)
        if type(cohort.server.state) is type(before):
            cohort.server.close()
    step(cohort, survivors, up=up, down=down)
    return view


def other_inputs(
    policy: Policy, vectors: Mapping[int, Vector], dropped: tuple[int, ...], corrupt: set[int]
) -> dict[int, Vector]:
    """Inputs with the same sum: the honest survivors' are handed round, and those of the dropped,
    of whom the server has no masked input, are changed at will.
    """
    honest = [u for u in policy.members if u not in dropped and u not in corrupt]
    handed_round = [vectors[u] for u in (*honest[1:], honest[0])]
    changed = {u: vectors[u] + 1234 for u in dropped if u not in corrupt}
    return {**vectors, **dict(zip(honest, handed_round, strict=True)), **changed}


def moved_along_a_path(
    before: Mapping[int, Vector], after: Mapping[int, Vector], path: list[int]
) -> dict[tuple[int, int], Vector]:
    """For each pair of neighbours on a path, what to add to p_uv so that every y stays as it was.

    Hospital u adds ``mask_sign(u, v) * p_uv``; the change of its input must be undone by the
    changes of its one or two masks. What is left over is handed on; in the end nothing is, since
    the sums are equal.
    """
    carried = np.zeros_like(before[path[0]])
    correction = {}
    for u, v in pairwise(path):
        carried = carried + after[u] - before[u]
        correction[u, v] = -mask_sign(u, v) * carried
    return correction


@pytest.mark.parametrize("corrupt", [set(), {3}])
@pytest.mark.parametrize(("n", "dropped"), [(4, ()), (4, (4,)), (5, (2,)), (7, (1, 6))])
def test_for_equal_sums_there_are_masks_that_make_the_view_the_same(
    monkeypatch: pytest.MonkeyPatch, n: int, dropped: tuple[int, ...], corrupt: set[int]
) -> None:
    """The server's view, and that of a corrupt hospital whose coins it knows."""
    policy = template(n, dimension=50)
    first = {u: np.arange(50, dtype=np.int64) * u - 40 * u for u in policy.members}
    second = other_inputs(policy, first, dropped, corrupt)
    honest = [u for u in policy.members if u not in dropped and u not in corrupt]
    assert all(not np.array_equal(first[u], second[u]) for u in honest)

    cohort = assembled(policy)
    view = received(cohort, first, dropped, corrupt)

    # The same coins again, the other inputs, and pairwise masks corrected along a path.
    corrections = moved_along_a_path(first, second, honest)
    by_seed = {
        seed_between(assembled(policy), first, pair).reveal(): delta
        for pair, delta in corrections.items()
    }
    corrected = 0

    def corrected_masks(words: Words, masks: Iterable[Mask], ring: Ring, start: int = 0) -> None:
        nonlocal corrected
        listed = list(masks)
        apply_masks(words, listed, ring, start)
        for mask in listed:
            delta = by_seed.get(mask.seed.reveal())
            if delta is not None:
                corrected += 1
                words += ring.encode(mask.sign * delta[start : start + words.size])
                ring.reduce(words)

    monkeypatch.setattr(r2_masked_input, "apply_masks", corrected_masks)
    other = assembled(policy)
    assert received(other, second, dropped, corrupt) == view
    assert corrected == 2 * len(corrections)  # each mask by both its ends, nothing else
    assert cohort.total is not None
    assert other.total is not None
    assert np.array_equal(other.total, cohort.total)


def seed_between(cohort: Cohort, vectors: Mapping[int, Vector], pair: tuple[int, int]) -> Any:
    """s_uv of a run with these coins."""
    cohort.open(vectors)
    state = reach(cohort, Masking)
    u, v = pair
    private = state_of(cohort, u, Shared).mask.private
    public = state.keys[v].advertisement.mask_key
    return pairwise_seed(private, public, state.u2_hash, u, v)


def test_for_unequal_sums_the_view_differs() -> None:
    """So that the test above can fail."""
    policy = template(4)
    first = {u: np.zeros(3, np.int64) for u in policy.members}
    second = {**first, 1: np.ones(3, np.int64)}
    assert received(assembled(policy), first, (), set()) != received(
        assembled(policy), second, (), set()
    )


def test_the_colluders_shares_alone_open_nothing() -> None:
    """c hospitals and the server, before anybody answers: fewer than t shares of every secret."""
    cohort = opened(template(10))
    reach(cohort, Masking)
    step(cohort)
    loot = Loot(cohort.policy.threshold)
    for u in range(1, cohort.policy.corrupt + 1):
        assert isinstance(cohort.sessions[u].state, Masked)
        colluding(cohort, u, loot)
    assert not loot.seeds()
    assert not loot.privates()
