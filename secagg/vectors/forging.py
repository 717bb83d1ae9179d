"""What somebody who holds keys can put into a message: the edits that need more than the message.

A forger signs with any key of the cohort: it stands for whoever is malicious in a vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import msgspec
import numpy as np

from secagg import context
from secagg.crypto import merkle
from secagg.crypto.hashing import Label
from secagg.crypto.secret import Secret
from secagg.rounds.r0_advertise_keys import channel_pair
from secagg.rounds.r1_share_keys import leaves
from secagg.transcript import record as transcripts
from secagg.vector.aggregate import vector_digest
from secagg.vector.packing import pack
from secagg.vectors.cohort import Cohort
from secagg.vectors.document import VectorError
from secagg.vectors.edits import Special
from secagg.wire.messages import Certificate, PublishedSum, ShareKeys, UnmaskingAnswer


@final
class Forger:
    """Signs, digests and packs for the edits of one message. ``channel_seeds``: by client."""

    def __init__(self, cohort: Cohort, channel_seeds: Mapping[int, bytes], sender: int) -> None:
        self._cohort, self._channel_seeds, self._sender = cohort, channel_seeds, sender

    def edits(self) -> Mapping[str, Special]:
        """By name; the argument of each stands in its own words in docs/test-vectors.md."""
        return {
            "sign": self._sign,
            "session": lambda _whole, _at, nothing: self._session(nothing),
            "masked_digest": lambda _whole, _at, nothing: self._masked_digest(nothing),
            "sum_digest": lambda _whole, _at, values: self._sum_digest(values),
            "packed": lambda _whole, _at, values: self._packed(values),
            "channel_private_key": lambda _whole, _at, pair: self._channel_private_key(*pair),
        }

    def _session(self, nothing: None) -> bytes:
        _refuse_argument(nothing)
        return self._cohort.attempt.session

    def _masked_digest(self, nothing: None) -> bytes:
        """Of what the server has received from the sender."""
        _refuse_argument(nothing)
        return self._cohort.received_digest(self._sender)

    def _sum_digest(self, values: list[int]) -> bytes:
        return vector_digest(Label.SUM, np.array(values, np.int64), self._cohort.policy.ring)

    def _packed(self, values: list[int]) -> bytes:
        ring = self._cohort.policy.ring
        return pack(ring.encode(np.array(values, np.int64)), ring.bits)

    def _channel_private_key(self, u: int, peer: int) -> bytes:
        if u not in self._channel_seeds:
            raise VectorError(f"client {u} has no channel keys")
        return channel_pair(Secret(self._channel_seeds[u]), peer).private.reveal()

    def _sign(self, whole: Any, at: list[int], by: int) -> bytes:
        """The signature of ``by`` that belongs at ``at``, over what stands around it."""
        if by not in self._cohort.identities:
            raise VectorError(f"there is no client {by}")
        around = whole
        for step in at[:-1]:
            around = around[step]
        return self._cohort.identities[by].sign(*self._statement(whole, around, by))

    def _statement(self, whole: Any, around: Any, by: int) -> context.Statement:
        state: Any = self._cohort.server.state
        session = self._cohort.attempt.session
        match whole[0]:
            case "Announcement":
                return context.Attempt(*whole[1:6]).statement()
            case "AdvertiseKeys" | "KeyRoster":
                return context.advertisement(session, *around[:3])
            case "ShareKeys":
                dealt = _as(whole, ShareKeys)
                listed = leaves(state.roster_digest, by, dealt.own, dealt.shares)
                root = merkle.root(list(listed.values()))
                return context.share_keys(state.roster_digest, by, root, dealt.seed_commitment)
            case "Complaint":
                return context.complaint(state.roster_digest, by, whole[2], whole[3])
            case "MaskedInputSignature":
                return context.masked_input(state.u2_hash, by, whole[2])
            case "UnmaskingAnswer":
                return context.answer(state.u2_hash, state.u3, by, _as(whole, UnmaskingAnswer))
            case "SumAnnouncement" | transcripts.SCHEMA:
                return context.published_sum(_as(around, PublishedSum))
            case "CertificateNotice":
                certificate = _as(whole[1], Certificate)
                return context.certificate(certificate, certificate.model_hash)
        raise VectorError(f"no forger signs a {whole[0]}")


def _as(values: Any, kind: Any) -> Any:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(values), type=kind)


def _refuse_argument(nothing: object) -> None:
    if nothing is not None:
        raise VectorError(f"this edit has no argument, not {nothing}")
