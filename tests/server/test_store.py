from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secagg.context import Attempt
from secagg.crypto.hashing import Label, digest, u64
from secagg.errors import LocalMisuse
from secagg.wire.messages import Abandonment, Certificate, PublishedSum, Signed
from server.store import PIECE, Store

POLICY = digest(Label.POLICY, b"policy")
BASE = digest(Label.MODEL, b"base")


def attempt_at(number: int, attempt: int = 1, nonce: bytes = bytes(32)) -> Attempt:
    return Attempt(POLICY, number, attempt, BASE, nonce)


def published_of(attempt: Attempt) -> PublishedSum:
    return PublishedSum(
        policy_digest=attempt.policy_digest,
        round=attempt.round,
        attempt=attempt.attempt,
        base_model_hash=attempt.base_model_hash,
        server_nonce=attempt.server_nonce,
        u2_hash=bytes(32),
        u3=(1, 2, 3),
        sum_digest=bytes(32),
        survivor_signatures=(Signed(1, bytes(64)), Signed(2, bytes(64))),
        server_signature=bytes(64),
    )


def certificate_of(number: int, model: bytes = b"model", attempt: int = 1) -> Certificate:
    return Certificate(
        policy_digest=POLICY,
        round=number,
        attempt=attempt,
        base_model_hash=BASE,
        server_nonce=bytes(32),
        u2_hash=bytes(32),
        u3=(1, 2, 3),
        sum_digest=bytes(32),
        model_hash=digest(Label.MODEL, model, u64(number)),
        signatures=(Signed(1, bytes(64)),),
    )


def abandonment_of(number: int) -> Abandonment:
    return Abandonment(POLICY, number, BASE, (Signed(2, bytes(64)),))


def add_sum(store: Store, number: int, attempt: int = 1) -> None:
    opened = attempt_at(number, attempt)
    store.record_sum(opened, published_of(opened), np.array([number, -attempt], np.int64))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "server.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = Store(path)
    yield opened
    opened.close()


def test_an_empty_store_knows_nothing(store: Store) -> None:
    assert store.open_attempts() == {}
    assert store.pending_sum() is None
    assert store.newest_certificate() is None
    assert store.newest_abandonment() is None
    assert store.model(BASE) is None
    assert store.history() == []


def test_attempts_are_counted_by_round(store: Store) -> None:
    for number, attempt in ((1, 1), (1, 2), (2, 7), (3, 1)):
        store.record_attempt(attempt_at(number, attempt))
    assert store.open_attempts() == {1: 2, 2: 7, 3: 1}


def test_a_number_is_not_given_to_two_attempts(store: Store) -> None:
    store.record_attempt(attempt_at(1))
    store.record_attempt(attempt_at(1))  # the same attempt
    with pytest.raises(LocalMisuse, match="attempt 1 of round 1"):
        store.record_attempt(attempt_at(1, nonce=bytes([1]) * 32))


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(values=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=8), number=st.integers(1, 2**40))
def test_a_sum_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, values: list[int], number: int
) -> None:
    store = Store(tmp_path_factory.mktemp("sum") / "server.sqlite3")
    attempt, total = attempt_at(number, 3), np.array(values, np.int64)
    store.record_sum(attempt, published_of(attempt), total)
    pending = store.pending_sum()
    store.close()
    assert pending is not None
    assert pending[:2] == (attempt, published_of(attempt))
    assert pending[2].dtype == np.int64
    np.testing.assert_array_equal(pending[2], total)


