"""Arguments that would do nothing, or that nothing can be made of, are no vector."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from secagg.vectors.build import built
from secagg.vectors.catalogue import catalogue
from secagg.vectors.document import VectorError

CATALOGUE = catalogue()
POLICY: Any = CATALOGUE["primitive-policy"]["operations"][0]
ABANDONMENT = ["AbandonmentShare", 1, {"draw": 64}]


def asked(operation: dict[str, Any]) -> Any:
    """A vector of this operation alone."""
    return built({**CATALOGUE["primitive-policy"], "operations": [operation]})


def policy(changes: list[Any], replace: list[Any]) -> dict[str, Any]:
    return {**deepcopy(POLICY), "changes": changes, "replace": replace}


def decoding(base: list[Any], raw: list[Any]) -> dict[str, Any]:
    return {"operation": "decode", "to": "server", "base": base, "edits": [], "raw": raw}


def test_what_is_asked_for_here_is_well_formed_otherwise() -> None:
    (loaded,) = asked(policy([[["corrupt"], 2]], [["vectors", "others"]]))["operations"]
    assert '"corrupt":2' in loaded["text"]
    (decoded,) = asked(decoding(ABANDONMENT, [["append", ["00"]]]))["operations"]
    assert decoded["expect"] == "decode_error"


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        (policy([[["corrupt"], 1]], []), "changes nothing"),
        (policy([[["roster", -1, "name"], "other"]], []), "places before the first"),
        (policy([], [["no such text", "other"]]), "does not stand in the policy once"),
        (policy([], [["hospital-", "other"]]), "does not stand in the policy once"),
        (decoding(["AbandonmentShare", 1, {"drawn": 64}], []), "not a value of a message"),
        (decoding(ABANDONMENT, [["cut", [0]]]), "not changed by cut"),
        (decoding(ABANDONMENT, [["cut", [10**6]]]), "not changed by cut"),
        (decoding(ABANDONMENT, [["replace", ["ffffffffffff", "00"]]]), "not changed by replace"),
        (decoding(ABANDONMENT, [["reverse", []]]), "not changed by reverse"),
        (
            {"operation": "inversion", "variance": "6", "threshold": 0, "offset": -(2**200)},
            "outside its range",
        ),
    ],
)
def test_arguments_without_an_effect_are_refused(operation: dict[str, Any], why: str) -> None:
    with pytest.raises(VectorError, match=why):
        asked(operation)


def test_nobody_sends_again_what_somebody_else_has_sent() -> None:
    session: Any = CATALOGUE["session-lost-before-its-keys"]
    again = {"operation": "message", "from": 1, "to": 0, "base": [1, 0], "edits": []}
    changed = {**session, "operations": [*session["operations"][:2], again]}
    with pytest.raises(VectorError, match="another sender or receiver"):
        built(changed)
