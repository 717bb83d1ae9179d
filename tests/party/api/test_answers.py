"""What a submission is answered, case by case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from party.api.answers import Answer, Refusal, Situation, answer
from party.client import View
from party.queue import State, Submission
from secagg.wire.messages import Certificate

SUBMISSION = Submission(
    id=7,
    number=5,
    kind="records",
    digest=bytes(32),
    patients=2,
    encrypted_bytes=400,
    submitted_at=0,
    finished_at=None,
    state=State.QUEUED,
    round=None,
    session=None,
)
VIEW = View(state="ready", round=4, closed=4, model_hash=bytes(32), problem=None)
NOW = Situation(SUBMISSION, (), VIEW, needed=3)
IN_FLIGHT = replace(NOW, view=replace(VIEW, state="answered", round=5, in_flight_batch=7))


def certificate(number: int) -> Certificate:
    return Certificate(
        policy_digest=bytes(32),
        round=number,
        attempt=1,
        base_model_hash=bytes(32),
        server_nonce=bytes(32),
        u2_hash=bytes(32),
        u3=(1, 2, 3),
        sum_digest=bytes(32),
        model_hash=bytes([number]) * 32,
        signatures=(),
    )


def used(number: int) -> Submission:
    return replace(SUBMISSION, state=State.USED, round=number)


def refused(now: Situation) -> Refusal:
    said = answer(now)
    assert isinstance(said, Refusal)
    return said


def warned(now: Situation) -> Answer:
    said = answer(now)
    assert isinstance(said, Answer)
    assert said.warning is not None
    return said


def test_while_nothing_has_happened_there_is_nothing_to_say() -> None:
    assert answer(NOW) is None
    assert answer(IN_FLIGHT) is None
    assert answer(replace(NOW, certificates=(certificate(4),))) is None


def test_used_the_result_of_its_round_is_final() -> None:
    certificates = (certificate(4), certificate(5), certificate(6))
    said = answer(replace(NOW, submission=used(5), certificates=certificates))
    assert said == Answer(round=5, participants=3, model_hash="05" * 32)


def test_used_in_a_later_round_it_is_that_rounds_result() -> None:
    certificates = (certificate(5), certificate(6))
    said = answer(replace(NOW, submission=used(6), certificates=certificates))
    assert said == Answer(round=6, participants=3, model_hash="06" * 32)


def test_used_a_moment_ago_it_waits_for_the_certificate() -> None:
    assert answer(replace(NOW, submission=used(5), certificates=(certificate(4),))) is None


@pytest.mark.parametrize(("rounds", "told"), [((5,), 5), ((4, 6, 7), 6), ((9,), 9)])
def test_missed_it_is_the_first_result_at_or_after_its_number(
    rounds: tuple[int, ...], told: int
) -> None:
    view = replace(VIEW, closed=rounds[-1])
    certificates = tuple(map(certificate, rounds))
    said = warned(replace(NOW, certificates=certificates, view=view, unreachable=True))
    assert (said.round, said.model_hash) == (told, f"{told:02x}" * 32)
    assert f"go on with round number {rounds[-1] + 1}" in str(said.warning)


def test_in_flight_it_waits_even_if_its_number_is_over() -> None:
    assert answer(replace(IN_FLIGHT, certificates=(certificate(5),))) is None


def test_replaced_or_withdrawn() -> None:
    assert refused(replace(NOW, submission=replace(SUBMISSION, state=State.REPLACED))).status == 409
    gone = replace(SUBMISSION, state=State.WITHDRAWN)
    assert refused(replace(NOW, submission=gone)).status == 403


def test_an_update_of_an_old_model_is_to_be_computed_anew() -> None:
    outdated = replace(SUBMISSION, kind="update", state=State.OUTDATED)
    said = refused(replace(NOW, submission=outdated, certificates=(certificate(5),)))
    assert said.status == 409
    assert "fetch GET /models/latest" in said.detail


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("budget exhausted", 403),
        ("attempts exhausted", 503),
        ("batch unusable", 503),
        ("disputed", 503),
    ],
)
def test_what_the_operator_has_to_decide_is_said_at_once(state: str, status: int) -> None:
    said = refused(replace(NOW, view=replace(VIEW, state=state, problem="raise [budget]")))
    assert said.status == status
    assert "raise [budget]" in said.detail
    # It does not concern a batch that is in a round already.
    assert answer(replace(IN_FLIGHT, view=replace(IN_FLIGHT.view, state=state))) is None


@pytest.mark.parametrize("now", [NOW, IN_FLIGHT])
def test_without_a_server_the_batch_is_kept(now: Situation) -> None:
    said = refused(replace(now, unreachable=True))
    assert said.status == 503
    assert "The batch is kept" in said.detail


@pytest.mark.parametrize(
    ("gathered", "told"),
    [(None, "1 hospital"), (0, "1 hospital"), (1, "1 hospital"), (2, "2 hosp")],
)
def test_out_of_time_with_too_few_hospitals(gathered: int | None, told: str) -> None:
    said = warned(replace(NOW, gathered=gathered, over=True))
    assert str(said.warning).startswith(f"Only {told}")
    assert str(said.warning).endswith("participated. Waiting for more.")
    assert said.round == 5
    assert said.model_dump(exclude_none=True).keys() == {"round", "participants", "warning"}


def test_the_manuals_words() -> None:
    said = warned(replace(NOW, over=True))
    assert said.warning == "Only 1 hospital participated. Waiting for more."


def test_out_of_time_although_there_are_enough() -> None:
    said = warned(replace(NOW, gathered=3, over=True))
    assert (said.participants, said.model_hash) == (3, None)
    assert "has not begun" in str(said.warning)


@pytest.mark.parametrize(("survivors", "participants"), [(None, 2), (4, 4)])
def test_out_of_time_in_a_round(survivors: int | None, participants: int) -> None:
    said = warned(replace(IN_FLIGHT, gathered=2, survivors=survivors, over=True))
    assert (said.round, said.participants, said.model_hash) == (5, participants, None)
    assert "awaiting unmasking" in str(said.warning)
