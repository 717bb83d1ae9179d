"""What the demonstration found, from what each node says about itself at the end."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Final

import msgspec

from party.status import RoundReport, StatusReport
from secagg.cli import CommandError, ExitCode

SCHEMA: Final = "secagg-demo/1"


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One certified training round.

    ``participants``: whose vectors are in the sum; ``dropped``: everybody else. The dictionaries
    have the hospitals that hold this round's certificate: who was away longer has a later one.
    ``accuracy``: mean of ``accuracies``, each measured by a hospital on its own test records.
    ``epsilon`` (toward who sees the sums) and ``epsilon_own`` (toward all others together, who see
    the hospital's own noised vector): spent until and with this round; null without noise.
    """

    round: int
    attempt: int
    participants: list[str]
    dropped: list[str]
    model_hash: str
    model_hashes: dict[str, str]
    accuracy: float | None
    accuracies: dict[str, float]
    epsilon: dict[str, float | None]
    epsilon_own: dict[str, float | None]


class Accuracy(msgspec.Struct, frozen=True, kw_only=True):
    """Of each hospital's own test records: the model that it trains alone, and the common one."""

    local: dict[str, float]
    federated: dict[str, float]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole demonstration."""

    schema: str = SCHEMA
    rounds: list[Round]
    accuracy: Accuracy


def report(statuses: Mapping[str, StatusReport]) -> Report:
    """Put together what the hospitals say; ``statuses`` in the roster's order, by name.

    Raises CommandError if two of them hold different models for one round.
    """
    numbers = sorted({entry.round for status in statuses.values() for entry in status.rounds})
    local = {name: status.accuracy.local_only for name, status in statuses.items()}
    federated = {name: status.accuracy.federated for name, status in statuses.items()}
    return Report(
        rounds=[round_report(statuses, number) for number in numbers],
        accuracy=Accuracy(local=_known(local), federated=_known(federated)),
    )


def round_report(statuses: Mapping[str, StatusReport], number: int) -> Round:
    """What the hospitals that hold the certificate of round ``number`` say about it."""
    entries = {
        name: entry
        for name, status in statuses.items()
        for entry in status.rounds
        if entry.round == number
    }
    first = next(iter(entries.values()))
    _check_agreement(entries, first)
    accuracies = _known({name: entry.accuracy for name, entry in entries.items()})
    return Round(
        round=number,
        attempt=first.attempt,
        participants=first.participants,
        dropped=[name for name in statuses if name not in first.participants],
        model_hash=first.model_hash,
        model_hashes={name: entry.model_hash for name, entry in entries.items()},
        accuracy=fmean(accuracies.values()) if accuracies else None,
        accuracies=accuracies,
        epsilon={name: entry.epsilon_sum for name, entry in entries.items()},
        epsilon_own={name: entry.epsilon_own for name, entry in entries.items()},
    )


def _check_agreement(entries: Mapping[str, RoundReport], first: RoundReport) -> None:
    different = sorted(n for n, entry in entries.items() if entry.model_hash != first.model_hash)
    if different:
        raise CommandError(
            f"Round {first.round} gave different models to {', '.join(different)} and the others.",
            "This must not happen: please report it, with the logs of --keep DIR.",
            ExitCode.FAILED_ROUND,
        )


def _known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}
