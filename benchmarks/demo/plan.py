"""What the demonstration is to show: how many rounds, under which noise, who is lost where."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from benchmarks.heart_disease.dataset import HOSPITALS
from benchmarks.heart_disease.policy import Target
from party.rehearsal import LossPoint
from secagg.cli import CommandError, ExitCode

FIRST_LOSS: Final = 2
"""The round of the first loss, if it names none; each further one is a round later."""

_DELTA: Final = re.compile(r"0\.[0-9]{1,30}")
_MAX_EPSILON: Final = 1000


@dataclass(frozen=True, slots=True)
class Drop:
    """``hospital``'s process kills itself in training round ``round``, once it has got to
    ``point``.
    """

    hospital: str
    point: LossPoint
    round: int


@dataclass(frozen=True, slots=True)
class Plan:
    """``target``: what ``rounds`` rounds together may cost a patient; None: no noise.

    ``seed``: of the order of the records in each hospital's file, and of nothing else.
    """

    rounds: int
    drops: tuple[Drop, ...]
    target: Target | None
    seed: int

    def next_drop(self, hospital: str, after: int) -> Drop | None:
        """The first loss of ``hospital`` in a round later than ``after``."""
        later = [d for d in self.drops if d.hospital == hospital and d.round > after]
        return min(later, key=lambda drop: drop.round, default=None)


def drops(texts: Sequence[str], rounds: int) -> tuple[Drop, ...]:
    """Parse NAME@STAGE or NAME@STAGE@ROUND, each. Raises CommandError naming what is wrong."""
    parsed = tuple(
        _drop(text, min(FIRST_LOSS + position, rounds), rounds)
        for position, text in enumerate(texts)
    )
    if len({(drop.hospital, drop.round) for drop in parsed}) < len(parsed):
        raise _usage("A hospital is lost twice in one round.", "Give another @ROUND to one --drop.")
    return parsed


def target(mode: str, epsilon: str, delta: str) -> Target | None:
    """What the options ask for; None for ``none``. Raises CommandError."""
    try:
        value = Decimal(epsilon)
    except InvalidOperation:
        value = Decimal(0)
    if not (value.is_finite() and 0 < value <= _MAX_EPSILON):
        raise _usage(
            f"An epsilon of {epsilon!r} cannot be used.",
            f"Give a decimal above 0 and up to {_MAX_EPSILON}.",
        )
    if _DELTA.fullmatch(delta) is None or Decimal(delta) == 0:
        raise _usage(
            f"A delta of {delta!r} cannot be used.", "Give a decimal below 1 such as 0.001."
        )
    match mode:
        case "none":
            return None
        case "exact" | "at_least" | "local":
            return Target(mode, epsilon, delta)
        case _:
            raise _usage(
                f"There is no noise called {mode!r}.", "Choose exact, at_least, local or none."
            )


def _drop(text: str, default_round: int, rounds: int) -> Drop:
    name, _, rest = text.partition("@")
    stage, separator, number = rest.partition("@")
    if name not in HOSPITALS:
        raise _usage(
            f"--drop {text}: there is no hospital {name!r}.",
            f"The hospitals are {', '.join(HOSPITALS)}.",
        )
    if stage not in tuple(LossPoint):
        raise _usage(
            f"--drop {text}: there is no stage {stage!r}.",
            f"The stages are {', '.join(LossPoint)}.",
        )
    if not separator:
        return Drop(name, LossPoint(stage), default_round)
    if not (number.isascii() and number.isdigit() and 1 <= int(number) <= rounds):
        raise _usage(
            f"--drop {text}: there is no round {number!r}.", f"The rounds are 1 to {rounds}."
        )
    return Drop(name, LossPoint(stage), int(number))


def _usage(problem: str, remedy: str) -> CommandError:
    return CommandError(problem, remedy, ExitCode.USAGE)
