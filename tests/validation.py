"""Writes docs/validation.md: where each check is made, which test and which vector break it.

    python -m tests.validation

A check stands in code and tests as `Check.NAME`; a vector lists the ids that its operations break.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from secagg.checks import Check

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "validation.md"
PRODUCT = ("secagg", "party", "server")
#: Files that name checks without making or breaking one.
LEFT_OUT = (
    "secagg/checks.py",
    "secagg/vectors/",
    "tests/secagg/test_checks.py",
    "tests/validation.py",
)
MOST_TESTS = 3

HEAD = """\
# Validation: every check, its code, its tests, its vectors

Written by `python -m tests.validation`; a test fails while it is not up to date, and while a check
is without code, test or vector. The checks are those of [protocol.md](protocol.md#9-checks); what a
vector is stands in [test-vectors.md](test-vectors.md). At most three tests are listed, those of the
core first.

| id | what must hold | where it is made | tests that break it | vectors that break it |
|---|---|---|---|---|
"""


def page() -> str:
    """The document."""
    made = {check: _places(check, PRODUCT) for check in Check}
    broken = {check: _tests(check) for check in Check}
    return HEAD + "".join(
        f"| {check.id} | {check.statement} | {_listed(made[check])} | {_listed(broken[check])} "
        f"| {_listed(vectors(check))} |\n"
        for check in sorted(Check, key=lambda check: check.id)
    )


def incomplete() -> list[str]:
    """The checks that lack code, a test or a vector: id and what is missing."""
    return [
        f"{check.id} has no {what}"
        for check in Check
        for what, found in (
            ("code", _places(check, PRODUCT)),
            ("test", _tests(check)),
            ("vector", vectors(check)),
        )
        if not found
    ]


def vectors(check: Check) -> list[str]:
    """The vectors in which this check is broken."""
    files = sorted((ROOT / "tests" / "vectors").glob("*.json"))
    return [file.name for file in files if check.id in json.loads(file.read_bytes())["checks"]]


def _tests(check: Check) -> list[str]:
    found = [place.split(" ")[0] for place in _places(check, ("tests",))]
    return sorted(set(found), key=lambda file: (not file.startswith("tests/secagg/"), file))[
        :MOST_TESTS
    ]


def _places(check: Check, folders: tuple[str, ...]) -> list[str]:
    return [
        f"{file} {function}"
        for folder in folders
        for file, named in sorted(_named(folder).items())
        for function in named.get(check.name, [])
    ]


_CACHE: dict[str, dict[str, dict[str, list[str]]]] = {}


def _named(folder: str) -> dict[str, dict[str, list[str]]]:
    """File -> name of a check -> the functions that refer to it, in order."""
    if folder not in _CACHE:
        _CACHE[folder] = {}
        for path in sorted((ROOT / folder).rglob("*.py")):
            file = path.relative_to(ROOT).as_posix()
            source = path.read_text(encoding="utf-8")
            if "Check." in source and not file.startswith(LEFT_OUT):
                found: dict[str, list[str]] = {}
                for name, function in _references(ast.parse(source), ""):
                    if function not in found.setdefault(name, []):
                        found[name].append(function)
                _CACHE[folder][file] = found
    return _CACHE[folder]


def _references(node: ast.AST, function: str) -> Iterator[tuple[str, str]]:
    for child in ast.iter_child_nodes(node):
        inside = function
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inside = f"{function}.{child.name}".lstrip(".")
        if (
            isinstance(child, ast.Attribute)
            and isinstance(child.value, ast.Name)
            and child.value.id == "Check"
        ):
            yield child.attr, function
        yield from _references(child, inside)


def _listed(places: list[str]) -> str:
    def shown(place: str) -> str:
        file, _, function = place.partition(" ")
        return f"`{file}` {function}".strip()

    return "<br>".join(map(shown, places))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.exit("\n".join(incomplete()) or 0)
