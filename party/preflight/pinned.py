"""The pinned policy: whether it can be used, names this hospital, and promises what it demands."""

from __future__ import annotations

from party.floor import check_floor
from party.opening import check_budget, check_records, find_hospital, read_policy
from party.preflight.site import Site
from secagg.enrollment.fingerprint import fingerprint


def policy(site: Site) -> str:
    """It is within every bound, and pins a model and features."""
    pinned = site.policy
    return (
        f"{pinned.consortium}, version {pinned.version}, {pinned.n} hospitals, fingerprint "
        f"{fingerprint(pinned.digest())}"
    )


def identity(site: Site) -> str:
    """The roster has this hospital, with the key that is here."""
    hospital = find_hospital(site.config, site.policy)
    return f"{site.config.name} is number {hospital.u} of {site.policy.n} on the roster"


def floor(site: Site) -> str:
    """It promises at least what [limits] demand."""
    limits, budget = site.config.limits, site.config.budget
    check_floor(site.policy, limits, site.cost, None if budget is None else budget.exact[1])
    check_budget(site.cost, budget)
    return (
        f"sums of at least {site.policy.min_survivors} hospitals, noise {site.policy.noise.mode!r}"
    )


def records(site: Site) -> str:
    """Every record in the files of [data] is of the form that the policy needs."""
    _, spec, schema = read_policy(site.config.policy)
    check_records(site.config, spec, schema)
    if schema is None:
        return "none are taken: the policy's unit is the hospital"
    return "an EHR posts them" if site.config.data is None else "every record can be used"
