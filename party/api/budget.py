"""``GET /privacy-budget``: what this hospital's privacy has cost so far, and what is left."""

from __future__ import annotations

from fastapi import APIRouter

from party.accounts import PrivacyBudgetReport, budget_report
from party.api.services import Services


def router(services: Services) -> APIRouter:
    """``/privacy-budget``."""
    routes = APIRouter(tags=["monitoring"])
    u = services.reporter.u

    @routes.get("/privacy-budget")
    async def privacy_budget() -> PrivacyBudgetReport:
        """The privacy budget, and every charge against it.

        `epsilon_spent` is by how much a charge has raised the total. A charged attempt that came
        to nothing has no `model_hash`, and stays charged.
        """
        certificates = services.journal.certificates
        return await services.in_thread(budget_report, services.ledger, certificates, u)

    return routes
