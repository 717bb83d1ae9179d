"""One session of either role, driven through the table: the only place where states are replaced.

A state once left cannot be used again, since nobody else holds it; a violation leaves the state as
it was (the server's side: one bad client spoils nothing) or ends the session (the client's).
"""

from __future__ import annotations

from typing import Any, final

from secagg.checks import Check
from secagg.crypto.randomness import Randomness
from secagg.errors import PeerViolation
from secagg.rounds.journal import Entry
from secagg.rounds.machine import SERVER, Aborted, ClientState, ServerState, ServerStep, Step
from secagg.rounds.r4_unmasking import Unmasked, Unmasking
from secagg.rounds.r5_certification import Concluded, RoundCertified, SumSigned
from secagg.rounds.table import CLIENT, CLOSE, COLLECT, JUDGE, ORDER

Client = ClientState | SumSigned | RoundCertified


@final
class ClientSession:
    """A client in one attempt. After each call: journal what it returns, then send ``outbound``."""

    __slots__ = ("_state",)

    def __init__(self, state: Client) -> None:
        """Start from the state of the first step, or from one restored from the journal."""
        self._state = state

    @property
    def state(self) -> Client:
        """The current state."""
        return self._state

    @property
    def expects(self) -> str | None:
        """Name of the message that the current state accepts; None in terminal states."""
        return next(
            (message.__name__ for state, message in CLIENT if state is type(self._state)), None
        )

    def handle(self, message: Any, randomness: Randomness) -> tuple[Entry, ...]:
        """Take one message of the server; returns the entries to make durable before sending.

        Raises PeerViolation; the session is then over for this client.
        """
        function = CLIENT.get((type(self._state), type(message)))
        if function is None:
            raise PeerViolation(
                Check.EXPECTED_MESSAGE,
                SERVER,
                f"{type(message).__name__} in state {type(self._state).__name__}",
            )
        named = getattr(message, "session", None)
        if isinstance(self._state, ClientState) and named != self._state.attempt.session:
            raise PeerViolation(Check.SESSION_MATCHES, SERVER)
        step: Step[Client] = function(self._state, message, randomness)
        self._state = step.state
        return step.durable


@final
class ServerSession:
    """The server in one attempt. After each call: send ``state.outbound(u)`` to the recipients."""

    __slots__ = ("_state",)

    def __init__(self, step: ServerStep[ServerState]) -> None:
        """Start from the announcement's step, or from a restored one."""
        self._state: ServerState = step.state

    @property
    def state(self) -> ServerState:
        """The current state."""
        return self._state

    @property
    def over(self) -> bool:
        """Whether the attempt has ended, certified or aborted."""
        return isinstance(self._state, Concluded | Aborted)

    def handle(self, u: int, message: Any) -> frozenset[int]:
        """Take one message of client ``u``; returns whom to send ``outbound``.

        Raises PeerViolation and stays as it was if ``u`` broke the protocol.
        """
        key = (type(self._state), type(message))
        name = self._state.policy.name(u)
        named = getattr(message, "session", None)
        if named is not None and named != self._state.attempt.session:
            raise PeerViolation(Check.SESSION_MATCHES, name)
        if key in JUDGE:
            return self._enter(JUDGE[key](self._state, u, message))
        if self._late(type(message)):
            return frozenset()
        if key not in COLLECT:
            raise PeerViolation(
                Check.EXPECTED_MESSAGE,
                name,
                f"{type(message).__name__} in state {type(self._state).__name__}",
            )
        self._state = COLLECT[key](self._state, u, message)
        return self.close() if self._complete() else frozenset()

    def close(self) -> frozenset[int]:
        """The stage's deadline has passed; returns whom to send ``outbound``.

        Unmasking with too few answers and certification with too few signatures go on waiting.
        """
        if isinstance(self._state, Unmasking) and not self._state.has_enough:
            return frozenset()
        closing = CLOSE.get(type(self._state))
        return self._enter(closing(self._state)) if closing else frozenset()

    def advance(self, step: ServerStep[ServerState]) -> frozenset[int]:
        """Enter the state that the caller computed outside (the unmasked sum); as ``handle``."""
        if not isinstance(self._state, Unmasked):
            raise PeerViolation(Check.EXPECTED_MESSAGE, SERVER, "no sum is awaited")
        return self._enter(step)

    def _late(self, message: type) -> bool:
        now = ORDER.index(type(self._state))
        expecting = [state for state, expected in (*COLLECT, *JUDGE) if expected is message]
        return any(ORDER.index(state) < now for state in expecting)

    def _enter(self, step: ServerStep[ServerState]) -> frozenset[int]:
        self._state = step.state
        return step.recipients

    def _complete(self) -> bool:
        # t answers make the sum; where answers also remove surplus noise, it pays to wait for all.
        if isinstance(self._state, Unmasking) and self._state.policy.noise.mode != "exact":
            return self._state.has_enough
        return not self._state.awaited()
