"""The checks, in the order in which a mistake is best mended: from this machine outward."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from party.preflight import (
    budget,
    certificate,
    clock,
    interface,
    key_files,
    network,
    pinned,
    schedule,
    server,
    storage,
)
from party.preflight.report import Finding, Outcome, Report
from party.preflight.site import Site
from secagg.cli import CommandError, ExitCode


@dataclass(frozen=True, slots=True)
class Check:
    """``examine`` returns what it has seen, or raises CommandError. ``needs``: by name."""

    name: str
    examine: Callable[[Site], str]
    needs: tuple[str, ...] = ()


CHECKS: Final[Sequence[Check]] = (
    Check("key files", key_files.modes),
    Check("EHR key", key_files.ehr),
    Check("policy", pinned.policy),
    Check("identity", pinned.identity, ("key files", "policy")),
    Check("site floor", pinned.floor, ("policy",)),
    Check("records", pinned.records, ("policy",)),
    Check("schedule", schedule.source),
    Check("certificate", certificate.fit, ("key files",)),
    Check("state directory", storage.state),
    Check("disk space", storage.space, ("policy",)),
    Check("database", storage.database, ("state directory",)),
    Check("clock", clock.plausible, ("database",)),
    Check("privacy budget", budget.affordable, ("policy", "database")),
    Check("HTTP interface", interface.free, ("key files", "state directory")),
    Check("proxy", network.proxy),
    Check("name resolution", network.names, ("proxy",)),
    Check("server", server.greets, ("policy", "certificate", "name resolution")),
)


def carry_out(site: Site, checks: Iterable[Check] = CHECKS) -> Report:
    """Make every check whose needs have been met."""
    findings: list[Finding] = []
    unmet: set[str] = set()
    for check in checks:
        missing = [name for name in check.needs if name in unmet]
        finding = _left_out(check, missing) if missing else _made(check, site)
        findings.append(finding)
        if finding.outcome is not Outcome.PASSED:
            unmet.add(check.name)
    return Report(findings)


def _made(check: Check, site: Site) -> Finding:
    try:
        return Finding(check.name, Outcome.PASSED, check.examine(site))
    except CommandError as error:
        problem = error.problem
        return Finding(check.name, Outcome.FAILED, problem, error.remedy, error.exit_code)
    except OSError as error:
        return Finding(
            check.name,
            Outcome.FAILED,
            f"{error.filename or 'A file'} cannot be used: {error.strerror or error}.",
            "Run this as the user that runs the node, and give that user access.",
            ExitCode.USAGE,
        )


def _left_out(check: Check, missing: Sequence[str]) -> Finding:
    return Finding(check.name, Outcome.NOT_MADE, f"needs: {', '.join(missing)}")
