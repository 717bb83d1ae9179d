"""Vectors of kind ``session``: whole attempts, honest and not, message by message."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

import msgspec

from secagg.crypto.aead import AuthenticationFailure
from secagg.crypto.hashing import Label, digest
from secagg.crypto.secret import Secret
from secagg.errors import DecodeError, PeerViolation
from secagg.rounds.journal import SurvivorSigned
from secagg.rounds.machine import Aborted, Hospital, Withdrawn
from secagg.rounds.r3_consistency_check import Confirmed, restore, unseal_answer
from secagg.rounds.r4_unmasking import Unmasking
from secagg.rounds.r5_certification import Certifying
from secagg.transcript import record as transcripts
from secagg.vectors.cohort import SERVER_NUMBER, Cohort, Config
from secagg.vectors.document import Document, Expect, VectorError
from secagg.vectors.edits import Edit, Special, edited, unpacked
from secagg.vectors.forging import Forger
from secagg.vectors.record import Record
from secagg.wire.codec import decode_from_client, decode_from_server, encode
from secagg.wire.messages import Complaint, Wire

REASON: Final = "vector"
"""What the server says where a message has room for words."""


class Operation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="operation"):
    """Base of the operations: their arguments. 0 is the server."""


class Open(Operation, frozen=True, tag="open"):
    """The server opens an attempt."""

    round: int
    attempt: int


class Exchange(Operation, frozen=True, tag="exchange"):
    """One stage: everybody but ``absent`` is sent what waits and answers; then the stage ends."""

    absent: list[int]


class Deliver(Operation, frozen=True, tag="deliver"):
    """One client is sent what waits for it; what it answers stays on its way."""

    to: int


class Message(Operation, frozen=True, tag="message", rename={"sender": "from", "receiver": "to"}):
    """One message, changed by ``edits`` on its way; a refused one leaves everything as it was.

    ``base``: ``[k]`` is the k-th message, from 0, that the sender would send now; ``[i, j]`` the
    j-th message of operation i, sent before; None an empty array.
    """

    sender: int
    receiver: int
    base: list[int] | None
    edits: list[Edit]


class PublishedSumTo(Operation, frozen=True, tag="sum", rename={"receiver": "to"}):
    """The server's sum, announcement and chunk, both changed: what the client makes of the two."""

    receiver: int
    edits: list[Edit]
    chunk_edits: list[Edit]


class Misdeal(Operation, frozen=True, tag="misdeal"):
    """From here on a client that has advertised takes another mask private key, newly drawn."""

    client: int


class Restart(Operation, frozen=True, tag="restart"):
    """A client starts again from its journal."""

    client: int


class Reconnect(Operation, frozen=True, tag="reconnect"):
    """A client connects anew; its stream of chunks begins again."""

    client: int


class Unseal(Operation, frozen=True, tag="unseal"):
    """The sealed answer of a client is opened with the journal key of ``key_of``."""

    client: int
    key_of: int


class Abandon(Operation, frozen=True, tag="abandon"):
    """The server asks everybody but ``absent`` to abandon a round, and tells them of it."""

    round: int
    absent: list[int]


class TranscriptOf(Operation, frozen=True, tag="transcript"):
    """The attempt's transcript, changed by ``edits``, verified and, if it has a sum, recomputed.

    The masked inputs are those that the server has.
    """

    edits: list[Edit]


AnyOperation = (
    Open
    | Exchange
    | Deliver
    | Message
    | PublishedSumTo
    | Misdeal
    | Restart
    | Reconnect
    | Unseal
    | Abandon
    | TranscriptOf
)


@dataclass(frozen=True, slots=True)
class Sent:
    """One message on its way: from whom, to whom (0 is the server), its bytes."""

    sender: int
    receiver: int
    data: bytes

    def written(self) -> Document:
        """As it stands in a vector."""
        return {"from": self.sender, "to": self.receiver, "bytes": self.data.hex()}


