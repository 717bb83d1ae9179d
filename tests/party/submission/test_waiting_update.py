"""What waits of an update can be opened by this node, for its policy and its model, alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from party.batches import BatchError
from party.submission.update import UpdateError, UpdateKind, read_update
from party.submission.waiting_update import Updates
from secagg.contribution import ContributionRule
from secagg.crypto.randomness import SeededRandomness
from secagg.crypto.secret import Secret
from secagg.model import Model, ModelSpec, ParameterSpec, UpdateRule, apply, initial, model_hash

SPEC = ModelSpec(
    parameters=(ParameterSpec(name="weights", shape=(3,)),),
    contribution=ContributionRule(scale=1000, gradient_bound=4000, count_weight=70, max_patients=1),
    update=UpdateRule(learning_rate="1", count_floor=1),
)
FIRST = initial(SPEC)
BASE = model_hash(FIRST)
POLICY = bytes(32)


def updates(key: int = 1, policy: bytes = POLICY, draws: int = 1) -> Updates:
    randomness = SeededRandomness(bytes([draws]) * 32)
    return Updates(Secret(bytes([key]) * 32), policy, SPEC, randomness)


def tensors(*values: float) -> bytes:
    return save({"weights": np.array(values, np.float64)})


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), st.sampled_from(["gradient", "delta"])
)
def test_what_is_opened_is_what_was_clipped(values: list[float], kind: UpdateKind) -> None:
    data = tensors(*values)
    posted = updates().admit(4, BASE, kind, data)
    assert (posted.number, posted.kind, posted.patients) == (4, "update", 0)
    opened = updates(draws=2).contribution(posted.kind, posted.payload, FIRST)
    assert opened.dtype == np.int64
    assert np.array_equal(opened, read_update(data, kind, SPEC))


def test_nothing_of_an_update_stands_in_what_waits() -> None:
    small, same = (updates().admit(1, BASE, "delta", tensors(1, 2, 3)).payload for _ in range(2))
    assert small == same  # of the same draws: what follows is about the draws alone
    other = updates(draws=2).admit(1, BASE, "delta", tensors(1, 2, 3))
    assert other.payload != small
    assert BASE not in small
    assert "payload" not in repr(other)
    assert other.encrypted_bytes == len(other.payload)


@pytest.mark.parametrize(
    "other", [updates(key=2), updates(policy=b"\1" * 32)], ids=["another key", "another policy"]
)
def test_only_this_node_under_this_policy_opens_it(other: Updates) -> None:
    posted = updates().admit(1, BASE, "delta", tensors(1, 2, 3))
    with pytest.raises(BatchError, match="another journal key or another policy"):
        other.contribution("update", posted.payload, FIRST)


@given(st.integers(0), st.integers(0, 7))
def test_an_altered_payload_is_not_used(position: int, bit: int) -> None:
    payload = bytearray(updates().admit(1, BASE, "delta", tensors(1, 2, 3)).payload)
    payload[position % len(payload)] ^= 1 << bit
    with pytest.raises(BatchError, match="was altered"):
        updates().contribution("update", bytes(payload), FIRST)


@pytest.mark.parametrize("length", [0, 10, 24, 39])
def test_a_payload_cut_short_is_not_used(length: int) -> None:
    payload = updates().admit(1, BASE, "delta", tensors(1, 2, 3)).payload
    with pytest.raises(BatchError, match="was altered"):
        updates().contribution("update", payload[:length], FIRST)


def test_an_update_of_another_model_is_stale() -> None:
    posted = updates().admit(1, BASE, "delta", tensors(1, 2, 3))
    moved: Model = apply(FIRST, np.array([1, 0, 0, 70]), SPEC)
    with pytest.raises(BatchError, match="fetch GET /models/latest"):
        updates().contribution("update", posted.payload, moved)


def test_records_are_not_an_update() -> None:
    with pytest.raises(BatchError, match=r"post an update to /submit-update, or agree on a policy"):
        updates().contribution("records", b"", FIRST)


def test_the_same_update_has_the_same_digest_however_it_is_written() -> None:
    def of(number: int = 1, base: bytes = BASE, kind: UpdateKind = "delta", sign: int = 1) -> bytes:
        data = tensors(sign * 1.0, sign * 2.0, sign * 3.0)
        return updates().admit(number, base, kind, data).digest

    single = save({"weights": np.array([1, 2, 3], np.float32)}, {"framework": "another"})
    assert updates(draws=9).admit(1, BASE, "delta", single).digest == of()
    assert of(kind="gradient", sign=-1) == of()
    different = {of(), of(number=2), of(base=bytes(32)), of(sign=-1), of(kind="gradient")}
    assert len(different) == 4
    keyed = updates(key=2).admit(1, BASE, "delta", tensors(1, 2, 3)).digest
    assert keyed not in different


def test_a_bad_update_is_refused_before_anything_is_sealed() -> None:
    with pytest.raises(UpdateError, match="not finite"):
        updates().admit(1, BASE, "delta", tensors(1, np.nan, 3))
