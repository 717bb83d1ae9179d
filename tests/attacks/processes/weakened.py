"""The product without some of its defences, as a process: ``weakened.py CHK-303,go-back ARGS``.

Only tests start it. It shows what a defence is for: with it, an attack on the real process fails;
without it, the same attack succeeds. A defence is a check, by its id, or one of ``DEFENCES``.
"""

from __future__ import annotations

import importlib
import pkgutil
import resource
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import party
import secagg
import server
from secagg.checks import Check
from secagg.cli import main
from secagg.context import Attempt
from secagg.crypto.hashing import Label, digest
from secagg.crypto.randomness import Randomness, SeededRandomness, SystemRandomness
from secagg.privacy.mechanism import Mechanism
from secagg.rounds import machine
from secagg.rounds.journal import Entry
from secagg.rounds.r2_masked_input import Masked
from secagg.rounds.session import ClientSession
from secagg.wire import framing
from secagg.wire.messages import SurvivorSet


def _remove_checks(ids: Collection[str]) -> None:
    """Have nobody in this process make these checks."""
    genuine = machine.require

    def lenient(holds: bool, check: Check, peer: str, detail: str = "") -> None:
        if check.id not in ids:
            genuine(holds, check, peer, detail)

    for package in (secagg, party, server):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "postgresql" in found.name or ".vectors" in found.name:
                continue
            module = importlib.import_module(found.name)
            if getattr(module, "require", None) is genuine:
                module.require = lenient  # type: ignore[attr-defined]


def _go_back() -> None:
    """A client goes back to the state Masked for every survivor set that it is shown."""
    handle, remembered = ClientSession.handle, dict[int, Masked]()

    def forgetful(self: ClientSession, message: Any, randomness: Randomness) -> tuple[Entry, ...]:
        if isinstance(self.state, Masked):
            remembered[id(self)] = self.state
        if isinstance(message, SurvivorSet) and id(self) in remembered:
            self._state = remembered[id(self)]
        return handle(self, message, randomness)

    ClientSession.handle = forgetful  # type: ignore[method-assign]


def session_without_model(self: Attempt) -> bytes:
    """A session id that leaves out the base model."""
    return digest(Label.SESSION, self.policy_digest, self.server_nonce)


def _unbind_the_model() -> None:
    Attempt.session = property(session_without_model)  # type: ignore[assignment, method-assign]


def _repeat_randomness() -> None:
    """Every process draws the same bytes, as a cloned machine with a bad generator does."""
    stream = SeededRandomness(b"weak")
    SystemRandomness.draw = lambda self, size: stream.draw(size)  # type: ignore[method-assign]


def _no_floor_in_the_mechanism() -> None:
    Mechanism.surplus = lambda *_: range(0)  # type: ignore[method-assign]


def _no_frame_limit() -> None:
    framing._check_length = lambda *_: None


def _allow_core_dumps() -> None:
    resource.setrlimit = lambda *_: None


DEFENCES: Final[Mapping[str, Callable[[], None]]] = {
    "states-once-left": _go_back,
    "model-in-the-session": _unbind_the_model,
    "fresh-randomness": _repeat_randomness,
    "floor-in-the-mechanism": _no_floor_in_the_mechanism,
    "frame-limit": _no_frame_limit,
    "no-core-dumps": _allow_core_dumps,
}


if __name__ == "__main__":
    removed = sys.argv[1].split(",")
    _remove_checks([name for name in removed if name not in DEFENCES])
    for name in DEFENCES.keys() & set(removed):
        DEFENCES[name]()
    main(sys.argv[2:])
