"""Published test vectors, as data: RFC and NIST files, and Wycheproof's where they are at hand."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cryptography_vectors
import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def published() -> Callable[[str], list[dict[str, str]]]:
    """``published(path)``: the ``NAME = value`` groups of a file of cryptography-vectors."""

    def load(path: str) -> list[dict[str, str]]:
        with cryptography_vectors.open_vector_file(path, "r") as file:
            lines = [line.partition("=") for line in file.read().splitlines()]
        groups: list[dict[str, str]] = []
        for name, sign, value in lines:
            if name.strip() == "COUNT":
                groups.append({})
            elif sign and groups:
                groups[-1][name.strip()] = value.strip()
        assert groups
        return groups

    return load


@pytest.fixture
def wycheproof() -> Callable[[str], list[dict[str, Any]]]:
    """``wycheproof(name)``: the tests of that file, each with its group's fields added.

    The folder is not part of this repository: $SECAGG_EXTERNAL_VECTORS/wycheproof, or
    shared/vectors/wycheproof beside the checkout.
    """
    beside = REPOSITORY.parent / "shared" / "vectors"
    folder = Path(os.environ.get("SECAGG_EXTERNAL_VECTORS", beside)) / "wycheproof"

    def load(name: str) -> list[dict[str, Any]]:
        file = folder / f"{name}.json"
        if not file.is_file():
            pytest.skip(
                f"Wycheproof's {name}.json is not here; set SECAGG_EXTERNAL_VECTORS to the folder "
                "that has it under wycheproof/"
            )
        content = json.loads(file.read_text("utf-8"))
        tests = list(_with_group_fields(content["testGroups"]))
        assert len(tests) == content["numberOfTests"] > 0
        return tests

    return load


def _with_group_fields(groups: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for group in groups:
        shared = {key: value for key, value in group.items() if key != "tests"}
        for test in group["tests"]:
            yield shared | test
