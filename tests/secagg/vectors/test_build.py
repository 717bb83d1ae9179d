"""A vector out of what determines it; what determines none is refused."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from secagg.vectors.build import built, checked
from secagg.vectors.catalogue import catalogue
from secagg.vectors.document import VectorError

CATALOGUE = catalogue()
RANDOMNESS = CATALOGUE["primitive-randomness"]
SESSION = CATALOGUE["session-lost-before-its-keys"]


def changed(entry: Any, *way: Any, to: Any) -> Any:
    copied = deepcopy(entry)
    inner = copied
    for step in way[:-1]:
        inner = inner[step]
    inner[way[-1]] = to
    return copied


def message(sender: int, receiver: int, base: list[int] | None, *edits: Any) -> Any:
    return {
        "operation": "message",
        "from": sender,
        "to": receiver,
        "base": base,
        "edits": list(edits),
    }


def test_a_built_vector_holds_and_another_seed_makes_another() -> None:
    vector = built(RANDOMNESS)
    assert checked(vector) == []
    other = built(changed(RANDOMNESS, "seed", to="00"))
    assert other["operations"] != vector["operations"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kind", "other"),
        ("kind", []),
        ("comment", ""),
        ("comment", 1),
        ("seed", ""),
        ("seed", "AB"),
        ("seed", "xy"),
        ("seed", 1),
        ("config", {"n": 3}),
        ("operations", []),
        ("operations", [1]),
        ("operations", [{}]),
        ("operations", [{"operation": "none"}]),
        ("operations", [{"operation": "randomness", "fork": []}]),
        ("operations", [{"operation": "randomness", "fork": [], "sizes": ["1"]}]),
        ("operations", [{"operation": "randomness", "fork": [], "sizes": [2**20]}]),
        ("operations", [{"operation": "randomness", "fork": [], "sizes": [True]}]),
        ("operations", [{"operation": "ring", "bound": -1}]),
        ("operations", [{"operation": "prg", "bits": 7, "start": 0, "count": 1}]),
        ("operations", [{"operation": "digest", "label": "secagg/1/none", "sizes": []}]),
        ("operations", [{"operation": "gaussian", "variance": "2/4", "count": 1}]),
        ("operations", [{"operation": "inversion", "variance": "6", "threshold": 99, "offset": 0}]),
        ("operations", [{"operation": "public_key", "u": 2**255, "high": 0}]),
        ("operations", [{"operation": "shamir_value", "value": 2**257, "xs": [1, 2]}]),
        (
            "operations",
            [{"operation": "shamir", "threshold": 2, "xs": [1, 2], "use": [1, 1], "add": 0}],
        ),
        ("operations", [{"operation": "shamir_value", "value": 2, "xs": [1, 1]}]),
        (
            "operations",
            [{"operation": "pack", "bits": 9, "count": 1, "flip": None, "extra": 2**40}],
        ),
        (
            "operations",
            [{"operation": "frames", "sizes": [3], "limit": 9, "piece": 0, "raw": []}],
        ),
        (
            "operations",
            [{"operation": "frames", "sizes": [3], "limit": 9, "piece": 1, "raw": [["cut", [0]]]}],
        ),
        (
            "operations",
            [
                {
                    "operation": "decode_model",
                    "parameters": [{"name": "a", "shape": [], "initial": "0"}],
                    "at": 10**6,
                    "put": "00",
                    "extra": 0,
                }
            ],
        ),
    ],
)
def test_what_says_nothing_is_refused(key: str, value: Any) -> None:
    with pytest.raises(VectorError):
        built(changed(RANDOMNESS, key, to=value))


@pytest.mark.parametrize("key", ["kind", "comment", "config", "seed", "operations"])
def test_nothing_may_be_missing(key: str) -> None:
    with pytest.raises(VectorError):
        built({name: value for name, value in RANDOMNESS.items() if name != key})


@pytest.mark.parametrize(
    ("way", "value"),
    [
        (("config", "hospitals"), [f"h-{u}" for u in range(65)]),
        (("config", "vector", "dimension"), 4097),
        (("config", "verification"), "recompute"),
        (("config", "corrupt"), 9),
        (("operations", 0), {"operation": "exchange", "absent": []}),
        (("operations", 1, "absent"), [4, 4]),
        (("operations", 1, "absent"), [5]),
        (("operations", 2, "absent"), [4]),  # nothing waits for it any more
        (("operations", 1), {"operation": "deliver", "to": 0}),
        (("operations", 1), {"operation": "sum", "to": 1, "edits": [], "chunk_edits": []}),
        (("operations", 1), {"operation": "misdeal", "client": 1}),
        (("operations", 1), {"operation": "unseal", "client": 1, "key_of": 1}),
        (("operations", 1), {"operation": "transcript", "edits": []}),
        *(
            (
                ("operations", 1),
                {"operation": "message", "from": x, "to": y, "base": base, "edits": []},
            )
            for x, y, base in (
                (1, 2, [0]),
                (0, 0, [0]),
                (0, 5, [0]),
                (0, 1, [1]),
                (1, 0, [0]),
                (0, 1, [0, 0]),
                (0, 1, [0, 0, 0]),
            )
        ),
        *(
            (
                ("operations", 1),
                message(
                    0,
                    1,
                    None,
                    {"at": [], "do": "put", "with": [name]},
                    {"at": [1], "do": do, "with": with_},
                ),
            )
            for name, do, with_ in (
                ("Announcement", "sign", 9),
                ("Refusal", "sign", 0),
                ("Refusal", "masked_digest", None),
                ("Refusal", "session", 0),
                ("Refusal", "channel_private_key", [1, 2]),
            )
        ),
    ],
)
def test_a_session_that_cannot_be_is_refused(way: tuple[Any, ...], value: Any) -> None:
    with pytest.raises(VectorError):
        built(changed(SESSION, *way, to=value))


def test_an_honest_message_that_is_refused_ends_the_session() -> None:
    """Nobody was meant to break anything: an attempt is announced twice under one number."""
    repeated = [*SESSION["operations"][:2], *SESSION["operations"][:2]]
    with pytest.raises(VectorError, match="CHK-004"):
        built({**SESSION, "operations": repeated})


def test_a_difference_names_its_place() -> None:
    vector = built(RANDOMNESS)
    (found,) = checked(changed(vector, "operations", 0, "drawn", 0, to="00"))
    assert found.startswith("$.operations[0].drawn[0]")
