"""The model store: bytes in pieces, under their hash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from party.database import open_database
from party.models import PIECE, ModelStore, StoredModel


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    made = open_database(tmp_path_factory.mktemp("models") / "models.sqlite3")
    yield made
    made.dispose()


def put(engine: Engine, model: StoredModel) -> None:
    with engine.begin() as connection:
        ModelStore(engine).put(connection, model)


@given(st.sampled_from([1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 5]))
def test_a_model_comes_back_whole_and_in_order(engine: Engine, size: int) -> None:
    data = bytes(i * 7 % 251 for i in range(size))
    name = size.to_bytes(32, "big")
    put(engine, StoredModel(name, data))
    put(engine, StoredModel(name, data))  # a second time is harmless
    store = ModelStore(engine)
    assert store.get(name) == data
    assert store.size(name) == size
    position = 0
    for start, piece in store.pieces(name):
        assert start == position
        assert 1 <= len(piece) <= PIECE
        position += len(piece)
    assert position == size


def test_an_unknown_model_is_none(engine: Engine) -> None:
    store = ModelStore(engine)
    assert store.get(b"?" * 32) is None
    assert store.size(b"?" * 32) is None
    assert list(store.pieces(b"?" * 32)) == []


def test_all_but_the_named_models_are_removed(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "models.sqlite3")
    for name in (b"a" * 32, b"b" * 32):
        put(engine, StoredModel(name, name * (PIECE // 16)))
    with engine.begin() as connection:
        ModelStore(engine).keep_only(connection, [b"b" * 32])
    assert ModelStore(engine).get(b"a" * 32) is None
    assert ModelStore(engine).size(b"b" * 32) == 2 * PIECE
    engine.dispose()


def test_a_model_is_not_shown_in_full() -> None:
    assert "weights" not in repr(StoredModel(bytes(32), b"weights"))
