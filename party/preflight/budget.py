"""The privacy budget: whether another attempt fits."""

from __future__ import annotations

from sqlalchemy import inspect

from party.ledger import CHARGES, Ledger
from party.opening import check_budget
from party.preflight.site import Site
from party.preflight.storage import existing_database
from secagg.cli import CommandError, ExitCode
from secagg.privacy.budget import Budget


def affordable(site: Site) -> str:
    """How many attempts the budget still pays for."""
    check_budget(site.cost, site.config.budget)
    if site.cost is None or site.config.budget is None:
        return "none is kept: the policy adds no noise"
    epsilon, delta = site.config.budget.exact
    budget = _now(site, Budget(epsilon, delta))
    attempts = budget.affordable(site.cost.sum)
    spent = f"epsilon {budget.epsilon_spent():.4g} of {float(epsilon):g} is spent"
    if attempts < 1:
        raise CommandError(
            f"Not one more attempt fits the privacy budget: {spent}.",
            "Raise epsilon in [budget] of party.toml if the hospital decides so; or let this node "
            "only check and sign what the others train.",
            ExitCode.BUDGET_REFUSED,
        )
    return f"pays for {attempts} more attempts; {spent}"


def _now(site: Site, fresh: Budget) -> Budget:
    engine = existing_database(site.config)
    if engine is None or site.cost is None:
        return fresh
    try:
        if not inspect(engine).has_table(CHARGES.name):
            return fresh
        return Ledger(engine, site.cost, fresh.epsilon, fresh.delta).budget()
    finally:
        engine.dispose()
