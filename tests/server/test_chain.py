"""The chain of models on the server: what is adopted, what is kept, what is handed out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from secagg import context
from secagg.checks import Check
from secagg.errors import PeerViolation
from secagg.model import Model, apply, canonical_bytes, initial, model_hash
from secagg.rounds.r3_consistency_check import signed
from secagg.wire.messages import Abandonment, Certificate, ModelChunk, ModelStart, Refusal
from server.chain import Chain
from server.store import Store
from tests.server.scripted import NOISE, SPEC, policy_of

POLICY, KEYS = policy_of(4, NOISE)
TOTAL = np.arange(SPEC.dimension, dtype=np.int64) * 7
FIRST = initial(SPEC)
SECOND = apply(FIRST, TOTAL, SPEC)


def certificate(number: int, model: Model, signers: tuple[int, ...] = (1, 2, 3)) -> Certificate:
    facts = Certificate(
        POLICY.digest(), number, 1, model_hash(FIRST), bytes(32), bytes(32), (1, 2, 3), bytes(32),
        model_hash(model), (),
    )  # fmt: skip
    statement = context.certificate(facts, model_hash(model))
    signatures = signed({u: KEYS[u].sign(*statement) for u in signers})
    return msgspec.structs.replace(facts, signatures=signatures)


def abandonment(number: int, signers: tuple[int, ...] = (1, 2, 3)) -> Abandonment:
    statement = context.abandonment(POLICY.digest(), number, model_hash(FIRST))
    signatures = signed({u: KEYS[u].sign(*statement) for u in signers})
    return Abandonment(POLICY.digest(), number, model_hash(FIRST), signatures)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    made = Store(path)
    yield made
    made.close()


@pytest.fixture
def chain(store: Store) -> Chain:
    return Chain(POLICY, SPEC, store)


def test_it_starts_from_the_policy_s_model(chain: Chain) -> None:
    assert (chain.closed, chain.model_hash) == (0, model_hash(FIRST))
    assert not chain.model_missing
    (refusal,) = chain.serve(model_hash(FIRST))
    assert isinstance(refusal, Refusal)


def test_a_concluded_round_is_handed_out_also_after_a_restart(chain: Chain, store: Store) -> None:
    proof = certificate(1, SECOND)
    chain.conclude(proof, TOTAL)
    for each in (chain, Chain(POLICY, SPEC, store)):
        assert (each.closed, each.model_hash) == (1, model_hash(SECOND))
        start, *chunks = each.serve(model_hash(SECOND))
        assert start == ModelStart(proof, len(canonical_bytes(SECOND)))
        parts = [chunk for chunk in chunks if isinstance(chunk, ModelChunk)]
        assert b"".join(chunk.data for chunk in parts) == canonical_bytes(SECOND)


def test_the_certificate_holds_even_against_the_server_s_own_computation(chain: Chain) -> None:
    third = apply(SECOND, TOTAL, SPEC)
    chain.conclude(certificate(1, third), TOTAL)
    assert chain.model_hash == model_hash(third)
    assert chain.model_missing
    assert chain.take_model(canonical_bytes(third))
    assert not chain.model_missing


def test_an_adopted_model_is_accepted_with_its_hash_alone(chain: Chain) -> None:
    chain.adopt(certificate(4, SECOND))
    assert chain.model_missing
    assert not chain.take_model(canonical_bytes(FIRST))
    assert not chain.take_model(b"garbage")
    assert chain.model_missing
    assert chain.take_model(canonical_bytes(SECOND))
    chain.conclude(certificate(5, apply(SECOND, TOTAL, SPEC)), TOTAL)
    assert not chain.model_missing


def test_without_a_quorum_nothing_is_adopted(chain: Chain) -> None:
    with pytest.raises(PeerViolation) as caught:
        chain.adopt(certificate(1, SECOND, (1, 2)))
    assert caught.value.check is Check.CERTIFICATE_QUORUM
    with pytest.raises(PeerViolation) as caught:
        chain.adopt_abandonment(abandonment(1, (1, 2)))
    assert caught.value.check is Check.ABANDONMENT_QUORUM
    assert chain.closed == 0


def test_an_abandoned_round_keeps_the_model(chain: Chain, store: Store) -> None:
    chain.adopt_abandonment(abandonment(3))
    for each in (chain, Chain(POLICY, SPEC, store)):
        assert (each.closed, each.model_hash) == (3, model_hash(FIRST))
    assert chain.is_newer(certificate(1, SECOND))
