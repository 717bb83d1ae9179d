"""Attack 13 on a real server: a hospital answers with a share that is not the one it was dealt."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from secagg import context
from secagg.checks import Check
from secagg.rounds.r4_unmasking import Answered
from secagg.wire.messages import AttemptAborted, CertificateNotice, UnmaskingAnswer, Wire
from tests.attacks.processes.raid import Lie, Raid, raided
from tests.attacks.test_13_bad_shares import another_share
from tests.cohorts import changed

CHEAT = 2


def cheating(raid: Raid, answering: Iterable[int]) -> Lie:
    """The lie of hospital 2; of the others only ``answering`` answer."""

    def lie(u: int, message: Wire) -> Iterable[Wire]:
        if not isinstance(message, UnmaskingAnswer):
            return (message,)
        if u != CHEAT:
            return (message,) if u in answering else ()
        state = raid.cohort.sessions[u].state
        assert isinstance(state, Answered)
        wrong = another_share(message)
        statement = context.answer(state.u2_hash, state.u3, u, wrong)
        signature = raid.cohort.hospitals[u].identity.sign(*statement)
        return (changed(wrong, signature=signature),)

    return lie


def test_a_wrong_share_names_its_sender_and_the_round_completes(tmp_path: Path) -> None:
    with raided(tmp_path) as raid:
        raid.join(1, 2, 3, 4)
        notice = raid.run(CertificateNotice, cheating(raid, (1, 3, 4)))
        assert notice.certificate.u3 == (1, 2, 3, 4)
        violations = [entry for entry in raid.logged() if entry["event"] == "violation"]
        assert [(v["check"], v["peer"]) for v in violations] == [("CHK-452", "hospital-2")]


def test_without_the_commitments_an_honest_dealer_is_blamed(tmp_path: Path) -> None:
    with raided(tmp_path, removed=[Check.ANSWER_OPENS]) as raid:
        raid.join(1, 2, 3, 4)
        aborted = raid.run(AttemptAborted, cheating(raid, (3, 4)))
        assert "CHK-453" in aborted.reason
        assert "hospital-1" in aborted.reason
        assert not [entry for entry in raid.logged() if entry["event"] == "violation"]
