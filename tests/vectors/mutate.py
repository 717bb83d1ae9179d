"""Alters vectors one value at a time and sees that both checks notice.

    python -m tests.vectors.mutate [--count 500] [--seed 0]

A sampled value of a sampled vector is changed, in memory: any number, text, list or object but
the comment. `secagg.vectors.build.checked` and `verify.checked` must each find a difference.
"""

import argparse
import copy
import json
import random
import string
import sys
import time
from pathlib import Path
from typing import Any

from secagg.vectors.build import checked
from tests.vectors import verify

FOLDER = Path(__file__).parent
SCALARS = 0.85
"""Of the mutations, how many change a number, a text, true, false or null."""

Way = tuple[Any, ...]


def ways(value: Any, way: Way = ()) -> list[tuple[Way, bool]]:
    """The way to every value of a document but its comment; whether it is a scalar."""
    if isinstance(value, dict):
        inner = [(key, each) for key, each in value.items() if (way, key) != ((), "comment")]
    elif isinstance(value, list):
        inner = list(enumerate(value))
    else:
        return [(way, True)]
    found = [(way, False)] if way else []
    for key, each in inner:
        found += ways(each, (*way, key))
    return found


def mutated(value: Any, chance: random.Random) -> Any:
    """Another value, near ``value``."""
    match value:
        case bool():
            return not value
        case int():
            other: int = chance.choice([value + 1, value - 1, -value - 1, value + 2**32])
            return other
        case str():
            return altered_text(value, chance)
        case None:
            return chance.choice([0, "", [], False])
        case []:
            return chance.choice([[0], [""], None])
        case list():
            return altered_list(value, chance)
        case _:
            return altered_object(value, chance)


def altered_text(value: str, chance: random.Random) -> str:
    place = chance.randrange(len(value) + 1)
    alphabet = "0123456789abcdef" if chance.random() < 0.8 else string.printable
    character = chance.choice([c for c in alphabet if c != value[place : place + 1]])
    if place == len(value) or chance.random() < 0.1:
        return value[:place] + character + value[place:]
    if chance.random() < 0.1:
        return value[:place] + value[place + 1 :]
    return value[:place] + character + value[place + 1 :]


def altered_list(value: list[Any], chance: random.Random) -> list[Any]:
    place = chance.randrange(len(value))
    shorter = value[:place] + value[place + 1 :]
    longer = [*value[:place], value[place], *value[place:]]
    return chance.choice([shorter, longer])


def altered_object(value: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    if not value or chance.random() < 0.5:
        return {**value, "unknown": 0}
    left = chance.choice(list(value))
    return {key: each for key, each in value.items() if key != left}


def replaced(document: Any, way: Way, value: Any) -> Any:
    """A copy of ``document`` with another value at ``way``."""
    changed = copy.deepcopy(document)
    inner = changed
    for step in way[:-1]:
        inner = inner[step]
    inner[way[-1]] = value
    return changed


def main(arguments: list[str]) -> int:
    """0 if every mutation is noticed by both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    chance = random.Random(options.seed)
    documents = {file.stem: json.loads(file.read_bytes()) for file in sorted(FOLDER.glob("*.json"))}
    places = {name: ways(document) for name, document in documents.items()}
    missed, begun = 0, time.monotonic()
    for number in range(1, options.count + 1):
        name = chance.choice(sorted(documents))
        scalar = chance.random() < SCALARS
        way = chance.choice([each for each, is_scalar in places[name] if is_scalar == scalar])
        old = documents[name]
        for step in way:
            old = old[step]
        new = mutated(old, chance)
        changed = replaced(documents[name], way, new)
        for whose, noticed in (
            ("secagg", checked(changed)),
            ("verify.py", verify.checked(changed)),
        ):
            if not noticed:
                missed += 1
                print(f"{whose} misses {name} {way}: {old!r:.60} -> {new!r:.60}")
        if number % 100 == 0:
            print(f"{number} of {options.count}, {time.monotonic() - begun:.0f} s", flush=True)
    print(f"{options.count} mutations, {missed} missed (seed {options.seed})")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