@final
class Session:
    """Carries out the operations of one vector and says what came of each."""

    def __init__(self, config: Config, seed: bytes) -> None:
        self.cohort = Cohort(config, seed)
        self.attempts: list[Record] = []
        self.checks: set[str] = set()
        self._sent: list[list[Sent]] = []
        self._heard: set[tuple[int, str]] = set()

    _METHODS: ClassVar[dict[type, str]] = {
        Open: "_open",
        Exchange: "_exchange",
        Deliver: "_deliver",
        Message: "_message",
        PublishedSumTo: "_sum",
        Misdeal: "_misdeal",
        Restart: "_restart",
        Reconnect: "_reconnect",
        Unseal: "_unseal",
        Abandon: "_abandon",
        TranscriptOf: "_transcript",
    }

    def perform(self, operation: AnyOperation) -> Document:
        """What came of one operation: ``expect`` and the rest. Raises VectorError, PeerViolation.

        A PeerViolation is raised where nobody was meant to break anything.
        """
        if not self.attempts and not isinstance(operation, Open):
            raise VectorError("a session begins with the operation open")
        self._sent.append([])
        method: Callable[[Any], Document] = getattr(self, self._METHODS[type(operation)])
        outcome = method(operation)
        if self._sent[-1]:
            outcome["messages"] = [sent.written() for sent in self._sent[-1]]
        self.attempts[-1].observe_server(self.cohort)
        return outcome

    # --- operations ------------------------------------------------------------------------------

    def _open(self, operation: Open) -> Document:
        self.cohort.open(operation.round, operation.attempt)
        self.attempts.append(Record(self.cohort))
        self._heard = set()
        return {"expect": Expect.SUCCESS}

    def _exchange(self, operation: Exchange) -> Document:
        cohort, stage = self.cohort, self._stage
        present = [u for u in cohort.policy.members if u not in self._clients(operation.absent)]
        before = cohort.server.state
        if not all(cohort.pending(u) for u in operation.absent):
            raise VectorError(f"nothing waits for all of {operation.absent} in {stage}")
        answers: list[tuple[int, Wire]] = []
        for u in present:
            if (u, stage) not in self._heard:
                for message in cohort.pending(u):
                    self._send(u, message)
            if u in cohort.server.state.awaited():
                answers += [(u, answer) for answer in cohort.sending(u)]
        for u, answer in answers:
            self._log(u, SERVER_NUMBER, encode(answer))
            cohort.collect(u, decode_from_client(encode(answer)))
        if type(cohort.server.state) is type(before):
            cohort.close()
        return {"stage": stage, **self._ending(type(before).__name__)}

    def _deliver(self, operation: Deliver) -> Document:
        u = self._client(operation.to)
        for message in self.cohort.pending(u):
            self._send(u, message)
        return {"expect": Expect.SUCCESS, "receiver": self._name(u)}

    def _message(self, operation: Message) -> Document:
        sender, receiver = operation.sender, operation.receiver
        client = self._client(sender or receiver)
        if min(sender, receiver) != SERVER_NUMBER:
            raise VectorError("a message goes from a client to the server, or back")
        honest = self._base(operation)
        values = edited(honest, operation.edits, self._forger(sender))
        data = msgspec.msgpack.encode(values)
        self._log(sender, receiver, data)
        outcome: Document = {"receiver": self._name(receiver)}
        replies: tuple[Wire, ...] = ()
        try:
            if receiver == SERVER_NUMBER:
                self.cohort.collect(client, decode_from_client(data))
                outcome |= self._ending("")
            else:
                replies = self._handed(client, decode_from_server(data))
                outcome["expect"] = Expect.SUCCESS
        except DecodeError:
            outcome["expect"] = Expect.DECODE_ERROR
        except PeerViolation as violation:
            outcome |= self._violation(violation)
        self._log_answers(client, replies)
        if receiver != SERVER_NUMBER:
            outcome |= self._withdrawal(client)
        return outcome

    def _sum(self, operation: PublishedSumTo) -> Document:
        u = self._client(operation.receiver)
        special = self._forger(SERVER_NUMBER)
        waiting = [unpacked(encode(message)) for message in self.cohort.pending(u)]
        if len(waiting) != 2:
            raise VectorError("the server has no sum of one chunk to send")
        changes = (operation.edits, operation.chunk_edits)
        outcome: Document = {"receiver": self._name(u), "expect": Expect.SUCCESS}
        replies: tuple[Wire, ...] = ()
        heard = set(self._heard)
        try:
            for values, edits in zip(waiting, changes, strict=True):
                data = msgspec.msgpack.encode(edited(values, edits, special))
                self._log(SERVER_NUMBER, u, data)
                replies = self._handed(u, decode_from_server(data))
        except PeerViolation as violation:
            self._heard = heard
            outcome |= self._violation(violation)
        self._log_answers(u, replies)
        return outcome

    def _misdeal(self, operation: Misdeal) -> Document:
        u = self._client(operation.client)
        self.cohort.misdeal(u)
        return {"expect": Expect.SUCCESS, "client_name": self._name(u)}

    def _restart(self, operation: Restart) -> Document:
        u = self._client(operation.client)
        self.cohort.restart(u)
        return {"expect": Expect.SUCCESS, "client_name": self._name(u), "state": self._state(u)}

    def _reconnect(self, operation: Reconnect) -> Document:
        u = self._client(operation.client)
        self.cohort.reconnect(u)
        return {"expect": Expect.SUCCESS, "client_name": self._name(u)}

    def _unseal(self, operation: Unseal) -> Document:
        u, v = self._client(operation.client), self._client(operation.key_of)
        state = self.cohort.sessions[u].state if u in self.cohort.sessions else None
        if not isinstance(state, Confirmed):
            raise VectorError(f"client {u} has no sealed answer")
        own = self.cohort.hospitals[u]
        other = Hospital(own.policy, u, own.identity, Secret(self.cohort.journal_keys[v]))
        entry = next(
            each for each in reversed(self.cohort.journals[u]) if isinstance(each, SurvivorSigned)
        )
        outcome: Document = {"client_name": self._name(u), "key_of_name": self._name(v)}
        try:
            answer = unseal_answer(restore(other, entry))
        except AuthenticationFailure:
            return {**outcome, "expect": Expect.AUTH_FAILURE}
        return {**outcome, "expect": Expect.SUCCESS, "answer": encode(answer).hex()}

    def _abandon(self, operation: Abandon) -> Document:
        cohort = self.cohort
        absent = self._clients(operation.absent)
        present = [u for u in cohort.policy.members if u not in absent]
        request = cohort.request_abandonment(operation.round, REASON)
        refused: Document = {}
        for u in present:
            self._log(SERVER_NUMBER, u, encode(request))
            try:
                answers = cohort.deliver(u, decode_from_server(encode(request)))
            except PeerViolation as violation:
                refused[str(u)] = self._violation(violation)["check"]
                continue
            for answer in answers:
                self._log(u, SERVER_NUMBER, encode(answer))
                cohort.collect(u, decode_from_client(encode(answer)))
        notice = cohort.abandon(operation.round)
        outcome: Document = {"refused": refused}
        if notice is None:
            return {**outcome, "expect": Expect.BELOW_THRESHOLD}
        for u in present:
            self._log(SERVER_NUMBER, u, encode(notice))
            cohort.deliver(u, decode_from_server(encode(notice)))
        return {**outcome, "expect": Expect.SUCCESS}

    def _transcript(self, operation: TranscriptOf) -> Document:
        honest = unpacked(transcripts.encode(self.cohort.transcript(REASON)))
        data = msgspec.msgpack.encode(edited(honest, operation.edits, self._forger(SERVER_NUMBER)))
        outcome: Document = {
            "bytes": data.hex(),
            "digest": digest(Label.TRANSCRIPT, data).hex(),
        }
        try:
            verified = self.cohort.verified(transcripts.decode(data))
        except DecodeError:
            return {**outcome, "expect": Expect.DECODE_ERROR}
        except PeerViolation as violation:
            return {**outcome, **self._violation(violation)}
        return {**outcome, "expect": Expect.SUCCESS, "outcome": verified.value}

    # --- what they share -------------------------------------------------------------------------

    @property
    def _stage(self) -> str:
        return type(self.cohort.server.state).__name__

    def _client(self, u: int) -> int:
        if u not in self.cohort.policy.members:
            raise VectorError(f"there is no client {u}")
        return u

    def _clients(self, listed: list[int]) -> list[int]:
        if listed != sorted(set(map(self._client, listed))):
            raise VectorError(f"clients are listed once, ascending: {listed}")
        return listed

    def _name(self, u: int) -> str:
        return "server" if u == SERVER_NUMBER else self.cohort.policy.name(u)

    def _state(self, u: int) -> str | None:
        session = self.cohort.sessions.get(u)
        return None if session is None else type(session.state).__name__

    def _log(self, sender: int, receiver: int, data: bytes) -> None:
        self._sent[-1].append(Sent(sender, receiver, data))

    def _send(self, u: int, message: Wire) -> None:
        """One message of the server to ``u``, through the codec, and what becomes of it."""
        data = encode(message)
        self._log(SERVER_NUMBER, u, data)
        self._handed(u, decode_from_server(data))

    def _handed(self, u: int, message: Any) -> tuple[Wire, ...]:
        self.attempts[-1].before(u, self.cohort)
        replies = self.cohort.deliver(u, message)
        self._heard.add((u, self._stage))
        self.attempts[-1].after(u, self.cohort)
        return replies

    def _log_answers(self, u: int, replies: tuple[Wire, ...]) -> None:
        for reply in replies:
            self._log(u, SERVER_NUMBER, encode(reply))

    def _violation(self, violation: PeerViolation) -> Document:
        self.checks.add(violation.check.id)
        return {
            "expect": Expect.VIOLATION,
            "check": violation.check.id,
            "blames": violation.peer,
        }

    def _withdrawal(self, u: int) -> Document:
        """The check that a client complains about, if it has just withdrawn."""
        session = self.cohort.sessions.get(u)
        if session is None or not isinstance(session.state, Withdrawn):
            return {}
        check_id, (complaint,) = session.state.reason.partition(" ")[0], session.state.outbound
        if not isinstance(complaint, Complaint):
            raise TypeError("a client withdraws with a complaint")
        self.checks.add(check_id)
        dealer = self._name(complaint.dealer)
        return {"expect": Expect.VIOLATION, "check": check_id, "blames": dealer}

    def _ending(self, stage: str) -> Document:
        """How a stage of the server ended, if it did."""
        state = self.cohort.server.state
        if isinstance(state, Unmasking) and stage == "Unmasking":
            return {"expect": Expect.BELOW_THRESHOLD}
        if isinstance(state, Certifying) and stage == "Certifying":
            return {"expect": Expect.BELOW_THRESHOLD}
        if not isinstance(state, Aborted):
            return {"expect": Expect.SUCCESS}
        if state.omit:
            omitted = sorted(state.omit)
            outcome: Document = {"expect": Expect.VIOLATION, "omitted": omitted}
            if state.reason.startswith("CHK-"):
                self.checks.add(state.reason.split(" ")[0])
                outcome |= {
                    "check": state.reason.split(" ")[0],
                    "blames": self._name(omitted[0]),
                }
            return outcome
        overflow = self.cohort.unmasked is not None
        return {"expect": Expect.OVERFLOW if overflow else Expect.BELOW_THRESHOLD}

    def _forger(self, sender: int) -> Mapping[str, Special]:
        return Forger(self.cohort, self.attempts[-1].channel_seeds, sender).edits()

    def _base(self, operation: Message) -> Any:
        match operation.base:
            case None:
                return []
            case [place]:
                sender, receiver = operation.sender, operation.receiver
                waiting = (
                    self.cohort.pending(receiver)
                    if sender == SERVER_NUMBER
                    else self.cohort.sending(sender)
                )
                if not 0 <= place < len(waiting):
                    raise VectorError(f"{len(waiting)} messages are pending, not {place + 1}")
                return unpacked(encode(waiting[place]))
            case [number, place]:
                if not 0 <= number < len(self._sent) - 1 or not (
                    0 <= place < len(self._sent[number])
                ):
                    raise VectorError(f"no message {place} of operation {number} has been sent")
                sent = self._sent[number][place]
                if (sent.sender, sent.receiver) != (operation.sender, operation.receiver):
                    raise VectorError("an earlier message had another sender or receiver")
                return unpacked(sent.data)
            case _:
                raise VectorError(f"not a base: {operation.base}")
