"""A forger's edits: what each does, and what is none."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from secagg.vectors.document import VectorError
from secagg.vectors.edits import MAX_REPEAT, Edit, edited, flipped, unpacked

MESSAGE = ["Name", b"\x01\x02", [3, [b"x", 5]], "text"]


def after(*edits: tuple[list[int], str, Any]) -> Any:
    message = unpacked(msgspec.msgpack.encode(MESSAGE))
    special = {"length": lambda whole, _at, _argument: len(whole)}
    return edited(message, [Edit(*edit) for edit in edits], special)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (([1], "put", {"bytes": "ff"}), ["Name", b"\xff", *MESSAGE[2:]]),
        (([4], "put", [7, {"bytes": ""}]), [*MESSAGE, [7, b""]]),
        (([], "put", ["Other"]), ["Other"]),
        (([2, 0], "insert", 9), [*MESSAGE[:2], [9, 3, [b"x", 5]], "text"]),
        (([3], "drop", None), MESSAGE[:3]),
        (([1], "flip", 0), ["Name", b"\x01\x03", *MESSAGE[2:]]),
        (([1], "flip", 15), ["Name", b"\x81\x02", *MESSAGE[2:]]),
        (([0], "swap", 3), ["text", *MESSAGE[1:3], "Name"]),
        (([3], "copy", [2, 1, 0]), [*MESSAGE[:3], b"x"]),
        (([2, 1], "repeat", 2), [*MESSAGE[:2], [3, [b"x", 5, b"x", 5]], "text"]),
        (([2, 0], "length", None), [*MESSAGE[:2], [4, [b"x", 5]], "text"]),
        (([4], "length", None), [*MESSAGE, 5]),
    ],
)
def test_an_edit_does_what_it_says(edit: tuple[list[int], str, Any], expected: Any) -> None:
    assert after(edit) == expected


def test_edits_follow_one_another() -> None:
    assert after(([], "put", ["A"]), ([1], "put", 2), ([1], "insert", 3)) == ["A", 3, 2]


@pytest.mark.parametrize(
    "edit",
    [
        ([9], "put", 1),
        ([-1], "put", 1),
        ([2, -1], "put", 1),
        ([0, 0], "put", 1),
        ([4], "drop", None),
        ([3], "drop", 0),
        ([4], "flip", 0),
        ([1], "flip", 16),
        ([1], "flip", -1),
        ([0], "swap", -1),
        ([3], "copy", [-1]),
        ([2], "repeat", 0),
        ([2], "repeat", MAX_REPEAT),
        ([0], "put", {"byte": ""}),
        ([0], "no such edit", None),
        ([0], "put", "Name"),  # nothing changes
        ([0], "copy", [0]),
        ([2], "repeat", 1),
    ],
)
def test_an_unfit_edit_is_refused(edit: tuple[list[int], str, Any]) -> None:
    with pytest.raises(VectorError):
        after(edit)


def test_bits_are_counted_from_the_end() -> None:
    assert flipped(bytes(2), 8) == b"\x01\x00"
