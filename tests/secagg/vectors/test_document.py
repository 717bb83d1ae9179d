"""The form of a vector: what is read, how it is written, where two differ."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.vectors.document import VectorError, differences, read, written

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), values))
def test_what_is_written_is_read_again(document: dict[str, object]) -> None:
    assert read(written(document)) == document
    assert written(read(written(document))) == written(document)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"7",
        b"{",
        b'{"a": 1, "a": 1}',
        b'{"a": 1.0}',
        b'{"a": 1e3}',
        b'{"a": NaN}',
        b"\xff",
    ],
)
def test_what_is_no_vector_is_refused(text: bytes) -> None:
    with pytest.raises(VectorError):
        read(text)


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(VectorError):
        read(b'{"a": ' + b"[" * 100_000)


@given(values)
def test_equal_values_do_not_differ(value: object) -> None:
    assert list(differences(value, json.loads(json.dumps(value)))) == []


@pytest.mark.parametrize(
    ("computed", "found", "where"),
    [
        (1, 2, "$"),
        (1, True, "$"),
        (None, 0, "$"),
        ("1", 1, "$"),
        ([1], [1, 2], "$"),
        ([1, [2]], [1, [3]], "$[1][0]"),
        ({"a": 1}, {}, "$.a: missing"),
        ({}, {"a": 1}, "$.a: unknown"),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "$.a.b"),
        ({"a": 1}, [], "$"),
    ],
)
def test_a_difference_is_placed(computed: object, found: object, where: str) -> None:
    (difference,) = differences(computed, found)
    assert difference.startswith(where)


def test_long_values_are_not_printed_whole() -> None:
    (difference,) = differences("a" * 1000, "b" * 1000)
    assert len(difference) < 250
