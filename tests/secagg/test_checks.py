"""The table of checks: ids are unique; each check is made somewhere, and broken by a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import secagg
from secagg.checks import Check

CORE = Path(secagg.__file__).parent
REPOSITORY = CORE.parent
TESTS = REPOSITORY / "tests"


def mentions(folders: tuple[Path, ...], leave_out: Path) -> set[str]:
    """Names of the checks that code under ``folders`` refers to."""
    files = (file for folder in folders for file in folder.rglob("*.py") if file != leave_out)
    return {
        name for file in files for name in re.findall(r"\bCheck\.([A-Z0-9_]+)", file.read_text())
    }


def test_ids_are_unique_and_well_formed() -> None:
    ids = [check.id for check in Check]
    assert len(set(ids)) == len(ids) == len(Check)
    assert all(re.fullmatch(r"CHK-[0-6]\d\d", check_id) for check_id in ids)


def test_no_two_checks_state_the_same() -> None:
    statements = [check.statement for check in Check]
    assert len(set(statements)) == len(statements)
    assert all(statements)


@pytest.mark.parametrize("check", Check, ids=lambda check: check.id)
def test_a_check_is_made_and_broken(check: Check) -> None:
    """In the product, and by name in a test other than this one."""
    product = mentions((CORE, REPOSITORY / "party", REPOSITORY / "server"), CORE / "checks.py")
    assert check.name in product
    assert check.name in mentions((TESTS,), Path(__file__))
