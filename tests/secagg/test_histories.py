"""Any history of an attempt: messages lost, late, repeated; hospitals that crash and come back.

Safety, at every moment: one masked input per session; never both kinds of share of one hospital;
no answers in two attempts; a sum that is published is exact. Liveness, at the end: if enough of
those that the server counts on are still there, the attempt completes.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from secagg.rounds.journal import AnswerReleased, CertificateSigned, Charged, SurvivorSigned
from secagg.rounds.machine import Aborted, ClientState
from secagg.rounds.r0_advertise_keys import Advertising
from secagg.rounds.r3_consistency_check import restore, unseal_answer
from secagg.rounds.r4_unmasking import Answered
from secagg.rounds.r5_certification import Certifying, Concluded, SumSigned, restore_signed
from secagg.rounds.session import ClientSession
from secagg.simulate import Cohort
from secagg.wire.messages import (
    Announcement,
    SumAnnouncement,
    UnmaskingAnswer,
    VectorChunk,
    Wire,
)
from tests.cohorts import assembled, plain_sum, template, vectors

N = 5
CLIENTS = st.integers(1, N)


class History(RuleBasedStateMachine):
    """An honest server and honest clients, on a network that does what it likes."""

    cohort: Cohort

    @initialize(dropouts=st.sampled_from([0, 1]))
    def begin(self, dropouts: int) -> None:
        self.cohort = assembled(template(N, corrupt=1, dropouts=dropouts))
        self.attempt = 1
        self.cohort.open(vectors(self.cohort.policy), 1, 1)
        #: Sent and not arrived; a message may arrive late, twice, or never.
        self.under_way: list[tuple[int, Wire]] = []
        self.sent: dict[tuple[int, bytes], set[bytes]] = defaultdict(set)
        self.opened: dict[tuple[int, bytes], UnmaskingAnswer] = {}

    # --- what happens ----------------------------------------------------------------------------

    @rule(u=CLIENTS)
    def server_reaches(self, u: int) -> None:
        """Hospital u is sent what the server has for it, if that is what it waits for."""
        for message in tuple(self.cohort.to_client(u)):
            if self.awaits(u, message):
                self.answer(u, list(self.cohort.deliver(u, message)))

    def awaits(self, u: int, message: Wire) -> bool:
        """The rule of a connection: nothing is sent twice to who has taken it."""
        session, standing = self.cohort.sessions.get(u), self.cohort.standings.get(u)
        match message:
            case Announcement():
                entered = standing.entered if standing else (0, 0)
                free = standing is None or (standing.answered is None and standing.signed is None)
                return entered < (message.round, message.attempt) and free
            case SumAnnouncement() | VectorChunk():
                return standing is None or standing.signed is None
            case _:
                return session is not None and session.expects == type(message).__name__

    def answer(self, u: int, replies: list[Any]) -> None:
        for reply in replies:
            self.under_way.append((u, reply))
            if isinstance(reply, VectorChunk):
                self.sent[u, reply.session].add(reply.data)
            if isinstance(reply, UnmaskingAnswer):
                assert self.opened.setdefault((u, reply.session), reply) == reply

    @precondition(lambda self: self.under_way)
    @rule(place=st.integers(0, 10**6), again=st.booleans())
    def message_arrives(self, place: int, again: bool) -> None:
        """The next message of some hospital; it may arrive once more later."""
        u, _ = self.under_way[place % len(self.under_way)]
        mine = [index for index, (sender, _) in enumerate(self.under_way) if sender == u]
        _, message = self.under_way.pop(mine[0])
        if again and not isinstance(message, VectorChunk):
            self.under_way.append((u, message))
        self.collect(u, message)

    def collect(self, u: int, message: Wire) -> None:
        if isinstance(message, VectorChunk) and u in self.cohort.receivers:
            return  # the spool's rule: the repetition of a finished input is not looked at
        if getattr(message, "session", None) == self.cohort.server.state.attempt.session:
            self.cohort.collect(u, message)

    @precondition(lambda self: self.under_way)
    @rule(u=CLIENTS)
    def connection_breaks(self, u: int) -> None:
        """What hospital u has sent is lost; it says it again."""
        self.under_way = [each for each in self.under_way if each[0] != u]
        session = self.cohort.sessions.get(u)
        if session is not None:
            self.answer(u, list(session.state.outbound))

    @rule(u=CLIENTS, sure=st.integers(0, 3))
    def hospital_crashes(self, u: int, sure: int) -> None:
        """Hospital u has its journal, and nothing else."""
        if sure:
            return
        self.under_way = [each for each in self.under_way if each[0] != u]
        self.cohort.sessions.pop(u, None)
        restored = self.restored(u)
        if restored is not None:
            self.cohort.sessions[u] = restored
            self.answer(u, list(restored.state.outbound))

    def restored(self, u: int) -> ClientSession | None:
        hospital, journal = self.cohort.hospitals[u], self.cohort.journals.get(u, [])
        signed = [entry for entry in journal if isinstance(entry, CertificateSigned)]
        if signed:
            return ClientSession(restore_signed(hospital, signed[-1]))
        confirmed = [entry for entry in journal if isinstance(entry, SurvivorSigned)]
        if not confirmed or confirmed[-1].attempt.attempt != self.cohort.standings[u].entered[1]:
            return None
        state = restore(hospital, confirmed[-1])
        if AnswerReleased(state.attempt) not in journal:
            return ClientSession(state)
        return ClientSession(
            Answered(
                hospital=hospital,
                attempt=state.attempt,
                outbound=(unseal_answer(state),),
                u2_hash=state.u2_hash,
                u3=state.u3,
            )
        )

    @rule(absent=st.none() | CLIENTS)
    def all_but_one_go_on(self, absent: int | None) -> None:
        """A round trip in which nothing goes wrong."""
        for u in range(1, N + 1):
            if u != absent:
                self.server_reaches(u)
                self.messages_of(u)

    def messages_of(self, u: int) -> None:
        """All that hospital u has sent arrives, in order."""
        mine = [message for sender, message in self.under_way if sender == u]
        self.under_way = [each for each in self.under_way if each[0] != u]
        for message in mine:
            self.collect(u, message)

    @rule(sure=st.integers(0, 5))
    def deadline_passes(self, sure: int) -> None:
        if sure == 0:
            self.cohort.server.close()

    @precondition(lambda self: isinstance(self.cohort.server.state, Aborted))
    @rule()
    def next_attempt_opens(self) -> None:
        if self.attempt < 3:
            self.attempt += 1
            self.cohort.open(vectors(self.cohort.policy), 1, self.attempt)
            self.under_way = []

    # --- what must hold --------------------------------------------------------------------------

    @invariant()
    def one_masked_input_for_each_session(self) -> None:
        assert all(len(inputs) <= 1 for inputs in self.sent.values())
        for (u, session), inputs in self.sent.items():
            charged = [e for e in self.cohort.journals[u] if isinstance(e, Charged)]
            assert not inputs or session in {entry.attempt.session for entry in charged}

    @invariant()
    def never_both_kinds_of_share(self) -> None:
        for answer in self.opened.values():
            seeds = {share.v for share in answer.self_mask_shares}
            assert not seeds & {share.v for share in answer.mask_key_shares}

    @invariant()
    def answers_in_one_attempt_alone(self) -> None:
        answered = [u for u, _ in self.opened]
        assert len(set(answered)) == len(answered)

    @invariant()
    def a_published_sum_is_exact(self) -> None:
        if isinstance(self.cohort.server.state, Certifying | Concluded):
            assert self.cohort.total is not None
            expected = plain_sum(self.cohort, self.cohort.survivors)
            assert np.array_equal(self.cohort.total, expected)
            assert len(self.cohort.survivors) >= self.cohort.policy.min_survivors

    def teardown(self) -> None:
        """From here on the network works. Whoever is still counted on is enough, or the attempt
        could not complete.
        """
        if not hasattr(self, "cohort"):
            return
        alive = self.alive()
        policy, state = self.cohort.policy, self.cohort.server.state
        enough = len(alive) >= max(policy.threshold, policy.min_survivors)
        for u in alive:
            self.connection_breaks(u)
        for _ in range(16):
            stage = type(self.cohort.server.state)
            for u in policy.members:
                self.server_reaches(u)
            for u in policy.members:
                self.messages_of(u)
            if type(self.cohort.server.state) is stage:
                self.cohort.server.close()
        if enough and not isinstance(state, Aborted):
            assert isinstance(self.cohort.server.state, Certifying | Concluded)
            self.a_published_sum_is_exact()

    def alive(self) -> list[int]:
        """The hospitals in the server's present set that are still in its session."""
        state, session = self.cohort.server.state, self.cohort.server.state.attempt.session
        counted = set(self.cohort.policy.members)
        for name in ("u1", "u2", "u3"):
            counted &= set(getattr(state, name, counted))
        found = []
        for u in counted:
            mine = self.cohort.sessions.get(u)
            if mine is None:
                message = next(iter(self.cohort.to_client(u)), None)
                if isinstance(state, Advertising) and message and self.awaits(u, message):
                    found.append(u)
            elif isinstance(mine.state, SumSigned) or (
                isinstance(mine.state, ClientState) and mine.state.attempt.session == session
            ):
                found.append(u)
        return found


def named(state: SumSigned | ClientState) -> bytes:
    """The session that a client is in."""
    return state.session if isinstance(state, SumSigned) else state.attempt.session


TestHistory = History.TestCase
TestHistory.settings = settings(
    max_examples=80,
    stateful_step_count=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
