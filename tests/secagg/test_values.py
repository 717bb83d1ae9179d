"""What the core hands about (states, messages, keys, entries) are values: nobody changes one."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages

import msgspec
import pytest

import secagg
from secagg.rounds.machine import ClientState, ServerState
from secagg.simulate import Cohort

#: A rehearsal with sessions, journals and a spool of its own.
CHANGING = {Cohort}


def classes() -> Iterator[type]:
    """Every class that is defined in the core."""
    for module in walk_packages(secagg.__path__, "secagg."):
        for kind in vars(import_module(module.name)).values():
            if inspect.isclass(kind) and kind.__module__ == module.name:
                yield kind


DATACLASSES = [kind for kind in classes() if dataclasses.is_dataclass(kind)]
STRUCTS = [kind for kind in classes() if issubclass(kind, msgspec.Struct)]


@pytest.mark.parametrize("kind", [kind for kind in DATACLASSES if kind not in CHANGING])
def test_a_value_is_frozen_and_has_no_room_for_more(kind: type) -> None:
    instance: object = object.__new__(kind)
    assert not hasattr(instance, "__dict__")
    for name in [field.name for field in dataclasses.fields(kind)] or ["anything"]:
        with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
            setattr(instance, name, None)


@pytest.mark.parametrize("kind", STRUCTS)
def test_a_struct_is_frozen(kind: type[msgspec.Struct]) -> None:
    assert kind.__struct_config__.frozen


@pytest.mark.parametrize("base", [ClientState, ServerState])
def test_what_all_states_have_is_given_by_name(base: type) -> None:
    kinds = {each.kind for each in inspect.signature(base).parameters.values()}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}
