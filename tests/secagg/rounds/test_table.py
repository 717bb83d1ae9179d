"""The table of transitions and its complement: every state with every message there is.

What is in the table has its own tests; here, everything that is not is refused (CHK-601), or, for
a message that comes too late, ignored, and leaves the state as it was.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, get_args

import pytest

from secagg.checks import Check
from secagg.errors import PeerViolation
from secagg.rounds.machine import Aborted, ClientState, ServerState, ServerStep, Withdrawn
from secagg.rounds.r0_advertise_keys import Advertised, Advertising
from secagg.rounds.r1_share_keys import Shared, Sharing
from secagg.rounds.r2_masked_input import Masked, MaskedInputReceived, Masking
from secagg.rounds.r3_consistency_check import Checking, Confirmed
from secagg.rounds.r4_unmasking import Answered, Unmasked, Unmasking, reconstruct
from secagg.rounds.r5_certification import Certifying, Concluded, RoundCertified, SumSigned
from secagg.rounds.session import Client, ClientSession, ServerSession
from secagg.rounds.table import CLIENT, CLOSE, COLLECT, JUDGE, ORDER
from secagg.wire.messages import (
    Challenge,
    FromClient,
    FromServer,
    MaskedInputSignature,
    Wire,
)
from tests.cohorts import assembled, changed, delivered, message_for, opened, reach, refused, step
from tests.secagg.wire.samples import SAMPLES, SIGNATURE, A

CLIENT_STATES = (
    Advertised,
    Shared,
    Masked,
    Confirmed,
    Answered,
    SumSigned,
    RoundCertified,
    Withdrawn,
)
FROM_SERVER = get_args(FromServer)
RECEIVED = (*get_args(FromClient), MaskedInputReceived)
"""What the server's session may be handed: messages of clients, and the end of a masked input."""


def names_below(base: type) -> set[str]:
    """Names of all subclasses; by name, since a dataclass with slots leaves its first draft."""
    below: list[type] = base.__subclasses__()
    return {kind.__name__ for kind in below}.union(*map(names_below, below))


# --- real states, reached by real messages -------------------------------------------------------


@cache
def client_states() -> dict[type, Client]:
    """Client 1 in each of its states."""
    cohort = opened()
    found: list[Client] = []
    answers = []
    for _ in range(4):
        step(cohort)
        found.append(cohort.sessions[1].state)
    unmasking = message_for(cohort, 1)
    for u in (2, 3, 4):
        for answer in delivered(cohort, u, message_for(cohort, u)):
            answers.append((u, answer))
    delivered(cohort, 1, unmasking)
    found.append(cohort.sessions[1].state)
    for u, answer in answers:
        cohort.collect(u, answer)
    for _ in range(2):
        step(cohort)
        found.append(cohort.sessions[1].state)
    withdrawn = Withdrawn(
        hospital=cohort.hospitals[1],
        attempt=cohort.server.state.attempt,
        outbound=(),
        reason="complained",
    )
    return {type(state): state for state in (*found, withdrawn)}


@cache
def server_states() -> dict[type, ServerState]:
    """The server in each of its states."""
    cohort = opened()
    found: dict[type, ServerState] = {}
    for kind in (Advertising, Sharing, Masking, Checking, Unmasking):
        found[kind] = reach(cohort, kind)
    full = found[Unmasking]
    assert isinstance(full, Unmasking)
    answers = {u: delivered(cohort, u, message_for(cohort, u))[0] for u in cohort.policy.members}
    found[Unmasked] = reconstruct(replace(full, answers=answers)).state
    for u, answer in list(answers.items())[:3]:
        cohort.collect(u, answer)
    found[Certifying] = reach(cohort, Certifying)
    found[Concluded] = reach(cohort, Concluded)
    empty = assembled()
    empty.open({})
    empty.server.close()
    found[Aborted] = replace(empty.server.state, attempt=full.attempt)
    return found


def in_session(message: Any, state: Any) -> Any:
    """The message, naming the state's own session if it names one at all."""
    session = state.attempt.session if isinstance(state, ClientState | ServerState) else A
    match message:
        case MaskedInputReceived():
            return replace(message, session=session)
        case Wire() if "session" in message.__struct_fields__:
            return changed(message, session=session)
        case _:
            return message


