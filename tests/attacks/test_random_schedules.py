"""A server that does whatever it likes, by lot: what honest hospitals never do, however it goes.

The server replays, withholds, re-addresses and mixes everything that it has ever seen, shows every
hospital other sets, opens attempts and rounds, has rounds abandoned, and makes hospitals restart.
It colludes with hospital 1, which hands it every share. After each schedule the journals and the
loot are looked through.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from secagg import context
from secagg.checks import Check
from secagg.context import Attempt
from secagg.crypto.signatures import verify
from secagg.errors import PeerViolation
from secagg.rounds.journal import (
    Abandoned,
    AbandonmentSigned,
    AnswerReleased,
    Entered,
    Standing,
    SurvivorSigned,
)
from secagg.rounds.r0_advertise_keys import Advertising
from secagg.rounds.r1_share_keys import Sharing
from secagg.rounds.r2_masked_input import Masked, Masking
from secagg.rounds.r3_consistency_check import Confirmed, restore
from secagg.rounds.r5_certification import (
    abandonment,
    check_abandonment,
    sign_abandonment,
)
from secagg.rounds.session import ClientSession
from secagg.simulate import Cohort
from secagg.wire.messages import (
    AbandonmentRequest,
    Signed,
    SumAnnouncement,
    SurvivorSet,
    SurvivorSignature,
    SurvivorSignatures,
    UnmaskingAnswer,
    VectorChunk,
    Wire,
)
from tests.cohorts import Loot, assembled, template, vectors, without

COLLUDER = 1


@dataclass
class Adversary:
    """The server's power over one cohort, and the record of what it got."""

    cohort: Cohort
    seen: list[Any] = field(default_factory=list)
    signatures: dict[bytes, dict[int, set[bytes]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(set))
    )
    answers: list[tuple[int, Attempt, tuple[int, ...], SurvivorSignatures]] = field(
        default_factory=list
    )
    loot: dict[bytes, Loot] = field(default_factory=dict)
    abandoned: dict[int, dict[int, bytes]] = field(default_factory=lambda: defaultdict(dict))
    round: int = 1
    attempt: int = 0

    @property
    def honest(self) -> list[int]:
        """Everybody but the colluder."""
        return [u for u in self.cohort.policy.members if u != COLLUDER]

    # --- moves -----------------------------------------------------------------------------------

    def open(self, next_round: bool) -> None:
        """Announce another attempt, of this round or of the next."""
        self.round, self.attempt = (
            (self.round + 1, 1) if next_round else (self.round, self.attempt + 1)
        )
        sessions, spool = self.cohort.sessions, self.cohort.spool
        self.cohort.open(vectors(self.cohort.policy), self.round, self.attempt)
        self.cohort.sessions, self.cohort.spool = sessions, spool

    def play_by_the_rules(self, clients: Iterable[int]) -> None:
        """One honest round trip with some hospitals; then the stage's deadline may pass."""
        for u in clients:
            for message in tuple(self.cohort.to_client(u)):
                if not isinstance(message, SumAnnouncement | VectorChunk):
                    self.show(u, message)

    def show(self, u: int, message: Wire) -> None:
        """Deliver any message to any hospital; relay what it says to the honest session."""
        self.seen.append(message)
        before = self.cohort.sessions.get(u)
        confirmed = before.state if before is not None else None
        try:
            replies = list(self.cohort.deliver(u, message))
        except PeerViolation:
            self.cohort.sessions.pop(u, None)  # the session is over for this hospital
            return
        for reply in replies:
            self._record(u, confirmed, message, reply)
            try:
                self.cohort.collect(u, reply)
            except PeerViolation:
                continue

    def _record(self, u: int, state: object, message: Wire, reply: Wire) -> None:
        session = self.cohort.sessions.get(u)
        if isinstance(reply, SurvivorSignature):
            self.signatures[reply.session][u].add(reply.signature)
        if u == COLLUDER and session is not None and isinstance(session.state, Masked):
            self._loot(session.state.attempt.session).take_held(u, session.state.held)
        if isinstance(reply, UnmaskingAnswer):
            assert isinstance(state, Confirmed)
            assert isinstance(message, SurvivorSignatures)
            self.answers.append((u, state.attempt, state.u3, message))
            self._check_quorum(state, message)
            self._loot(reply.session).take_answer(u, reply)

    def _loot(self, session: bytes) -> Loot:
        return self.loot.setdefault(session, Loot(self.cohort.policy.threshold))

    def survivor_set(self, u: int, u3: tuple[int, ...]) -> None:
        """Show one hospital some U3 in the attempt that it is in."""
        session = self.cohort.sessions.get(u)
        if session is not None and isinstance(session.state, Masked | Confirmed):
            self.show(u, SurvivorSet(session.state.attempt.session, u3))

    def survivor_signatures(self, u: int, of: list[int]) -> None:
        """Show one hospital whatever some members of its U3 have signed in its session."""
        state = self.cohort.sessions[u].state if u in self.cohort.sessions else None
        if isinstance(state, Confirmed):
            known = self.signatures[state.attempt.session]
            signers = [v for v in state.u3 if v in of and known[v]]
            listed = tuple(Signed(v, min(known[v])) for v in signers)
            self.show(u, SurvivorSignatures(state.attempt.session, listed))

    def matching_signatures(self, u: int) -> None:
        """Show one hospital everything that was signed of the very U3 that it signed."""
        state = self.cohort.sessions[u].state if u in self.cohort.sessions else None
        if isinstance(state, Confirmed):
            known = self.signatures[state.attempt.session]
            listed = tuple(
                Signed(v, signature)
                for v in state.u3
                for signature in known[v]
                if self._valid(state, Signed(v, signature))
            )
            self.show(u, SurvivorSignatures(state.attempt.session, listed))

    def replay(self, u: int, place: int) -> None:
        """Deliver something that anybody has been shown before."""
        if self.seen:
            self.show(u, self.seen[place % len(self.seen)])

    def restart(self, u: int) -> None:
        """The hospital's process dies and comes back with what its journal holds."""
        self.cohort.sessions.pop(u, None)
        journal = self.cohort.journals.get(u, [])
        for entry in reversed(journal):
            match entry:
                case Entered() | AbandonmentSigned() | Abandoned():
                    return  # the sealed answer of an earlier attempt is erased
                case SurvivorSigned():
                    self.cohort.sessions[u] = ClientSession(
                        restore(self.cohort.hospitals[u], entry)
                    )
                    return

    def ask_to_abandon(self, u: int, number: int) -> None:
        """As the node does: nothing is done in the round once its abandonment is signed."""
        cohort, standing = self.cohort, self.cohort.standings.get(u, Standing())
        try:
            entry = sign_abandonment(
                cohort.hospitals[u],
                AbandonmentRequest(number, cohort.base_model_hash, ""),
                standing=standing,
                base_model_hash=cohort.base_model_hash,
                newest_round=max(self.round, standing.entered[0]) + 1,
            )
        except PeerViolation:
            return
        self.abandoned[number][u] = entry.signature
        self._enter(u, entry)

    def show_abandonment(self, u: int, number: int) -> None:
        """Hand over an abandonment, if t hospitals have signed one."""
        policy, base = self.cohort.policy, self.cohort.base_model_hash
        document = abandonment(policy, number, base, self.abandoned[number])
        if document is not None:
            self._enter(u, check_abandonment(policy, document))

    def _enter(self, u: int, entry: AbandonmentSigned | Abandoned) -> None:
        cohort = self.cohort
        cohort.journals.setdefault(u, []).append(entry)
        cohort.standings[u] = cohort.standings.get(u, Standing()).after(entry)
        session = cohort.sessions.get(u)
        number = getattr(getattr(session and session.state, "attempt", None), "round", 0)
        if number <= entry.round:
            cohort.sessions.pop(u, None)

    # --- what must hold --------------------------------------------------------------------------

    def _check_quorum(self, state: Confirmed, shown: SurvivorSignatures) -> None:
        """At least t hospitals of U3 have signed the very U3 that this one signed."""
        valid = {s.u for s in shown.signatures if s.u in state.u3 and self._valid(state, s)}
        assert len(valid) >= self.cohort.policy.threshold

    def _valid(self, state: Confirmed, signed: Signed) -> bool:
        statement = context.survivor(state.attempt.session, state.u2_hash, signed.u, state.u3)
        return verify(self.cohort.policy.identity_key(signed.u), signed.signature, *statement)

    def check_journals(self) -> None:
        """One attempt per round is answered, and no other is entered while it is open."""
        for u in self.honest:
            answered: dict[int, set[int]] = defaultdict(set)
            open_answers: set[int] = set()
            for entry in self.cohort.journals.get(u, []):
                match entry:
                    case AnswerReleased(attempt):
                        answered[attempt.round].add(attempt.attempt)
                        open_answers.add(attempt.round)
                    case Entered():
                        assert not open_answers
                    case Abandoned(round=number):
                        open_answers = {r for r in open_answers if r > number}
            assert all(len(attempts) == 1 for attempts in answered.values())

    def check_releases(self) -> None:
        """Over all rounds from one base model, one sum at most was ever released: by t answers."""
        by_cohort: dict[tuple[bytes, tuple[int, ...]], set[int]] = defaultdict(set)
        for u, attempt, u3, _ in self.answers:
            by_cohort[attempt.session, u3].add(u)
        enough = self.cohort.policy.threshold - self.cohort.policy.corrupt
        released = [
            key for key, holders in by_cohort.items() if len(holders - {COLLUDER}) >= enough
        ]
        assert len(released) <= 1, released

    def check_loot(self) -> None:
        """Of no honest hospital does the server hold both secrets."""
        for loot in self.loot.values():
            both = loot.seeds().keys() & loot.privates().keys()
            assert not both & set(self.honest)


