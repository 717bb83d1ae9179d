"""The one table of transitions: which message each state accepts, and which function takes it.

Everything that is not in the table is refused (CHK-601). docs/protocol.md draws its diagram from
here; a test walks the table and its complement.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final

from secagg.rounds.machine import Aborted, ServerState, ServerStep, Step
from secagg.rounds.r0_advertise_keys import Advertised, Advertising, collect_advertisement
from secagg.rounds.r1_share_keys import (
    Shared,
    Sharing,
    collect_share_keys,
    relay_advertisements,
    share_keys,
)
from secagg.rounds.r2_masked_input import (
    Masked,
    MaskedInputReceived,
    Masking,
    collect_masked_input,
    deliver_shares,
    judge_complaint,
    mask_input,
)
from secagg.rounds.r3_consistency_check import (
    Checking,
    Confirmed,
    announce_survivors,
    collect_survivor_signature,
    confirm,
)
from secagg.rounds.r4_unmasking import (
    Unmasked,
    Unmasking,
    answer,
    collect_answer,
    reconstruct,
    relay_survivor_signatures,
)
from secagg.rounds.r5_certification import (
    Certifying,
    Concluded,
    SumSigned,
    collect_certificate_share,
    conclude,
    conclude_round,
)
from secagg.wire.messages import (
    AdvertiseKeys,
    CertificateNotice,
    CertificateShare,
    Complaint,
    KeyRoster,
    ShareDelivery,
    ShareKeys,
    SurvivorSet,
    SurvivorSignature,
    SurvivorSignatures,
    UnmaskingAnswer,
)

#: Client: in this state, on this message, this function makes the step.
CLIENT: Final[Mapping[tuple[type, type], Callable[..., Step[Any]]]] = {
    (Advertised, KeyRoster): share_keys,
    (Shared, ShareDelivery): mask_input,
    (Masked, SurvivorSet): confirm,
    (Confirmed, SurvivorSignatures): answer,
    (SumSigned, CertificateNotice): conclude,
}

#: Server: in this state, this message of one client is collected.
COLLECT: Final[Mapping[tuple[type, type], Callable[..., ServerState]]] = {
    (Advertising, AdvertiseKeys): collect_advertisement,
    (Sharing, ShareKeys): collect_share_keys,
    (Masking, MaskedInputReceived): collect_masked_input,
    (Checking, SurvivorSignature): collect_survivor_signature,
    (Unmasking, UnmaskingAnswer): collect_answer,
    (Certifying, CertificateShare): collect_certificate_share,
}

#: Server: this message may end the stage by itself.
JUDGE: Final[Mapping[tuple[type, type], Callable[..., ServerStep[ServerState]]]] = {
    (Masking, Complaint): judge_complaint,
}

#: Server: the states in the order in which an attempt passes them, terminal ones last. A message
#: for a state that is over comes too late: it is ignored, and its sender is not in the set.
ORDER: Final[tuple[type, ...]] = (
    Advertising,
    Sharing,
    Masking,
    Checking,
    Unmasking,
    Unmasked,
    Certifying,
    Concluded,
    Aborted,
)

#: Server: how a stage ends, when everybody awaited has answered or its deadline has passed.
CLOSE: Final[Mapping[type, Callable[..., ServerStep[ServerState]]]] = {
    Advertising: relay_advertisements,
    Sharing: deliver_shares,
    Masking: announce_survivors,
    Checking: relay_survivor_signatures,
    Unmasking: reconstruct,
    Certifying: conclude_round,
}


def diagrams() -> str:
    """The table as two Mermaid state diagrams, as docs/protocol.md shows them."""
    client = [
        f"    {state.__name__} --> {following}: {message.__name__}"
        for (state, message), function in CLIENT.items()
        for following in _next(function)
    ]
    server = [
        f"    {state.__name__} --> {state.__name__}: {message.__name__}"
        for state, message in COLLECT
    ]
    server += [
        f"    {state.__name__} --> Aborted: {message.__name__}, proven" for state, message in JUDGE
    ]
    server += [
        f"    {state.__name__} --> {following.__name__}: {CLOSE[state].__name__}"
        for state, following in pairwise(ORDER)
        if state in CLOSE
    ]
    return "\n".join(("stateDiagram-v2", *client, "", "stateDiagram-v2", *server))


def _next(function: Callable[..., Step[Any]]) -> list[str]:
    """The states that a client's function leads to, from its annotation."""
    return re.findall(r"Step\[(\w+)\]", str(function.__annotations__["return"]))
