"""Sessions: states are replaced in one place; a violation ends a client's and spares a server's."""

from __future__ import annotations

import pytest

from secagg.checks import Check
from secagg.errors import PeerViolation
from secagg.policy import NoiseSpec
from secagg.privacy.accounting import RHO_UNIT
from secagg.rounds.journal import AnswerReleased, Charged, Entered, SurvivorSigned
from secagg.rounds.machine import Aborted, ServerStep
from secagg.rounds.r0_advertise_keys import Advertised
from secagg.rounds.r2_masked_input import Masking
from secagg.rounds.r4_unmasking import Unmasked, Unmasking
from secagg.rounds.r5_certification import Certifying, Concluded, publish_sum
from secagg.rounds.session import ClientSession, ServerSession
from tests.cohorts import (
    changed,
    delivered,
    message_for,
    opened,
    plain_sum,
    reach,
    refused,
    state_of,
    step,
    template,
)

EXACT = NoiseSpec(mode="exact", sensitivity=1000, rho_units=int(1 / RHO_UNIT))


def test_a_client_says_what_it_expects_from_state_to_state() -> None:
    cohort = opened()
    seen = []
    for _ in range(7):
        if 1 in cohort.sessions:
            seen.append(cohort.sessions[1].expects)
        step(cohort, (2, 3, 4, 1))
    assert seen == [
        "KeyRoster",
        "ShareDelivery",
        "SurvivorSet",
        "SurvivorSignatures",
        None,  # it has answered; the sum comes to any hospital, in whatever session it was
        "CertificateNotice",
    ]


def test_what_a_client_makes_durable_in_an_undisturbed_attempt() -> None:
    cohort = opened()
    reach(cohort, Unmasking)
    delivered(cohort, 1, message_for(cohort, 1))
    kinds = [type(entry) for entry in cohort.journals[1]]
    assert kinds == [Entered, Charged, SurvivorSigned, AnswerReleased]


def test_a_refused_message_leaves_the_clients_state_and_journal() -> None:
    cohort = opened()
    step(cohort)
    before, journal = state_of(cohort, 1, Advertised), list(cohort.journals[1])
    roster = message_for(cohort, 1)
    with refused(Check.U1_LARGE_ENOUGH):
        delivered(cohort, 1, changed(roster, advertised=roster.advertised[:1]))
    assert cohort.sessions[1].state is before
    assert cohort.journals[1] == journal


def test_one_bad_message_costs_the_server_nothing() -> None:
    cohort = opened()
    step(cohort, [1])
    before = cohort.server.state
    (good,) = delivered(cohort, 2, message_for(cohort, 2))
    with pytest.raises(PeerViolation):
        cohort.collect(2, changed(good, round=9))
    assert cohort.server.state is before
    cohort.collect(2, good)
    assert cohort.server.state.awaited() == {3, 4}


def test_a_stage_ends_by_itself_with_its_last_message() -> None:
    cohort = opened()
    replies = {u: delivered(cohort, u, message_for(cohort, u))[0] for u in cohort.policy.members}
    ends = [cohort.collect(u, reply) for u, reply in replies.items()]
    assert ends == [frozenset()] * 3 + [frozenset({1, 2, 3, 4})]


def test_with_noise_to_remove_the_server_waits_for_more_than_t_answers() -> None:
    """Every answer takes its surplus out; t are enough for the sum, and all make it better."""
    for noise, ends_at_t in ((NoiseSpec(), True), (EXACT, False)):
        cohort = opened(template(5, noise=noise))
        reach(cohort, Unmasking)
        step(cohort, [1, 2, 3, 4])
        assert isinstance(cohort.server.state, Certifying) == ends_at_t
        if not ends_at_t:
            assert cohort.server.state.awaited() == {5}
            cohort.server.close()
            assert isinstance(cohort.server.state, Unmasked)


def test_the_sum_is_computed_outside_and_handed_in_where_it_is_awaited() -> None:
    cohort = opened()
    unmasking = reach(cohort, Unmasking)
    answers = {u: delivered(cohort, u, message_for(cohort, u))[0] for u in (1, 2, 3)}
    session = ServerSession(ServerStep(unmasking))
    for u, answer in answers.items():
        session.handle(u, answer)
    state = session.state
    assert isinstance(state, Unmasked)
    published = publish_sum(state, plain_sum(cohort, (1, 2, 3, 4)))
    assert session.advance(published) == {1, 2, 3, 4}
    assert isinstance(session.state, Certifying)
    with refused(Check.EXPECTED_MESSAGE):
        session.advance(published)


@pytest.mark.parametrize("kind", [Masking, Unmasking, Certifying])
def test_a_session_is_not_over_before_its_end(kind: type) -> None:
    cohort = opened()
    reach(cohort, kind)
    assert not cohort.server.over


def test_a_session_is_over_when_certified_or_aborted() -> None:
    certified, aborted = opened(), opened()
    reach(certified, Concluded)
    assert certified.server.over
    aborted.server.close()
    assert isinstance(aborted.server.state, Aborted)
    assert aborted.server.over


def test_a_session_can_start_from_any_state() -> None:
    cohort = opened()
    state = reach(cohort, Masking)
    session = ServerSession(ServerStep(state))
    assert session.state is state
    client = ClientSession(cohort.sessions[1].state)
    assert client.expects == "ShareDelivery"
