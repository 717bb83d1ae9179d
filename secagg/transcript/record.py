"""What stands in a transcript, and its bytes: one msgpack value, tagged with its schema."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from secagg.context import Attempt
from secagg.crypto.hashing import Label, digest
from secagg.errors import DecodeError
from secagg.wire.messages import (
    MAX_CLIENTS,
    Advertisement,
    Announcement,
    Bytes32,
    Certificate,
    Client,
    Dealing,
    Part,
    PublishedSum,
    Reason,
    Signature,
    Signatures,
)

SCHEMA: Final = "secagg-transcript/1"
MAX_TRANSCRIPT_BYTES: Final = 2**31

_Seeds = Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=MAX_CLIENTS)]


class MaskedInputRecord(Part, frozen=True):
    """Client u's signature on the digest of its masked input."""

    u: Client
    masked_digest: Bytes32
    signature: Signature


class AnswerRecord(Part, frozen=True):
    """What of client u's answer may be kept: the digest of its shares, the seeds of its own noise
    that it disclosed, and the signature over both.
    """

    u: Client
    shares_digest: Bytes32
    surplus_seeds: _Seeds
    signature: Signature

    def __repr__(self) -> str:
        return f"AnswerRecord(u={self.u})"


class OpenedSecret(Part, frozen=True):
    """A reconstructed secret of client u: b_u of a survivor, the mask key of who dropped."""

    u: Client
    secret: Bytes32

    def __repr__(self) -> str:
        return f"OpenedSecret(u={self.u})"


_Listed = msgspec.Meta(max_length=MAX_CLIENTS)


class Transcript(Part, frozen=True, kw_only=True):
    """One attempt, as far as it got; a set that was never announced is empty.

    ``total``: the published sum, bit-packed in the policy's ring; empty without one. ``ended``: why
    an attempt has no sum; empty if it has one. Every list is ascending by client.
    """

    schema: Literal["secagg-transcript/1"] = SCHEMA
    announcement: Announcement
    advertisements: Annotated[tuple[Advertisement, ...], _Listed] = ()
    dealings: Annotated[tuple[Dealing, ...], _Listed] = ()
    masked_inputs: Annotated[tuple[MaskedInputRecord, ...], _Listed] = ()
    survivor_signatures: Signatures = ()
    answers: Annotated[tuple[AnswerRecord, ...], _Listed] = ()
    self_mask_seeds: Annotated[tuple[OpenedSecret, ...], _Listed] = ()
    mask_keys: Annotated[tuple[OpenedSecret, ...], _Listed] = ()
    published: PublishedSum | None = None
    total: bytes = b""
    certificate: Certificate | None = None
    ended: Reason = ""

    @property
    def attempt(self) -> Attempt:
        """The attempt that it claims to be of."""
        a = self.announcement
        return Attempt(a.policy_digest, a.round, a.attempt, a.base_model_hash, a.server_nonce)

    @property
    def u3(self) -> tuple[int, ...]:
        """U3, as the masked inputs list it."""
        return tuple(record.u for record in self.masked_inputs)

    def digest(self) -> bytes:
        """By which two copies are compared, 32 bytes."""
        return digest(Label.TRANSCRIPT, encode(self))


def encode(transcript: Transcript) -> bytes:
    """The transcript's bytes; the same for equal transcripts."""
    return msgspec.msgpack.encode(transcript)


def decode(data: bytes) -> Transcript:
    """The transcript whose bytes are ``data``.

    Raises DecodeError for anything but the canonical bytes of one.
    """
    if len(data) > MAX_TRANSCRIPT_BYTES:
        raise DecodeError(f"a transcript of {len(data)} bytes; at most {MAX_TRANSCRIPT_BYTES}")
    try:
        transcript = msgspec.msgpack.decode(data, type=Transcript)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"transcript: {error}") from None
    if encode(transcript) != data:
        raise DecodeError("transcript: its bytes are not the canonical ones")
    return transcript
