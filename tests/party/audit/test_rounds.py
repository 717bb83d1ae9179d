"""Whatever happens in a round, journal and audit log tell the same story."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from party.audit.line import decode_head
from party.audit.verification import verify
from party.journal import ENTRIES
from secagg.rounds.r0_advertise_keys import Advertising
from secagg.rounds.r1_share_keys import Sharing
from secagg.rounds.r2_masked_input import Masking
from secagg.rounds.r3_consistency_check import Checking
from secagg.rounds.r4_unmasking import Unmasking
from secagg.rounds.r5_certification import Certifying, Concluded
from secagg.wire.messages import CertificateNotice
from tests.party.consortium import Consortium, Party, posted

NAMES = {
    "Entered": "round entered",
    "Charged": "privacy charged",
    "SurvivorSigned": "survivors signed",
    "AnswerReleased": "answer released",
    "CertificateSigned": "model signed",
    "Certified": "round certified",
    "AbandonmentSigned": "abandonment signed",
    "Abandoned": "round abandoned",
}


def directory(party: Party) -> Path:
    return party.path.with_suffix("")


def told(party: Party) -> list[str]:
    """What the audit log tells, in order, of what the journal tells."""
    lines = (directory(party) / "audit.jsonl").read_bytes().splitlines(keepends=True)
    head = decode_head((directory(party) / "audit.head").read_bytes())
    assert verify(lines, party.hospital.identity.public.hex(), [head]).head == head
    events = [json.loads(line)["event"] for line in lines]
    return [event for event in events if event in NAMES.values()]


def journalled(party: Party) -> list[str]:
    with party.engine.connect() as connection:
        kinds = connection.execute(select(ENTRIES.c.kind).order_by(ENTRIES.c.id)).scalars()
        return [NAMES[kind] for kind in kinds]


@pytest.mark.parametrize(
    "reached", [Advertising, Sharing, Masking, Checking, Unmasking, Certifying, Concluded]
)
def test_journal_and_log_agree_wherever_a_hospital_dies(posting: Consortium, reached: type) -> None:
    for party in posting.parties.values():
        party.client.submit(posted(1))
    posting.announce(1)
    posting.until(reached)
    lost = posting.parties[4]
    lost.restart()
    assert told(lost) == journalled(lost)
    posting.gone = {4}
    posting.run(posting.policy.members)
    assert isinstance(posting.server.state, Concluded)
    for request in lost.handle(CertificateNotice(posting.server.state.certificate)):
        for message in posting.parties[1].handle(request):
            lost.handle(message)
    for party in posting.parties.values():
        assert told(party) == journalled(party)
        assert told(party)[-1] == "round certified"


def test_a_batch_is_named_by_nothing_that_could_be_guessed(posting: Consortium) -> None:
    """Not even its posted digest's input; only what is keyed, counted or public."""
    party = posting.parties[1]
    submitted = party.client.submit(posted(1))
    posting.announce(1)
    (announcement,) = posting.server.state.outbound(1)
    party.handle(announcement)
    lines = (directory(party) / "audit.jsonl").read_text().splitlines()
    events = {json.loads(line)["event"]: json.loads(line)["fields"] for line in lines}
    assert events["submission accepted"] == {
        "submission": submitted.id,
        "round": 1,
        "kind": "records",
        "batch": submitted.digest.hex(),
        "patients": submitted.patients,
        "encrypted_bytes": submitted.encrypted_bytes,
        "replaced": False,
    }
    assert events["round entered"]["submission"] == submitted.id