def a_schedule(seed: int) -> Adversary:
    """Fifty moves by lot, mostly such as lead to answers, and then whatever else."""
    lot = Random(seed)
    n = lot.choice([4, 5])
    cohort = assembled(template(n))
    cohort.open(vectors(cohort.policy), 1, 1)
    adversary = Adversary(cohort, attempt=1)
    members = list(cohort.policy.members)

    def some(least: int = 0) -> list[int]:
        return lot.sample(members, lot.randint(least, n))

    for _ in range(50):
        setting_up = isinstance(cohort.server.state, Advertising | Sharing | Masking)
        moves = {
            "play": 60 if setting_up else 12,
            "close": 6,
            "set": 0 if setting_up else 8,
            "matching": 0 if setting_up else 8,
            "signatures": 0 if setting_up else 2,
            "replay": 1,
            "attempt": 1 if setting_up else 4,
            "round": 1 if setting_up else 4,
            "restart": 1,
            "abandon": 1 if setting_up else 6,
            "abandonment": 1 if setting_up else 6,
        }
        match lot.choices(list(moves), list(moves.values()))[0]:
            case "play":
                adversary.play_by_the_rules(lot.choice([members, some(n - 1)]))
            case "close":
                cohort.server.close()
            case "set":
                sets = [tuple(sorted(some(n - 1))) for _ in "12"]
                for u in members:
                    u3 = lot.choice(sets)
                    if u in u3:
                        adversary.survivor_set(u, u3)
            case "matching":
                for u in some(n - 1):
                    adversary.matching_signatures(u)
            case "signatures":
                adversary.survivor_signatures(lot.choice(members), some(n - 1))
            case "replay":
                adversary.replay(lot.choice(members), lot.randrange(1000))
            case "attempt":
                adversary.open(next_round=False)
            case "round":
                adversary.open(next_round=True)
            case "restart":
                adversary.restart(lot.choice(members))
            case "abandon":
                number = lot.randint(adversary.round, adversary.round + 1)
                for u in some(n - 1):
                    adversary.ask_to_abandon(u, number)
            case "abandonment":
                number = lot.randint(adversary.round, adversary.round + 1)
                for u in members:
                    adversary.show_abandonment(u, number)
    return adversary


