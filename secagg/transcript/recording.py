"""From the server's last state of an attempt to its transcript."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from secagg import context
from secagg.crypto.secret import Secret
from secagg.rounds.machine import ServerState
from secagg.rounds.r0_advertise_keys import Advertising, ClientKeys
from secagg.rounds.r1_share_keys import Dealt, Sharing
from secagg.rounds.r2_masked_input import Masking
from secagg.rounds.r3_consistency_check import Checking, signed
from secagg.rounds.r4_unmasking import Unmasked, Unmasking
from secagg.transcript.record import AnswerRecord, MaskedInputRecord, OpenedSecret, Transcript
from secagg.vector.packing import pack
from secagg.wire.messages import (
    MAX_REASON,
    Advertisement,
    Announcement,
    Certificate,
    Dealing,
    MaskedInputSignature,
    PublishedSum,
    UnmaskingAnswer,
)


def aborted(last: ServerState, reason: str) -> Transcript:
    """Of an attempt without a sum; ``last``: the state that it was in when it ended."""
    return msgspec.structs.replace(_until(last), ended=reason[:MAX_REASON])


def published(last: Unmasked, facts: PublishedSum, total: NDArray[np.int64]) -> Transcript:
    """Of an attempt whose sum is published and not yet certified."""
    ring = last.policy.ring
    return msgspec.structs.replace(
        _until(last), published=facts, total=pack(ring.encode(total), ring.bits)
    )


def certified(transcript: Transcript, certificate: Certificate) -> Transcript:
    """The same with the certificate that the round has got."""
    return msgspec.structs.replace(transcript, certificate=certificate)


def _until(state: ServerState) -> Transcript:
    found = Transcript(announcement=_announcement(state))
    changes: dict[str, object] = {}
    match state:
        case Advertising():
            changes = {"advertisements": _clients_keys(state.advertised)}
        case Sharing():
            changes = {
                "advertisements": _clients_keys(state.advertised),
                "dealings": _dealings(state.dealt),
            }
        case Masking():
            changes = {
                "advertisements": _clients_keys(state.keys),
                "dealings": _dealings(state.dealt),
                "masked_inputs": _masked(state.masked),
            }
        case Checking() | Unmasking():
            changes = _checked(state)
            if isinstance(state, Unmasking):
                changes["answers"] = _answers(state.answers)
        case Unmasked():
            changes = _checked(state.answered) | {
                "answers": _answers(state.answered.answers),
                "self_mask_seeds": _opened(state.self_mask_seeds),
                "mask_keys": _opened(state.mask_keys),
            }
        case _:
            pass
    return msgspec.structs.replace(found, **changes)


def _announcement(state: ServerState) -> Announcement:
    attempt = state.attempt
    return Announcement(
        policy_digest=attempt.policy_digest,
        round=attempt.round,
        attempt=attempt.attempt,
        base_model_hash=attempt.base_model_hash,
        server_nonce=attempt.server_nonce,
        signature=state.identity.sign(*attempt.statement()),
    )


def _checked(state: Checking | Unmasking) -> dict[str, object]:
    return {
        "advertisements": _ascending(state.keys),
        "dealings": _dealings(state.dealt),
        "masked_inputs": _masked(state.masked),
        "survivor_signatures": signed(state.signatures),
    }


def _clients_keys(keys: Mapping[int, ClientKeys]) -> tuple[Advertisement, ...]:
    return _ascending({u: each.advertisement for u, each in keys.items()})


def _ascending(keys: Mapping[int, Advertisement]) -> tuple[Advertisement, ...]:
    return tuple(keys[u] for u in sorted(keys))


def _dealings(dealt: Mapping[int, Dealt]) -> tuple[Dealing, ...]:
    return tuple(dealt[u].dealing for u in sorted(dealt))


def _masked(masked: Mapping[int, MaskedInputSignature]) -> tuple[MaskedInputRecord, ...]:
    return tuple(
        MaskedInputRecord(u, message.masked_digest, message.signature)
        for u, message in sorted(masked.items())
    )


def _answers(answers: Mapping[int, UnmaskingAnswer]) -> tuple[AnswerRecord, ...]:
    return tuple(
        AnswerRecord(u, context.opened_shares(each), each.surplus_seeds, each.signature)
        for u, each in sorted(answers.items())
    )


def _opened(secrets: Mapping[int, Secret]) -> tuple[OpenedSecret, ...]:
    revealed: Iterable[tuple[int, Secret]] = sorted(secrets.items(), key=lambda each: each[0])
    return tuple(OpenedSecret(u, secret.reveal()) for u, secret in revealed)
