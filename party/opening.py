"""What has to fit before a node opens: policy, identity, records and budget, each by itself."""

from __future__ import annotations

from pathlib import Path

from party.batches import BatchError, read_file
from party.config import Data, PartyConfig, PrivacyBudget
from party.identity import read_key
from party.ledger import Cost
from secagg import policy as policies
from secagg.cli import CommandError, ExitCode
from secagg.crypto.signatures import IdentityKey
from secagg.errors import DecodeError, LocalMisuse
from secagg.model import ModelSpec
from secagg.policy import Policy
from secagg.rounds.machine import Hospital
from secagg.schema import FeatureSchema


def read_policy(path: Path) -> tuple[Policy, ModelSpec, FeatureSchema | None]:
    """The pinned policy, its model, and the features that patients' records are read by: None under
    a policy that protects each hospital as a whole, where nodes take no records.

    Raises CommandError.
    """
    try:
        policy = policies.load(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise CommandError(
            f"The policy {path} cannot be used: {error}.",
            "Install the policy.json that your consortium has agreed on.",
            ExitCode.USAGE,
        ) from None
    return policy, *what_is_trained(policy, str(path))


def what_is_trained(policy: Policy, name: str) -> tuple[ModelSpec, FeatureSchema | None]:
    """The model and the features of ``policy``, which errors call ``name``; see ``read_policy``.

    Raises CommandError.
    """
    schema = policy.features if policy.noise.unit == "patient" else None
    if policy.model is None or (schema is None and policy.noise.unit == "patient"):
        raise CommandError(
            f"The policy {name} pins no model or no features: a node would have nothing to train.",
            "Use a policy with both (features may be missing if noise.unit is hospital); policies "
            "without them are for simulations.",
            ExitCode.USAGE,
        )
    return policy.model, schema


def find_hospital(config: PartyConfig, policy: Policy) -> Hospital:
    """This hospital with its keys, as the policy pins it. Raises CommandError."""
    identity = IdentityKey(read_key(config.identity.key_file))
    journal_key = read_key(config.identity.journal_key_file)
    try:
        return Hospital(policy, policy.client(config.name), identity, journal_key)
    except (LocalMisuse, ValueError) as error:
        raise CommandError(
            f"This node does not fit its policy: {error}.",
            "Check name and [identity] in party.toml against the roster in the policy.",
            ExitCode.USAGE,
        ) from None


def check_records(config: PartyConfig, spec: ModelSpec, schema: FeatureSchema | None) -> None:
    """Read every record once, so that a mistake is found now and not in the middle of a round.

    ``schema``: None if the node must have no records at all. Raises CommandError.
    """
    data = config.data or Data()
    if schema is None:
        if data.train is not None or data.test is not None or config.schedule is not None:
            raise CommandError(
                "The policy protects each hospital as a whole (noise.unit is hospital), so this "
                "node takes no records, and party.toml names some.",
                "Remove train, rounds and test from [data], and [schedule]; post updates.",
                ExitCode.USAGE,
            )
        return
    for path in (data.train, data.test):
        try:
            patients = 0 if path is None else len(read_file(path, schema))
        except BatchError as error:
            raise CommandError(
                f"The records of this hospital cannot be used: {error}.",
                "Mend the file, or name another one in [data] of party.toml.",
                ExitCode.USAGE,
            ) from None
        if path and path == data.train and not 1 <= patients <= spec.contribution.max_patients:
            raise CommandError(
                f"{path.name} has {patients} patients; the policy allows 1 to "
                f"{spec.contribution.max_patients} of one hospital in a round.",
                "Name a file of such a size in [data] of party.toml.",
                ExitCode.USAGE,
            )


def check_budget(cost: Cost | None, limits: PrivacyBudget | None) -> None:
    """Raise CommandError unless there is a budget if, and only if, an attempt costs anything."""
    if cost is None and limits is not None:
        raise CommandError(
            "The policy adds no noise, so no privacy budget can be kept, and party.toml sets one.",
            "Agree on a policy with noise; or remove [budget], if this hospital wants none.",
            ExitCode.USAGE,
        )
    if cost is not None and limits is None:
        raise CommandError(
            "party.toml sets no privacy budget.",
            "Add [budget] with epsilon and delta: what this hospital allows over all rounds.",
            ExitCode.USAGE,
        )
