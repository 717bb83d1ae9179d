"""docs/protocol.md shows the table of transitions, the labels, messages and checks of the code."""

from pathlib import Path

import pytest

from secagg.checks import Check
from secagg.crypto.hashing import Label
from secagg.rounds.table import diagrams
from secagg.wire import messages

PAGE = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text(encoding="utf-8")

STRUCTS = [
    value
    for value in vars(messages).values()
    if isinstance(value, type)
    and issubclass(value, messages.Wire | messages.Part)
    and value not in (messages.Wire, messages.Part)
]


def test_both_diagrams_are_drawn_from_the_table() -> None:
    client, server = diagrams().split("\n\n")
    assert f"```mermaid\n{client}\n```" in PAGE
    assert f"```mermaid\n{server}\n```" in PAGE


@pytest.mark.parametrize("check", Check, ids=lambda check: check.id)
def test_every_check_stands_on_the_page(check: Check) -> None:
    assert f"| {check.id} | {check.statement} |" in PAGE


@pytest.mark.parametrize("label", Label)
def test_every_label_stands_on_the_page(label: Label) -> None:
    assert f"`{label.value}`" in PAGE


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_message_stands_on_the_page_with_its_fields_in_order(
    struct: type[messages.Wire] | type[messages.Part],
) -> None:
    fields = ", ".join(f"`{field}`" for field in struct.__struct_fields__)
    assert f"| `{struct.__name__}` | {fields} |" in PAGE
