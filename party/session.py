"""One session of this hospital: what it is called, where it stands, how it outlives its process."""

from __future__ import annotations

import structlog

from party.journal import Resumable
from secagg.crypto.aead import AuthenticationFailure
from secagg.rounds.machine import ClientState, Hospital, Withdrawn
from secagg.rounds.r3_consistency_check import restore, unseal_answer
from secagg.rounds.r4_unmasking import Answered
from secagg.rounds.r5_certification import SumSigned, restore_signed
from secagg.rounds.session import ClientSession

_log = structlog.get_logger("secagg.party")


def session_id(session: ClientSession | None) -> bytes | None:
    """The id that server and hospitals know it by; None if it is over."""
    match session.state if session else None:
        case ClientState(attempt=attempt):
            return attempt.session
        case SumSigned(session=named):
            return named
        case _:
            return None


def session_round(session: ClientSession | None) -> int | None:
    """The training round that it belongs to; None if it is over."""
    match session.state if session else None:
        case ClientState(attempt=attempt):
            return attempt.round
        case SumSigned(published=published):
            return published.round
        case _:
            return None


def engaged(session: ClientSession | None, kept: Resumable, u: int) -> frozenset[bytes]:
    """The sessions that may still carry a vector of hospital ``u`` into a sum, by its knowledge.

    The live one, unless it is over; one that it has answered in, or whose sum with its vector it
    has signed, whatever the server says of them: those end with their round.
    """
    sessions: set[bytes] = set()
    live = session.state if session else None
    if isinstance(live, ClientState) and not isinstance(live, Withdrawn):
        sessions.add(live.attempt.session)
    if kept.released is not None:
        sessions.add(kept.released.session)
    if kept.signed is not None and u in kept.signed.published.u3:
        sessions.add(kept.signed.session)
    return frozenset(sessions)


def state_name(session: ClientSession) -> str:
    """Its state in words: ``advertised``, ``shared`` .. ``sum signed``."""
    return "".join(
        f" {letter.lower()}" if letter.isupper() else letter
        for letter in type(session.state).__name__
    ).strip()


def restored(hospital: Hospital, kept: Resumable) -> ClientSession | None:
    """The session that a restarted node is in: a signed U3, an answer, a signed model hash.

    Anything earlier is over: what one process has masked, no other one ever sends.
    """
    if kept.signed is not None:
        return ClientSession(restore_signed(hospital, kept.signed))
    if kept.confirmed is None:
        return None
    confirmed = restore(hospital, kept.confirmed)
    try:
        answer = unseal_answer(confirmed)
    except AuthenticationFailure:
        _log.error(
            "sealed answer lost",
            round=confirmed.attempt.round,
            reason="it does not open under this journal key; restore the key of that time",
        )
        return None
    if not kept.answered:
        return ClientSession(confirmed)
    answered = Answered(
        hospital=hospital,
        attempt=confirmed.attempt,
        outbound=(answer,),
        u2_hash=confirmed.u2_hash,
        u3=confirmed.u3,
    )
    return ClientSession(answered)