def sample(kind: type) -> Any:
    if kind is MaskedInputReceived:
        return MaskedInputReceived(A, A, MaskedInputSignature(A, A, SIGNATURE))
    return SAMPLES[kind][0]


# --- the client ----------------------------------------------------------------------------------


def test_every_state_of_a_client_is_looked_at() -> None:
    assert client_states().keys() == set(CLIENT_STATES)
    defined = names_below(ClientState) | {"SumSigned", "RoundCertified"}
    assert defined == {state.__name__ for state in CLIENT_STATES}


@pytest.mark.parametrize("message", FROM_SERVER)
@pytest.mark.parametrize("state", CLIENT_STATES)
def test_a_client_takes_what_its_state_expects_and_nothing_else(state: type, message: type) -> None:
    session = ClientSession(client_states()[state])
    before = session.state
    expected = (state, message) in CLIENT
    assert (session.expects == message.__name__) == expected
    if not expected:
        with refused(Check.EXPECTED_MESSAGE):
            session.handle(in_session(sample(message), before), assembled().randomness[1])
        assert session.state is before


@pytest.mark.parametrize(("state", "message"), [key for key in CLIENT if key[0] is not SumSigned])
def test_a_client_takes_it_in_its_own_session_only(state: type, message: type) -> None:
    session = ClientSession(client_states()[state])
    before = session.state
    with refused(Check.SESSION_MATCHES):
        session.handle(changed(sample(message), session=bytes(32)), assembled().randomness[1])
    assert session.state is before


@pytest.mark.parametrize("state", [Answered, RoundCertified, Withdrawn])
def test_a_client_expects_nothing_where_its_part_is_done(state: type) -> None:
    assert ClientSession(client_states()[state]).expects is None


def test_each_state_of_a_client_expects_one_message_at_most() -> None:
    states = [state for state, _ in CLIENT]
    assert len(set(states)) == len(states)
    assert {message for _, message in CLIENT} <= set(FROM_SERVER)


# --- the server ----------------------------------------------------------------------------------


def test_every_state_of_the_server_has_its_place_in_the_order() -> None:
    assert server_states().keys() == set(ORDER)
    assert names_below(ServerState) == {state.__name__ for state in ORDER}
    assert len(set(ORDER)) == len(ORDER)


def comes_too_late(state: type, message: type) -> bool:
    """Whether an earlier state than this one has a place for the message in the table."""
    places = [ORDER.index(s) for s, m in (*COLLECT, *JUDGE) if m is message]
    return any(place < ORDER.index(state) for place in places)


@pytest.mark.parametrize("message", [*RECEIVED, Challenge])
@pytest.mark.parametrize("state", ORDER)
def test_the_server_takes_what_it_awaits_ignores_what_is_late_and_refuses_the_rest(
    state: type, message: type
) -> None:
    session = ServerSession(ServerStep(server_states()[state]))
    before = session.state
    given = in_session(sample(message), before)
    if (state, message) in COLLECT or (state, message) in JUDGE:
        # It is handed to its function, which sees that the sample is none of hospital 2's.
        with pytest.raises(PeerViolation, match="broken by hospital-2") as caught:
            session.handle(2, given)
        assert caught.value.check is not Check.EXPECTED_MESSAGE
    elif comes_too_late(state, message):
        assert session.handle(2, given) == frozenset()
    else:
        with refused(Check.EXPECTED_MESSAGE, "hospital-2"):
            session.handle(2, given)
    assert session.state is before


def test_every_state_that_collects_something_also_ends() -> None:
    assert CLOSE.keys() == {state for state, _ in COLLECT}
    assert {state for state, _ in JUDGE} <= CLOSE.keys()


@pytest.mark.parametrize("state", [Unmasked, Concluded, Aborted])
def test_where_nothing_is_collected_a_deadline_changes_nothing(state: type) -> None:
    session = ServerSession(ServerStep(server_states()[state]))
    before = session.state
    assert session.close() == frozenset()
    assert session.state is before
    assert before.awaited() == frozenset()
