"""The privacy ledger: every attempt's cost, charged before its first masked byte leaves.

Append-only, in integers, in the journal's database: a charge and its ``Charged`` entry are one
transaction. What an attempt was charged stays charged, whatever becomes of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, final

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    LargeBinary,
    Table,
    func,
    insert,
    select,
)

from party.append_only import append_only
from party.database import METADATA, WholeNumber, reading
from secagg.context import Attempt
from secagg.policy import Policy
from secagg.privacy.accounting import rho_units
from secagg.privacy.budget import Budget, Charge

CHARGES: Final = append_only(
    Table(
        "charges",
        METADATA,
        Column("id", WholeNumber, primary_key=True),
        Column("session", LargeBinary, nullable=False, unique=True),
        Column("round", WholeNumber, nullable=False),
        Column("attempt", WholeNumber, nullable=False),
        Column("rho_sum", WholeNumber, nullable=False),
        Column("rho_own", WholeNumber, nullable=False),
        Column("samples", WholeNumber, nullable=False),
        Column("charged_at", WholeNumber, nullable=False),
    )
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one attempt costs under a policy, by guarantee; upper bounds.

    ``sum``: toward the server with c hospitals, which see the released sum; the budget limits it.
    ``own``: toward everybody else together, who see this hospital's own noised vector.
    """

    sum: Charge
    own: Charge

    @classmethod
    def of(cls, policy: Policy) -> Cost | None:
        """The cost under ``policy``; None if it adds no noise, and so promises no privacy."""
        guarantee = policy.mechanism.guarantee(policy.vector.dimension)
        if guarantee.rho_sum is None or guarantee.rho_own is None:
            return None
        return cls(
            Charge(rho_units(guarantee.rho_sum), guarantee.samples),
            Charge(rho_units(guarantee.rho_own), guarantee.samples),
        )


@dataclass(frozen=True, slots=True)
class Debit:
    """One attempt that was charged. ``charged_at``: seconds of Unix time."""

    session: bytes
    round: int
    attempt: int
    cost: Cost
    charged_at: int


@dataclass(frozen=True, slots=True)
class Spent:
    """What is spent up to some round, as epsilon at the budget's delta, rounded up."""

    epsilon_sum: float
    epsilon_own: float


@final
class Ledger:
    """The charges of one hospital against its budget (``epsilon``, ``delta``) for the sum."""

    def __init__(
        self,
        engine: Engine,
        cost: Cost,
        epsilon: Fraction,
        delta: Fraction,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.engine = engine
        self.cost = cost
        self.epsilon = epsilon
        self.delta = delta
        self._clock = clock

    def charge(self, connection: Connection, attempt: Attempt) -> None:
        """Charge ``attempt`` inside the caller's transaction, which holds the write lock.

        Raises BudgetExceeded if it does not fit; the caller's transaction must then roll back.
        """
        self._budget(connection).charged(self.cost.sum)
        connection.execute(
            insert(CHARGES).values(
                session=attempt.session,
                round=attempt.round,
                attempt=attempt.attempt,
                rho_sum=self.cost.sum.rho,
                rho_own=self.cost.own.rho,
                samples=self.cost.sum.samples,
                charged_at=int(self._clock()),
            )
        )

    def budget(self) -> Budget:
        """The budget, with everything spent so far."""
        with reading(self.engine).connect() as connection:
            return self._budget(connection)

    def charges(self) -> tuple[Debit, ...]:
        """Everything that was ever charged, in the order in which it was."""
        with reading(self.engine).connect() as connection:
            rows = connection.execute(select(CHARGES).order_by(CHARGES.c.id)).all()
        return tuple(
            Debit(
                session=row.session,
                round=row.round,
                attempt=row.attempt,
                cost=Cost(Charge(row.rho_sum, row.samples), Charge(row.rho_own, row.samples)),
                charged_at=row.charged_at,
            )
            for row in rows
        )

    def spent_until(self, number: int) -> Spent:
        """What all attempts of training rounds up to ``number`` have cost together."""
        with reading(self.engine).connect() as connection:
            rho_sum, rho_own, samples = _totals(connection, number)
        return Spent(
            Charge(rho_sum, samples).epsilon(self.delta),
            Charge(rho_own, samples).epsilon(self.delta),
        )

    def _budget(self, connection: Connection) -> Budget:
        rho_sum, _, samples = _totals(connection)
        return Budget(self.epsilon, self.delta, Charge(rho_sum, samples))


def _totals(connection: Connection, until: int | None = None) -> tuple[int, int, int]:
    totals = select(
        *(
            func.coalesce(func.sum(column), 0)
            for column in (CHARGES.c.rho_sum, CHARGES.c.rho_own, CHARGES.c.samples)
        )
    )
    if until is not None:
        totals = totals.where(CHARGES.c.round <= until)
    rho_sum, rho_own, samples = connection.execute(totals).one()
    return int(rho_sum), int(rho_own), int(samples)