def test_a_sum_of_many_pieces_is_read_back(store: Store) -> None:
    attempt = attempt_at(1)
    total = np.arange(2 * PIECE // 8 + 5, dtype=np.int64) - 1000
    store.record_sum(attempt, published_of(attempt), total)
    pending = store.pending_sum()
    assert pending is not None
    np.testing.assert_array_equal(pending[2], total)


def test_a_sum_of_another_attempt_is_refused(store: Store) -> None:
    with pytest.raises(LocalMisuse):
        store.record_sum(attempt_at(1, 2), published_of(attempt_at(1)), np.zeros(1, np.int64))
    assert store.pending_sum() is None


def test_the_first_sum_of_an_attempt_stays(store: Store) -> None:
    add_sum(store, 1)
    attempt = attempt_at(1)
    store.record_sum(attempt, published_of(attempt), np.array([9, 9, 9], np.int64))
    pending = store.pending_sum()
    assert pending is not None
    assert pending[2].tolist() == [1, -1]


def test_the_newest_sum_is_pending(store: Store) -> None:
    for number, attempt in ((2, 2), (1, 9), (2, 1)):
        add_sum(store, number, attempt)
    pending = store.pending_sum()
    assert pending is not None
    assert pending[0] == attempt_at(2, 2)


@pytest.mark.parametrize("closed", [2, 3])
def test_a_certificate_ends_the_sums_until_its_round(store: Store, closed: int) -> None:
    add_sum(store, 1)
    add_sum(store, 2)
    store.record_certificate(certificate_of(closed), None)
    assert store.pending_sum() is None


def test_an_abandonment_ends_the_sums_until_its_round(store: Store) -> None:
    add_sum(store, 1)
    store.record_abandonment(abandonment_of(1))
    assert store.pending_sum() is None


def test_a_later_sum_stays_pending(store: Store) -> None:
    add_sum(store, 3)
    store.record_certificate(certificate_of(1), None)
    store.record_abandonment(abandonment_of(2))
    pending = store.pending_sum()
    assert pending is not None
    assert pending[0].round == 3


def test_a_late_sum_of_a_closed_round_is_not_pending(store: Store) -> None:
    store.record_certificate(certificate_of(2), None)
    add_sum(store, 2)
    assert store.pending_sum() is None


def test_ended_sums_leave_no_rows(store: Store, path: Path) -> None:
    add_sum(store, 1)
    add_sum(store, 2)
    store.record_certificate(certificate_of(1), None)
    reader = sqlite3.connect(path)
    assert reader.execute("SELECT count(*) FROM sums").fetchone() == (1,)
    assert reader.execute("SELECT count(*) FROM totals").fetchone() == (1,)
    reader.close()


def test_a_certificate_brings_its_model(store: Store) -> None:
    certificate = certificate_of(1)
    store.record_certificate(certificate, None)
    assert store.model(certificate.model_hash) is None
    model = bytes(range(256)) * (PIECE // 128) + b"end"
    store.record_certificate(certificate, model)
    store.record_certificate(certificate, model)
    assert store.model(certificate.model_hash) == model
    assert store.history() == [certificate]


def test_the_first_certificate_of_a_round_stays(store: Store) -> None:
    store.record_certificate(certificate_of(1), None)
    store.record_certificate(certificate_of(1, attempt=2), None)
    assert store.history() == [certificate_of(1)]


def test_history_is_in_order_and_the_newest_is_the_last(store: Store) -> None:
    for number in (3, 1, 2):
        store.record_certificate(certificate_of(number), None)
        store.record_abandonment(abandonment_of(number + 10))
    assert [certificate.round for certificate in store.history()] == [1, 2, 3]
    assert store.newest_certificate() == certificate_of(3)
    assert store.newest_abandonment() == abandonment_of(13)


def test_a_model_is_stored_once(store: Store) -> None:
    store.store_model(BASE, b"canonical")
    store.store_model(BASE, b"canonical")
    assert store.model(BASE) == b"canonical"
    assert store.model(bytes(32)) is None


def test_everything_is_there_after_a_restart(store: Store, path: Path) -> None:
    store.record_attempt(attempt_at(3, 4))
    store.record_certificate(certificate_of(1), b"canonical")
    store.record_abandonment(abandonment_of(2))
    add_sum(store, 3, 4)
    again = Store(path)  # the first one was never closed, as after SIGKILL
    assert again.open_attempts() == {3: 4}
    assert again.newest_certificate() == certificate_of(1)
    assert again.model(certificate_of(1).model_hash) == b"canonical"
    assert again.newest_abandonment() == abandonment_of(2)
    pending = again.pending_sum()
    assert pending is not None
    assert pending[0] == attempt_at(3, 4)
    again.close()


def test_threads_may_share_it(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda k: store.record_attempt(attempt_at(1, k)), range(1, 41)))
        opened = list(pool.map(lambda _: store.open_attempts(), range(8)))
    assert opened == [{1: 40}] * 8


def test_files_are_for_their_owner_alone(store: Store, path: Path) -> None:
    add_sum(store, 1)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    files = list(path.parent.iterdir())
    assert path in files
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
