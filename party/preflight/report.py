"""What the checks have found, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from secagg.cli import ExitCode

SCHEMA: Final = "secagg-preflight/1"


class Outcome(StrEnum):
    """How a check ended."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    NOT_MADE = "NOT MADE"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. ``said``: what was seen, or what is wrong. ``remedy``: how to mend it."""

    check: str
    outcome: Outcome
    said: str
    remedy: str = ""
    exit_code: ExitCode = ExitCode.OK


@dataclass(frozen=True, slots=True)
class Report:
    """All findings, in the order of the checks."""

    findings: Sequence[Finding]

    @property
    def failed(self) -> list[Finding]:
        """The checks that found something to mend."""
        return [each for each in self.findings if each.outcome is Outcome.FAILED]

    @property
    def exit_code(self) -> ExitCode:
        """Of the first failure: the later ones may follow from it."""
        return self.failed[0].exit_code if self.failed else ExitCode.OK

    def text(self) -> str:
        """One line for each check, its remedy below, and a line for all."""
        width = max(len(each.check) for each in self.findings)
        lines: list[str] = []
        for each in self.findings:
            lines.append(f"{each.outcome:<8}  {each.check:<{width}}  {each.said}")
            if each.remedy:
                lines.append(f"{'':<8}  {'':<{width}}  -> {each.remedy}")
        if self.failed:
            left_out = sum(each.outcome is Outcome.NOT_MADE for each in self.findings)
            tail = f"; {left_out} could not be made" if left_out else ""
            lines.append(f"FAILED: {len(self.failed)} of {len(self.findings)} checks{tail}")
        else:
            lines.append("PASSED")
        return "\n".join(lines)

    def json(self) -> str:
        """The same as one object, of schema ``SCHEMA``."""
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "passed": not self.failed,
            "checks": [
                {
                    "check": each.check,
                    "outcome": each.outcome.value,
                    "said": each.said,
                    "remedy": each.remedy or None,
                }
                for each in self.findings
            ],
        }
        return msgspec.json.encode(document).decode()