def looked_through(seed: int) -> Adversary:
    adversary = a_schedule(seed)
    adversary.check_journals()
    adversary.check_releases()
    adversary.check_loot()
    return adversary


def breached(seed: int) -> bool:
    try:
        looked_through(seed)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("batch", range(8))
def test_whatever_the_server_does(batch: int) -> None:
    ends = [looked_through(1000 * batch + number) for number in range(25)]
    # The lot reaches what is worth looking at.
    assert sum(len(end.answers) >= end.cohort.policy.threshold for end in ends) >= 3
    assert any(end.attempt > 1 or end.round > 1 for end in ends)


@pytest.mark.parametrize(
    "check",
    [
        Check.ROUND_OPEN,
        Check.ABANDON_ALLOWED,
        Check.SURVIVORS_QUORUM,
        Check.SURVIVORS_VALID,
    ],
)
def test_without_any_of_these_checks_the_lot_finds_a_breach(check: Check) -> None:
    with without(check):
        assert any(breached(seed) for seed in range(400))


def test_the_lot_reaches_answers_second_attempts_and_abandonments() -> None:
    """The schedule that plays by the rules gets answers; so the checks above have what to check."""
    cohort = assembled(template(4))
    cohort.open(vectors(cohort.policy), 1, 1)
    adversary = Adversary(cohort, attempt=1)
    for _ in range(5):
        adversary.play_by_the_rules(cohort.policy.members)
    assert len(adversary.answers) == cohort.policy.threshold
    adversary.check_journals()
    adversary.check_releases()
    adversary.check_loot()
    assert all(loot.seeds() for loot in adversary.loot.values())
    adversary.open(next_round=False)
    adversary.play_by_the_rules(cohort.policy.members)
    assert len([e for e in cohort.journals[2] if isinstance(e, Entered)]) == 1
    adversary.ask_to_abandon(2, 1)
    assert not adversary.abandoned[1]
