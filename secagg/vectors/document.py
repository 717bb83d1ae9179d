"""The form of a vector: JSON without floats and without duplicate keys, and its closed list."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import StrEnum, unique
from typing import Any, Final

from secagg.errors import SecaggError

SCHEMA: Final = "secagg-vector/1"

Document = dict[str, Any]
"""A vector, or an object in one: what ``json`` makes of it."""


@unique
class Expect(StrEnum):
    """How an operation ends: the closed list."""

    SUCCESS = "success"
    DECODE_ERROR = "decode_error"
    """The bytes, the text or the number are not well-formed, or not within their bounds."""
    AUTH_FAILURE = "auth_failure"
    """A signature, a tag or a path does not verify."""
    VIOLATION = "violation"
    """A well-formed message breaks a check; ``check`` names it, ``blames`` who broke it."""
    BELOW_THRESHOLD = "below_threshold"
    """Too few are left: of hospitals, signatures, answers or shares."""
    OVERFLOW = "overflow"
    """A number leaves the range in which sums are exact."""


class VectorError(SecaggError):
    """A vector that says nothing that could be computed: which part of it, and why."""


def read(text: bytes) -> Document:
    """The document in ``text``; raises VectorError for anything but one JSON object of a vector."""
    try:
        document = json.loads(
            text, object_pairs_hook=_distinct, parse_float=_no_float, parse_constant=_no_float
        )
    except (ValueError, RecursionError) as error:
        raise VectorError(f"not a vector: {error}") from None
    if not isinstance(document, dict):
        raise VectorError("not a vector: the document is not an object")
    return document


def written(document: Document) -> bytes:
    """The one text of ``document``: objects of objects line by line, lists of numbers in one."""
    return ("\n".join(_lines(document, "")) + "\n").encode()


def differences(expected: object, found: object, where: str = "$") -> Iterator[str]:
    """Where two JSON values differ, types included; ``expected`` is what was computed."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted(expected.keys() | found.keys()):
            place = f"{where}.{key}"
            if key not in expected:
                yield f"{place}: unknown"
            elif key not in found:
                yield f"{place}: missing"
            else:
                yield from differences(expected[key], found[key], place)
    elif isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            yield f"{where}: {len(found)} items, computed {len(expected)}"
        for number, pair in enumerate(zip(expected, found, strict=False)):
            yield from differences(*pair, f"{where}[{number}]")
    elif type(expected) is not type(found) or expected != found:
        yield f"{where}: {_short(found)}, computed {_short(expected)}"


def _lines(value: object, indent: str) -> list[str]:
    """Items of objects one a line; so are those of lists, unless all of them are scalars."""
    if isinstance(value, dict) and value:
        items = [(f"{json.dumps(key)}: ", each) for key, each in value.items()]
        opening, closing = "{", "}"
    elif isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
        items = [("", each) for each in value]
        opening, closing = "[", "]"
    else:
        return [json.dumps(value, ensure_ascii=False)]
    lines = [opening]
    for place, (prefix, each) in enumerate(items):
        first, *rest = _lines(each, indent)
        comma = "," if place + 1 < len(items) else ""
        block = [f" {prefix}{first}", *(f" {line}" for line in rest)]
        block[-1] += comma
        lines += block
    return [*lines, closing]


def _distinct(pairs: list[tuple[str, Any]]) -> Document:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has one key twice")
    return found


def _no_float(text: str) -> None:
    raise ValueError(f"vectors have no floats, but there is {text}")


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
