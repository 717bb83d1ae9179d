"""The vectors of this repository hold, by both implementations, and leave nothing out."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest

from secagg.checks import Check
from secagg.crypto.hashing import Label
from secagg.vectors.build import built, checked
from secagg.vectors.catalogue import catalogue
from secagg.vectors.document import Expect, read, written
from secagg.wire.messages import FromClient, FromServer
from tests import validation
from tests.vectors import mutate, verify

FOLDER = Path(__file__).parent
VERIFIER = FOLDER / "verify.py"
FILES = sorted(FOLDER.glob("*.json"))
CATALOGUE = catalogue()


@cache
def vector(name: str) -> Any:
    return read((FOLDER / f"{name}.json").read_bytes())


def operations() -> list[Any]:
    return [each for file in FILES for each in vector(file.stem)["operations"]]


def test_the_folder_is_the_catalogue() -> None:
    assert {file.stem for file in FILES} == CATALOGUE.keys()


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_a_vector_is_made_again_byte_by_byte_and_holds(name: str) -> None:
    assert written(built(CATALOGUE[name])) == (FOLDER / f"{name}.json").read_bytes()
    assert checked(vector(name)) == []


def test_every_vector_holds_by_the_second_implementation_alone() -> None:
    """Isolated: no site packages, no environment, no current folder in the path."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(VERIFIER)],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        f"{len(FILES)} of {len(FILES)} vectors hold\n",
        "",
    )


def test_the_second_implementation_imports_the_standard_library_alone() -> None:
    tree = ast.parse(VERIFIER.read_text(encoding="utf-8"))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names
    assert not imported & {"ssl", "secrets", "random", "ctypes", "subprocess"}


def test_it_says_where_a_vector_does_not_hold(tmp_path: Path) -> None:
    altered = {**vector("primitive-merkle"), "suite": "secagg-suite-2"}
    file = tmp_path / "altered.json"
    file.write_bytes(written(altered))
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(VERIFIER), str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "$.suite" in done.stdout
    assert "0 of 1 vectors hold" in done.stdout


# --- nothing is left out -------------------------------------------------------------------------


@pytest.mark.parametrize("check", Check, ids=lambda check: check.id)
def test_a_check_has_a_vector_that_breaks_it(check: Check) -> None:
    name = f"refused-{check.id.lower()}"
    assert check.id in vector(name)["checks"]
    assert vector(name)["comment"] == f"Broken: {check.statement}."


def test_every_check_is_made_tested_and_has_a_vector() -> None:
    assert validation.incomplete() == []


def test_the_table_of_checks_is_up_to_date() -> None:
    current = validation.PAGE.read_text(encoding="utf-8")
    assert current == validation.page(), "run `python -m tests.validation`"


def test_every_end_of_an_operation_occurs_and_no_other() -> None:
    assert {each["expect"] for each in operations()} == set(Expect)


def test_every_label_is_hashed_and_derived_under() -> None:
    for name in ("primitive-hashing", "primitive-hkdf"):
        assert {each["label"] for each in vector(name)["operations"]} == set(Label)


@pytest.mark.parametrize(("to", "union"), [("server", FromClient), ("party", FromServer)])
def test_every_message_is_there_well_formed_and_refused(to: str, union: Any) -> None:
    names = {kind.__name__ for kind in get_args(union)}
    for name, expect in (
        (f"encoding-to-{to}", "success"),
        (f"refused-bytes-to-{to}", "decode_error"),
    ):
        listed = vector(name)["operations"]
        assert {each["base"][0] for each in listed} == names
        assert {each["expect"] for each in listed} == {expect}


def test_every_stage_has_dropouts_and_every_mode_its_noise() -> None:
    sessions = [vector(file.stem) for file in FILES if vector(file.stem)["kind"] == "session"]
    lost = {
        each["stage"]
        for one in sessions
        for each in one["operations"]
        if each.get("absent") and "stage" in each
    }
    assert lost == {
        "Advertising", "Sharing", "Masking", "Checking", "Unmasking", "Certifying", "Concluded",
    }  # fmt: skip
    modes = {one["config"]["noise"]["mode"] for one in sessions}
    assert modes == {"none", "at_least", "exact", "local"}
    assert {16, 32, 64} <= {one["inputs"]["bits"] for one in sessions}
    assert {3, 4, 10} <= {len(one["config"]["hospitals"]) for one in sessions}
    assert any(one["result"]["model"] and one["result"]["certificate"] for one in sessions)
    assert any(one["result"]["abandonment"] for one in sessions)


# --- an altered vector is noticed ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["primitive-shamir", "refused-chk-103"])
@pytest.mark.parametrize("way", [(), ("operations", 1), ("config",), ("inputs",)])
def test_an_unknown_key_is_noticed(name: str, way: mutate.Way) -> None:
    document: Any = vector(name)
    inner = document
    for step in way:
        inner = inner[step]
    altered = (
        {**document, "unknown": 0}
        if not way
        else mutate.replaced(document, way, {**inner, "unknown": 0})
    )
    assert checked(altered)
    assert verify.checked(altered)


def test_sampled_mutations_are_noticed_by_both(capsys: pytest.CaptureFixture[str]) -> None:
    """500 of them are the command's default; here a few."""
    assert mutate.main(["--count", "12", "--seed", "7"]) == 0, capsys.readouterr().out


def test_a_missed_mutation_would_be_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "checked", lambda _document: [])
    assert mutate.main(["--count", "1"]) == 1
    assert "verify.py misses" in capsys.readouterr().out


def test_the_comment_alone_is_free() -> None:
    document = vector("primitive-shamir")
    assert checked({**document, "comment": "Another one."}) == []
    assert verify.checked({**document, "comment": "Another one."}) == []
    assert checked({**document, "comment": ""})
    assert verify.checked({**document, "comment": ""})
