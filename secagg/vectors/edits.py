"""What a forger does to an honest message: a list of small changes to its fields.

A message is seen as msgpack sees it: arrays, integers, strings, byte strings, nil. ``at`` is the
way to one value, as places in nested arrays, from 0; the empty way is the message itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from secagg.vectors.document import VectorError

MAX_REPEAT: Final = 2**21


class Edit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"argument": "with"}):
    """One change. ``do``: what is done at ``at``; ``argument``: with what (``with`` in JSON)."""

    at: list[int]
    do: str
    argument: Any = None


_NEED_A_VALUE: Final = frozenset({"drop", "flip", "swap", "repeat"})
"""The other edits make a place at the end of an array where there is none."""

Special = Callable[[Any, list[int], Any], Any]
"""(whole message, way, argument) -> the value to put there; for what needs keys and context."""


def unpacked(message: bytes) -> Any:
    """The values in a message's bytes."""
    return msgspec.msgpack.decode(message)


def edited(message: Any, edits: Sequence[Edit], special: Mapping[str, Special]) -> Any:
    """``message`` after ``edits``, one after the other. Raises VectorError for an unfit one."""
    root = [message]
    for edit in edits:
        before = msgspec.msgpack.encode(root[0])
        parent, place = root, 0
        for step in edit.at:
            parent, place = parent[place], step
            if not isinstance(parent, list):
                raise VectorError(f"the way {edit.at} leads into no array")
            if step < 0:
                raise VectorError(f"there is no place {step}")
        if place == len(parent) and edit.do not in _NEED_A_VALUE:
            parent.append(None)
        if not 0 <= place < len(parent):
            raise VectorError(f"the way {edit.at} leads nowhere")
        _apply(root[0], parent, place, edit, special)
        if msgspec.msgpack.encode(root[0]) == before:
            raise VectorError(f"the edit at {edit.at} changes nothing")
    return root[0]


def value_of(written: Any) -> Any:
    """A value as it is written in JSON: ``{"bytes": hex}`` stands for a byte string."""
    if isinstance(written, dict):
        if written.keys() != {"bytes"}:
            raise VectorError(f"not a value of a message: {written}")
        return bytes.fromhex(written["bytes"])
    if isinstance(written, list):
        return [value_of(each) for each in written]
    return written


def flipped(data: bytes, bit: int) -> bytes:
    """``data`` with bit ``bit`` flipped: bit 0 is the least significant one of the last byte."""
    if not 0 <= bit < 8 * len(data):
        raise VectorError(f"{len(data)} bytes have no bit {bit}")
    return (int.from_bytes(data, "big") ^ 1 << bit).to_bytes(len(data), "big")


def _apply(
    whole: Any, parent: list[Any], place: int, edit: Edit, special: Mapping[str, Special]
) -> None:
    argument = edit.argument
    match edit.do:
        case "put":
            parent[place] = value_of(argument)
        case "insert":
            parent.insert(place, value_of(argument))
        case "drop" if argument is None:
            del parent[place]
        case "flip":
            parent[place] = flipped(parent[place], argument)
        case "swap" if argument >= 0:
            parent[place], parent[argument] = parent[argument], parent[place]
        case "repeat":
            if not 1 <= argument * len(parent[place]) <= MAX_REPEAT:
                raise VectorError(f"repeated {argument} times, this becomes too long")
            parent[place] = parent[place] * argument
        case "copy":
            found = whole
            for step in argument:
                if step < 0:
                    raise VectorError(f"there is no place {step}")
                found = found[step]
            parent[place] = found
        case _:
            if edit.do not in special:
                raise VectorError(f"no edit is called {edit.do!r}")
            parent[place] = special[edit.do](whole, edit.at, argument)
