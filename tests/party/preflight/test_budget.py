from __future__ import annotations

import msgspec
from sqlalchemy import insert

from party.database import open_database
from party.ledger import CHARGES, Cost
from party.preflight import budget
from party.state_dir import held
from secagg.cli import ExitCode
from secagg.policy import NoiseSpec
from tests.party.preflight.conftest import Hospital


def charge(hospital: Hospital, attempts: int) -> None:
    """Let the node have spent ``attempts``."""
    cost = Cost.of(hospital.policy)
    assert cost is not None
    with held(hospital.home / "state") as path:
        engine = open_database(path)
        with engine.begin() as connection:
            for k in range(attempts):
                row = {
                    "session": bytes([k]) * 32,
                    "round": k + 1,
                    "attempt": 1,
                    "rho_sum": cost.sum.rho,
                    "rho_own": cost.own.rho,
                    "samples": cost.sum.samples,
                    "charged_at": k,
                }
                connection.execute(insert(CHARGES).values(row))
        engine.dispose()


def test_a_new_budget_pays_for_all_its_rounds(hospital: Hospital) -> None:
    said = "pays for 12 more attempts; epsilon 0 of 1 is spent"
    assert budget.affordable(hospital.site()) == said


def test_what_is_spent_is_counted(hospital: Hospital) -> None:
    charge(hospital, 5)
    said = budget.affordable(hospital.site())
    assert said.startswith("pays for 7 more attempts; epsilon 0.6")


def test_an_exhausted_budget_is_found(hospital: Hospital) -> None:
    charge(hospital, 12)
    hospital.fails(budget.affordable, "Not one more attempt fits", ExitCode.BUDGET_REFUSED)


def test_without_noise_there_is_none(hospital: Hospital) -> None:
    plain = msgspec.structs.replace(hospital.policy, noise=NoiseSpec())
    (hospital.home / "policy.json").write_bytes(plain.canonical())
    hospital.fails(budget.affordable, "adds no noise", ExitCode.USAGE)
    text = hospital.configuration.read_text()
    start, end = text.index("[budget]"), text.index("[api]")
    hospital.configuration.write_text(text[:start] + text[end:])
    assert "none is kept" in budget.affordable(hospital.site())
    (hospital.home / "policy.json").write_bytes(hospital.policy.canonical())
    hospital.fails(budget.affordable, "sets no privacy budget", ExitCode.USAGE)
