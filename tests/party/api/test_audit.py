"""GET /audit/head: what another machine keeps of the audit log."""

from __future__ import annotations

from party.audit.events import Returned
from party.audit.line import decode_head
from party.audit.verification import verify
from party.config import Api
from tests.party.api.serving import services, serving
from tests.party.consortium import Consortium


async def test_the_head_that_is_served_holds_the_log_to_it(consortium: Consortium) -> None:
    directory = consortium.parties[1].path.parent
    async with serving(consortium) as client:
        answer = await client.get("/audit/head")
    assert answer.status_code == 200
    head = decode_head(answer.content)
    assert answer.content + b"\n" == (directory / "audit.head").read_bytes()
    key = consortium.policy.identity_key(1).hex()
    assert head.identity_key == key
    services(consortium, Api()).audit.write(Returned())
    lines = (directory / "audit.jsonl").read_bytes().splitlines(keepends=True)
    found = verify(lines, key, [head])
    assert (found.held_to, found.head.seq) == (1, head.seq + 2)
