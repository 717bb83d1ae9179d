"""The history of rounds: whatever has become of a batch, its round says so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from party.config import Api
from party.history import History, RoundRecord, RoundStatus
from secagg.policy import NoiseSpec
from secagg.privacy.budget import Charge
from secagg.rounds.journal import Abandoned
from secagg.rounds.r3_consistency_check import Checking
from secagg.wire.messages import CertificateNotice, ModelRequest
from tests.party.api.serving import services
from tests.party.consortium import Consortium, assemble, posted


@pytest.fixture
def consortium(tmp_path: Path) -> Iterator[Consortium]:
    """Four hospitals with queues."""
    made = assemble(tmp_path, posting=True)
    yield made
    made.close()


def history(consortium: Consortium, u: int = 1) -> History:
    shown = services(consortium, Api(port=0), u)
    return History(u, shown.node, shown.journal, shown.ledger, shown.queue)


def rounds(consortium: Consortium, u: int = 1) -> list[tuple[int, str]]:
    return [(each.round, each.status) for each in history(consortium, u).rounds()]


def only(consortium: Consortium, number: int, u: int = 1) -> RoundRecord:
    found = history(consortium, u).round(number)
    assert found is not None
    return found


def post(consortium: Consortium, number: int) -> None:
    for party in consortium.parties.values():
        party.client.submit(posted(number))


def test_nothing_has_happened_yet(consortium: Consortium) -> None:
    assert history(consortium).rounds() == []
    assert history(consortium).round(1) is None


def test_a_batch_that_waits_stands_at_its_number(consortium: Consortium) -> None:
    consortium.parties[1].client.submit(posted(4))
    consortium.parties[1].client.submit(posted(7))
    assert rounds(consortium) == [(7, "queued"), (4, "queued")]
    record = only(consortium, 4)
    assert record.patients_submitted == 1
    assert record.data_size_encrypted == 48
    assert record.submission_time is not None
    assert abs((datetime.now(UTC) - record.submission_time).total_seconds()) < 60
    assert record.submission_latency is None
    assert record.model_hash is None
    assert record.privacy_epsilon_used == 0


def test_a_certified_round_has_batch_model_and_cost(consortium: Consortium) -> None:
    post(consortium, 1)
    consortium.round(1)
    party = consortium.parties[1]
    assert party.ledger is not None
    (submission,) = party.queue.submissions() if party.queue else ()
    assert submission.finished_at is not None
    assert only(consortium, 1) == RoundRecord(
        round=1,
        submission_time=datetime.fromtimestamp(submission.submitted_at, UTC),
        patients_submitted=1,
        data_size_encrypted=48,
        submission_latency=submission.finished_at - submission.submitted_at,
        model_hash=party.chain.held.model_hash.hex(),
        privacy_epsilon_used=party.ledger.budget().epsilon_spent(),
        status=RoundStatus.CERTIFIED,
    )


def test_a_round_costs_what_all_its_attempts_have_cost(consortium: Consortium) -> None:
    post(consortium, 1)
    consortium.announce(1)
    consortium.until(Checking)
    assert only(consortium, 1).status is RoundStatus.IN_PROGRESS
    assert only(consortium, 1).patients_submitted == 1
    consortium.round(1, attempt=2)
    ledger = consortium.parties[1].ledger
    assert ledger is not None
    record = only(consortium, 1)
    assert record.status is RoundStatus.CERTIFIED
    twice = Charge(2 * ledger.cost.sum.rho, 2 * ledger.cost.sum.samples)
    assert record.privacy_epsilon_used == pytest.approx(twice.epsilon(ledger.delta))


def test_a_batch_stands_in_the_round_that_it_entered_and_then_waits_on(
    consortium: Consortium,
) -> None:
    post(consortium, 1)
    consortium.announce(1)
    consortium.until(Checking)
    party = consortium.parties[1]
    party.restart()  # the attempt is dead, and the server gives the round up
    party.journal.record((Abandoned(1),))
    assert rounds(consortium) == [(2, "queued"), (1, "abandoned")]
    first, second = only(consortium, 1), only(consortium, 2)
    assert first.submission_time == second.submission_time is not None
    assert first.submission_latency is None
    assert first.privacy_epsilon_used
    assert second.privacy_epsilon_used == 0


def test_a_round_without_this_hospital_is_missed(consortium: Consortium) -> None:
    post(consortium, 1)
    consortium.gone = {4}
    consortium.round(1)
    stale, holder = consortium.parties[4], consortium.parties[1]
    certificate = holder.journal.certificate
    assert certificate is not None
    (request,) = stale.handle(CertificateNotice(certificate))
    assert isinstance(request, ModelRequest)
    for message in holder.handle(request):
        stale.handle(message)
    assert rounds(consortium, u=4) == [(2, "queued"), (1, "missed")]
    record = only(consortium, 1, u=4)
    assert record.model_hash == certificate.model_hash.hex()
    assert record.privacy_epsilon_used == 0
    assert record.submission_time is None


def test_the_lowest_of_several_late_batches_is_next(consortium: Consortium) -> None:
    post(consortium, 5)
    consortium.round(5)
    client = consortium.parties[1].client
    client.submit(posted(3, vector=(0, 0, 0, 0, 0, 48)))
    client.submit(posted(4, vector=(0, 0, 0, 0, 0, 32)))
    assert rounds(consortium) == [(6, "queued"), (5, "certified")]
    assert only(consortium, 6).patients_submitted == 3


def test_a_node_that_trains_on_a_file_has_no_submissions(tmp_path: Path) -> None:
    standing = assemble(tmp_path)
    standing.round(1)
    record = only(standing, 1)
    assert record.status is RoundStatus.CERTIFIED
    assert record.submission_time is None
    assert record.patients_submitted is None
    assert record.data_size_encrypted is None
    assert record.submission_latency is None
    assert record.privacy_epsilon_used
    standing.close()


def test_without_noise_no_round_claims_a_cost(tmp_path: Path) -> None:
    plain = assemble(tmp_path, noise=NoiseSpec())
    plain.round(1)
    assert only(plain, 1).privacy_epsilon_used is None
    plain.close()
