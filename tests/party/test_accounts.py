"""The privacy account: what each charge has cost, what is left, and when the node warns."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from party.accounts import WITHOUT_NOISE, LowBudgetAlarm, budget_report, warning
from party.database import open_database
from party.ledger import Cost, Ledger
from secagg.context import Attempt
from secagg.policy import NoiseSpec
from secagg.privacy.budget import Budget, Charge
from secagg.rounds.journal import Charged, Entered
from secagg.rounds.r3_consistency_check import Checking
from tests.party.consortium import Consortium, assemble

DELTA = Fraction("0.001")
COST = Cost(Charge(rho=10**6, samples=24), Charge(rho=4 * 10**6, samples=24))
ALLOWED = 10
NOON = 1_800_000_000


def spent(attempts: int) -> float:
    return Charge(attempts * COST.sum.rho, attempts * COST.sum.samples).epsilon(DELTA)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_database(tmp_path / "party.sqlite3")
    yield made
    made.dispose()


@pytest.fixture
def ledger(engine: Engine) -> Ledger:
    """A budget that pays for exactly ten attempts."""
    epsilon = Fraction(spent(ALLOWED)) * Fraction(10**6 + 1, 10**6)
    return Ledger(engine, COST, epsilon, DELTA, clock=lambda: NOON + 0.7)


def attempt(number: int, which: int = 1) -> Attempt:
    return Attempt(bytes(32), number, which, bytes(32), number.to_bytes(32, "big"))


def charge(ledger: Ledger, number: int, which: int = 1) -> None:
    with ledger.engine.begin() as connection:
        ledger.charge(connection, attempt(number, which))


def test_each_charge_is_a_line_and_the_lines_add_up(ledger: Ledger) -> None:
    for number in (1, 2, 5):
        charge(ledger, number)
    charge(ledger, 5, which=2)
    report = budget_report(ledger, (), u=1)
    assert report.total_rounds == 3
    assert [line.round for line in report.history] == [1, 2, 5, 5]
    totals = [line.epsilon_total_used for line in report.history]
    assert totals == [spent(1), spent(2), spent(3), spent(4)]
    costs = [line.epsilon_spent for line in report.history]
    assert sum(costs) == pytest.approx(report.epsilon_used)
    assert costs == sorted(costs, reverse=True), "the same noise costs less, the more is spent"
    assert report.epsilon_used == totals[-1] == ledger.budget().epsilon_spent()
    assert report.epsilon_total == float(ledger.epsilon)
    for line in report.history:
        assert line.epsilon_remaining == report.epsilon_total - line.epsilon_total_used
        assert line.timestamp == datetime.fromtimestamp(NOON, UTC)
        assert line.model_hash is None
    assert report.epsilon_remaining == report.history[-1].epsilon_remaining
    assert report.percentage_used == pytest.approx(100 * spent(4) / report.epsilon_total)
    assert report.affordable_attempts == ALLOWED - 4


def test_nothing_charged_is_nothing_spent(ledger: Ledger) -> None:
    report = budget_report(ledger, (), u=1)
    assert (report.total_rounds, report.epsilon_used, report.percentage_used) == (0, 0, 0)
    assert report.epsilon_remaining == report.epsilon_total
    assert (report.history, report.warning) == ([], None)


def test_the_times_of_charges_are_kept(ledger: Ledger) -> None:
    charge(ledger, 7, which=2)
    (debit,) = ledger.charges()
    assert (debit.round, debit.attempt, debit.charged_at) == (7, 2, NOON)
    assert debit.session == attempt(7, 2).session
    assert debit.cost == COST


def test_the_warning_begins_below_a_fifth(ledger: Ledger) -> None:
    told: list[str | None] = []
    for number in range(1, ALLOWED + 1):
        charge(ledger, number)
        told.append(budget_report(ledger, (), u=1).warning)
    low = [number for number in range(1, ALLOWED) if spent(number) > 0.8 * float(ledger.epsilon)]
    assert low[0] > 1
    for number, text in enumerate(told[:-1], start=1):
        assert (text is not None) == (number in low)
        assert text is None or "Less than 20% of the privacy budget is left" in text
    assert told[-2] is not None
    assert "leaves 1 attempt." in told[-2]
    assert told[-1] is not None
    assert "exhausted" in told[-1]
    assert "[budget] in party.toml" in told[-1]


def test_what_is_exactly_a_fifth_is_not_less() -> None:
    used = Fraction(spent(4))
    exactly = Budget(used / Fraction(4, 5), DELTA, Charge(4 * COST.sum.rho, 4 * COST.sum.samples))
    assert exactly.allows(COST.sum)
    assert warning(exactly, COST) is None
    less = Budget(exactly.epsilon - Fraction(1, 10**9), DELTA, exactly.spent)
    assert warning(less, COST) is not None


def test_a_lowered_budget_is_overspent_and_not_negative(engine: Engine, ledger: Ledger) -> None:
    for number in range(1, 6):
        charge(ledger, number)
    report = budget_report(Ledger(engine, COST, Fraction(spent(2)), DELTA), (), u=1)
    assert report.epsilon_remaining == report.history[-1].epsilon_remaining == 0
    assert report.percentage_used is not None
    assert report.percentage_used > 100
    assert report.affordable_attempts == 0


def test_the_log_says_so_once_after_each_charge(ledger: Ledger) -> None:
    alarm = LowBudgetAlarm(ledger)
    with ledger.engine.begin() as connection:
        alarm.follow(connection, Charged(attempt(1), bytes(32)), None)
    charge(ledger, 1)
    with capture_logs() as logs:
        alarm.committed()
    assert logs == [], "much is left"
    for number in range(2, ALLOWED):
        charge(ledger, number)
    with capture_logs() as logs:
        with ledger.engine.begin() as connection:
            alarm.follow(connection, Entered(attempt(ALLOWED)), None)
        alarm.committed()
        assert logs == [], "nothing was charged in this step"
        with ledger.engine.begin() as connection:
            alarm.follow(connection, Charged(attempt(ALLOWED), bytes(32)), None)
        alarm.committed()
        alarm.committed()
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("privacy budget low", "warning")
    assert line["epsilon_used"] == ledger.budget().epsilon_spent()


def test_a_charge_names_the_model_that_it_went_into(consortium: Consortium) -> None:
    consortium.round(1)
    consortium.announce(2)
    consortium.until(Checking)  # charged by all, and never finished
    consortium.round(2, attempt=2)
    party = consortium.parties[1]
    report = budget_report(party.ledger, party.journal.certificates, u=1)
    first, second = party.journal.certificates
    assert [(line.round, line.model_hash) for line in report.history] == [
        (1, first.model_hash.hex()),
        (2, None),
        (2, second.model_hash.hex()),
    ]


def test_a_model_without_this_hospital_is_not_what_it_paid_for(consortium: Consortium) -> None:
    consortium.round(1)
    party = consortium.parties[1]
    (certificate,) = party.journal.certificates
    assert 4 in certificate.u3
    without = type(certificate)(
        **{name: getattr(certificate, name) for name in certificate.__struct_fields__}
        | {"u3": (2, 3, 4)}
    )
    (line,) = budget_report(party.ledger, (without,), u=1).history
    assert line.model_hash is None


def test_without_noise_no_number_is_claimed(tmp_path: Path) -> None:
    plain = assemble(tmp_path, noise=NoiseSpec())
    plain.round(1)
    report = budget_report(None, plain.parties[1].journal.certificates, u=1)
    assert report.total_rounds == 1
    assert report.warning == WITHOUT_NOISE
    assert report.history == []
    assert report.epsilon_total is report.epsilon_used is report.epsilon_remaining is None
    assert report.percentage_used is report.delta is report.affordable_attempts is None
    plain.close()
