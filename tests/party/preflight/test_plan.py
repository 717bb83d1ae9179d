"""Which checks are made, and what their report says."""

from __future__ import annotations

import json

from party.preflight.plan import CHECKS, Check, carry_out
from party.preflight.report import Outcome, Report
from party.preflight.site import Site
from secagg.cli import CommandError, ExitCode
from tests.party.preflight.conftest import Hospital


def passes(_: Site) -> str:
    return "as it should be"


def fails(_: Site) -> str:
    raise CommandError("It is wrong.", "Mend it.", ExitCode.BUDGET_REFUSED)


def stumbles(_: Site) -> str:
    raise PermissionError(13, "Permission denied", "some.key")


def report(hospital: Hospital, *checks: Check) -> Report:
    return carry_out(hospital.site(), checks)


def test_what_a_check_needs_stands_before_it() -> None:
    seen: set[str] = set()
    for check in CHECKS:
        assert set(check.needs) <= seen
        assert check.name not in seen
        seen.add(check.name)


def test_all_passed(hospital: Hospital) -> None:
    found = report(hospital, Check("one", passes), Check("another", passes, ("one",)))
    assert found.exit_code is ExitCode.OK
    assert found.text().splitlines() == [
        "PASSED    one      as it should be",
        "PASSED    another  as it should be",
        "PASSED",
    ]
    assert json.loads(found.json())["passed"] is True


def test_a_failure_says_how_to_mend_it_and_leaves_out_what_rests_on_it(hospital: Hospital) -> None:
    found = report(
        hospital,
        Check("one", fails),
        Check("two", passes, ("one",)),
        Check("three", passes, ("two",)),
        Check("four", passes),
    )
    assert found.exit_code is ExitCode.BUDGET_REFUSED
    assert found.text().splitlines() == [
        "FAILED    one    It is wrong.",
        "                 -> Mend it.",
        "NOT MADE  two    needs: one",
        "NOT MADE  three  needs: two",
        "PASSED    four   as it should be",
        "FAILED: 1 of 4 checks; 2 could not be made",
    ]
    document = json.loads(found.json())
    assert (document["schema"], document["passed"]) == ("secagg-preflight/1", False)
    assert document["checks"][:2] == [
        {"check": "one", "outcome": "FAILED", "said": "It is wrong.", "remedy": "Mend it."},
        {"check": "two", "outcome": "NOT MADE", "said": "needs: one", "remedy": None},
    ]


def test_a_file_that_cannot_be_opened_is_a_failure_and_no_bug(hospital: Hospital) -> None:
    (finding,) = report(hospital, Check("one", stumbles)).findings
    assert finding.outcome is Outcome.FAILED
    assert finding.said == "some.key cannot be used: Permission denied."
    assert finding.exit_code is ExitCode.USAGE
