"""``GET /rounds/{number}/transcript`` over HTTP."""

from __future__ import annotations

from party.transcripts import Transcripts
from secagg.transcript.record import decode
from secagg.transcript.verification import Outcome, verify_transcript
from tests.party.api.serving import serving
from tests.party.consortium import Consortium


async def test_a_transcript_that_is_held_is_served(consortium: Consortium) -> None:
    consortium.round(1)
    assert consortium.transcript is not None
    Transcripts(consortium.parties[1].engine).put(consortium.transcript)
    async with serving(consortium) as client:
        reply = await client.get("/rounds/1/transcript")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/octet-stream"
    assert 'filename="1-1.transcript"' in reply.headers["content-disposition"]
    verified = verify_transcript(decode(reply.content), consortium.policy)
    assert verified.outcome is Outcome.CERTIFIED


async def test_without_a_server_what_is_not_held_is_503(consortium: Consortium) -> None:
    async with serving(consortium) as client:
        reply = await client.get("/rounds/1/transcript")
        assert reply.status_code == 503
        assert "/status" in reply.json()["detail"]
        assert (await client.get("/rounds/0/transcript")).status_code == 422
