"""The privacy ledger: one balance, whatever the number of threads and processes that charge it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from sqlalchemy import URL, delete, update
from sqlalchemy.exc import IntegrityError

from party.database import open_database
from party.ledger import CHARGES, Cost, Ledger
from secagg.context import Attempt
from secagg.policy import NoiseSpec
from secagg.privacy.accounting import RHO_UNIT
from secagg.privacy.budget import BudgetExceeded, Charge
from tests.party.consortium import Consortium, assemble

DELTA = Fraction("0.001")
COST = Cost(Charge(rho=10**6, samples=24), Charge(rho=4 * 10**6, samples=24))
ALLOWED = 10


def epsilon_for(attempts: int) -> Fraction:
    """A budget that pays for exactly so many attempts."""
    spent = Charge(attempts * COST.sum.rho, attempts * COST.sum.samples)
    return Fraction(spent.epsilon(DELTA)) * Fraction(10**6 + 1, 10**6)


def attempt(number: int, attempt: int = 1) -> Attempt:
    return Attempt(bytes(32), number, attempt, bytes(32), number.to_bytes(32, "big"))


def charge(ledger: Ledger, number: int, which: int = 1) -> None:
    with ledger.engine.begin() as connection:
        ledger.charge(connection, attempt(number, which))


@pytest.fixture
def ledger(place: Path | URL) -> Iterator[Ledger]:
    engine = open_database(place)
    yield Ledger(engine, COST, epsilon_for(ALLOWED), DELTA)
    engine.dispose()


def test_charges_add_up_until_the_budget_is_spent(ledger: Ledger) -> None:
    for number in range(1, ALLOWED + 1):
        assert ledger.budget().affordable(COST.sum) == ALLOWED - number + 1
        charge(ledger, number)
    with pytest.raises(BudgetExceeded, match="Raise the budget"):
        charge(ledger, ALLOWED + 1)
    assert ledger.budget().spent == Charge(ALLOWED * COST.sum.rho, ALLOWED * COST.sum.samples)


def test_both_guarantees_are_kept_side_by_side(ledger: Ledger) -> None:
    charge(ledger, 1, 1)
    charge(ledger, 1, 2)
    charge(ledger, 3)
    one = ledger.spent_until(1)
    assert one.epsilon_sum == Charge(2 * COST.sum.rho, 2 * COST.sum.samples).epsilon(DELTA)
    assert one.epsilon_own == Charge(2 * COST.own.rho, 2 * COST.own.samples).epsilon(DELTA)
    assert ledger.spent_until(2) == one
    assert ledger.spent_until(3).epsilon_sum == ledger.budget().epsilon_spent()


def test_one_attempt_is_charged_once(ledger: Ledger) -> None:
    charge(ledger, 1)
    with pytest.raises(IntegrityError):
        charge(ledger, 1)


def test_charges_survive_and_cannot_be_changed(ledger: Ledger, place: Path | URL) -> None:
    charge(ledger, 1)
    ledger.engine.dispose()
    again = Ledger(open_database(place), COST, Fraction(1), DELTA)
    assert again.budget().spent == COST.sum
    for statement in (update(CHARGES).values(rho_sum=0), delete(CHARGES)):
        with (
            pytest.raises(IntegrityError, match="charges is append-only"),
            again.engine.begin() as connection,
        ):
            connection.execute(statement)
    assert again.budget().spent == COST.sum
    again.engine.dispose()


def test_a_refused_step_leaves_no_trace(ledger: Ledger) -> None:
    def overspend() -> None:
        with ledger.engine.begin() as connection:
            for number in range(ALLOWED + 1):
                ledger.charge(connection, attempt(number))

    with pytest.raises(BudgetExceeded):
        overspend()
    assert ledger.budget().spent == Charge()


def test_threads_together_never_overspend(ledger: Ledger) -> None:
    granted: list[int] = []

    def spend(worker: int) -> None:
        for number in range(10):
            try:
                charge(ledger, 100 * worker + number)
            except BudgetExceeded:
                continue
            granted.append(number)

    threads = [threading.Thread(target=spend, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == ALLOWED
    assert ledger.budget().spent.rho == ALLOWED * COST.sum.rho


SPENDER = """
import sys
from fractions import Fraction
from pathlib import Path
from sqlalchemy import make_url
from party.database import open_database
from party.ledger import Cost, Ledger
from secagg.context import Attempt
from secagg.privacy.budget import BudgetExceeded, Charge

kind, place, worker, epsilon = sys.argv[1:]
cost = Cost(Charge(10**6, 24), Charge(4 * 10**6, 24))
engine = open_database(Path(place) if kind == "file" else make_url(place))
ledger = Ledger(engine, cost, Fraction(epsilon), Fraction("0.001"))
granted = 0
print("ready", flush=True)
sys.stdin.readline()
for number in range(25):
    try:
        with ledger.engine.begin() as connection:
            ledger.charge(
                connection, Attempt(bytes(32), 100 * int(worker) + number, 1, bytes(32), bytes(32))
            )
    except BudgetExceeded:
        continue
    granted += 1
print(granted)
"""


def test_processes_together_never_overspend(ledger: Ledger, place: Path | URL) -> None:
    """100 concurrent charges from 4 processes against a budget that allows 10: 10 are granted."""
    named = ("file", str(place)) if isinstance(place, Path) else ("url", str(place))
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", SPENDER, *named, str(worker), str(epsilon_for(ALLOWED))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for worker in range(4)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:  # all have the database open before any begins
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    granted = [int(worker.communicate()[0]) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0, 0]
    assert sum(granted) == ALLOWED
    assert ledger.budget().affordable(COST.sum) == 0
    assert ledger.budget().spent.rho == ALLOWED * COST.sum.rho


def test_the_cost_is_that_of_the_policys_mechanism(consortium: Consortium) -> None:
    policy = consortium.policy
    cost = Cost.of(policy)
    assert cost is not None
    guarantee = policy.mechanism.guarantee(policy.vector.dimension)
    assert guarantee.rho_sum is not None
    assert guarantee.rho_own is not None
    assert guarantee.rho_sum <= cost.sum.rho * RHO_UNIT <= guarantee.rho_sum + RHO_UNIT
    assert guarantee.rho_own <= cost.own.rho * RHO_UNIT <= guarantee.rho_own + RHO_UNIT
    assert cost.own.rho > cost.sum.rho
    assert cost.sum.samples == cost.own.samples == guarantee.samples


def test_a_policy_without_noise_has_no_cost(tmp_path: Path) -> None:
    plain = assemble(tmp_path, noise=NoiseSpec())
    assert Cost.of(plain.policy) is None
    plain.close()
