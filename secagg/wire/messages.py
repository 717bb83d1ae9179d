"""Every message of the protocol, as it stands on the wire.

Tagged, array-like msgspec structs: unknown tags, missing, extra or oversized fields do not decode.
u and v are clients' numbers (1 .. n). Lists of clients are ascending; the rounds check it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from secagg.crypto.shamir import SHARE_BYTES

PROTOCOL = 1

#: Ciphertext of one pair of shares: two shares, two salts, Poly1305 tag.
ENCRYPTED_SHARES_BYTES = 2 * (SHARE_BYTES + 32) + 16
MAX_CHUNK_BYTES = 2**20
MAX_CLIENTS = 4096
MAX_PATH = 13
MAX_REASON = 2000

Bytes32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]
Share = Annotated[bytes, msgspec.Meta(min_length=SHARE_BYTES, max_length=SHARE_BYTES)]
Ciphertext = Annotated[
    bytes,
    msgspec.Meta(min_length=ENCRYPTED_SHARES_BYTES, max_length=ENCRYPTED_SHARES_BYTES),
]
Chunk = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_CHUNK_BYTES)]
Client = Annotated[int, msgspec.Meta(ge=1, le=MAX_CLIENTS)]
Counter = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Reason = Annotated[str, msgspec.Meta(max_length=MAX_REASON)]
Clients = Annotated[tuple[Client, ...], msgspec.Meta(max_length=MAX_CLIENTS)]
Path = Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=MAX_PATH)]


class Wire(
    msgspec.Struct,
    frozen=True,
    array_like=True,
    forbid_unknown_fields=True,
    tag=True,
):
    """Base of every message; the tag is the class name."""


class Part(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of every part of a message."""


# --- parts ---------------------------------------------------------------------------------------


class Advertisement(Part, frozen=True):
    """A client's fresh X25519 public keys, signed over (session_id, u, keys): its mask key, and
    the root over its channel keys, one for each member of the roster.
    """

    u: Client
    channel_root: Bytes32
    mask_key: Bytes32
    signature: Signature


class DeliveredKeys(Part, frozen=True):
    """One client's keys for one peer; the Merkle path leads from the channel key to the root."""

    advertisement: Advertisement
    channel_key: Bytes32
    path: Path


class EncryptedShares(Part, frozen=True):
    """What dealer u hands to v: e_uv, and the commitments to the shares inside."""

    v: Client
    ciphertext: Ciphertext
    self_mask_commitment: Bytes32
    mask_key_commitment: Bytes32


class OwnShares(Part, frozen=True):
    """The commitments to the shares that a dealer keeps; nothing is encrypted."""

    self_mask_commitment: Bytes32
    mask_key_commitment: Bytes32


class Dealing(Part, frozen=True):
    """A dealer's signed statement: root over all its leaves, and the commitment to b_u."""

    u: Client
    root: Bytes32
    seed_commitment: Bytes32
    signature: Signature


class DeliveredShares(Part, frozen=True):
    """One dealer's shares for one holder, with the Merkle path to the dealer's signed root."""

    dealing: Dealing
    shares: EncryptedShares | None
    path: Path


class OpenedShare(Part, frozen=True):
    """A holder's share of client v's secret, with the salt that opens its commitment."""

    v: Client
    share: Share
    salt: Bytes32


class Signed(Part, frozen=True):
    """Client u's signature on something that the message around it names."""

    u: Client
    signature: Signature


Signatures = Annotated[tuple[Signed, ...], msgspec.Meta(max_length=MAX_CLIENTS)]


class SumFacts(Part, frozen=True):
    """Which sum of which attempt, over whose inputs: what published sum and certificate state."""

    policy_digest: Bytes32
    round: Counter
    attempt: Counter
    base_model_hash: Bytes32
    server_nonce: Bytes32
    u2_hash: Bytes32
    u3: Clients
    sum_digest: Bytes32


class PublishedSum(SumFacts, frozen=True):
    """What the server states, and signs, about the sum of one attempt."""

    survivor_signatures: Signatures
    server_signature: Signature


class Certificate(SumFacts, frozen=True):
    """t hospitals' signatures on the model that one round made; a stale party catches up by it."""

    model_hash: Bytes32
    signatures: Signatures


class Abandonment(Part, frozen=True):
    """t hospitals' signatures that one training round ends without a model."""

    policy_digest: Bytes32
    round: Counter
    base_model_hash: Bytes32
    signatures: Signatures


# --- connection ----------------------------------------------------------------------------------


class Challenge(Wire, frozen=True):
    """Server, first message of a connection: the protocol version and a nonce to sign."""

    protocol: Counter
    policy_digest: Bytes32
    nonce: Bytes32


class Hello(Wire, frozen=True):
    """Party: who it is and where it stands (signed over the challenge), what it knows.

    ``entered``: the highest (round, attempt) of its journal. ``awaiting`` names the session it is
    in and the message that it expects there, so that the server repeats what was lost.
    """

    u: Client
    policy_digest: Bytes32
    model_hash: Bytes32
    entered_round: Counter
    entered_attempt: Counter
    certificate: Certificate | None
    abandonment: Abandonment | None
    session: Bytes32 | None
    awaiting: Annotated[str, msgspec.Meta(max_length=32)] | None
    signature: Signature


class Ready(Wire, frozen=True):
    """Party: a batch of its own waits, and counts for training round ``round`` and later ones."""

    round: Counter


class GatheringNotice(Wire, frozen=True):
    """Server: so many connected hospitals have a batch ready. A courtesy; nothing rests on it."""

    hospitals: Counter


class ModelRequest(Wire, frozen=True):
    """Either side: asks for the bytes of the model behind a certificate."""

    model_hash: Bytes32


class Refusal(Wire, frozen=True):
    """Either side: the other's last message is not acted on, and why (safe to show)."""

    reason: Reason


# --- round 0, AdvertiseKeys ----------------------------------------------------------------------


class Announcement(Wire, frozen=True):
    """Server: an attempt opens. Everything the session id is made of, signed."""

    policy_digest: Bytes32
    round: Counter
    attempt: Counter
    base_model_hash: Bytes32
    server_nonce: Bytes32
    signature: Signature


class AdvertiseKeys(Wire, frozen=True):
    """Client: its keys; policy, round, attempt and model in clear, so that staleness is seen.

    ``channel_keys``: the one for client v at place v - 1.
    """

    policy_digest: Bytes32
    round: Counter
    attempt: Counter
    base_model_hash: Bytes32
    session: Bytes32
    channel_keys: Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=MAX_CLIENTS)]
    advertisement: Advertisement


# --- round 1, ShareKeys --------------------------------------------------------------------------


class KeyRoster(Wire, frozen=True):
    """Server: the advertisements of U1, and from each the channel key meant for this client."""

    session: Bytes32
    advertised: Annotated[tuple[DeliveredKeys, ...], msgspec.Meta(max_length=MAX_CLIENTS)]


class ShareKeys(Wire, frozen=True):
    """Client: shares of b_u and of its mask key, encrypted to and committed for each neighbour."""

    session: Bytes32
    own: OwnShares
    shares: Annotated[tuple[EncryptedShares, ...], msgspec.Meta(max_length=MAX_CLIENTS)]
    seed_commitment: Bytes32
    signature: Signature


# --- round 2, MaskedInputCollection --------------------------------------------------------------


class ShareDelivery(Wire, frozen=True):
    """Server: U2, and from each dealer the shares meant for this client."""

    session: Bytes32
    delivered: Annotated[tuple[DeliveredShares, ...], msgspec.Meta(max_length=MAX_CLIENTS)]


class Complaint(Wire, frozen=True):
    """Client: dealer's shares are bad; its channel key for that dealer lets anyone check. It
    leaves the attempt.
    """

    session: Bytes32
    dealer: Client
    channel_private_key: Bytes32
    signature: Signature


class VectorChunk(Wire, frozen=True):
    """Either side: consecutive coordinates of a vector from ``start`` on, bit-packed."""

    session: Bytes32
    start: Counter
    data: Chunk


class MaskedInputSignature(Wire, frozen=True):
    """Client, after the last chunk of y_u: the digest of all of it, signed."""

    session: Bytes32
    masked_digest: Bytes32
    signature: Signature


# --- round 3, ConsistencyCheck -------------------------------------------------------------------


class SurvivorSet(Wire, frozen=True):
    """Server: U3."""

    session: Bytes32
    u3: Clients


class SurvivorSignature(Wire, frozen=True):
    """Client: sigma'_u, over (context, U2, U3)."""

    session: Bytes32
    signature: Signature


# --- round 4, Unmasking --------------------------------------------------------------------------


class SurvivorSignatures(Wire, frozen=True):
    """Server: at least t survivor signatures."""

    session: Bytes32
    signatures: Signatures


class UnmaskingAnswer(Wire, frozen=True):
    """Client: shares of b_v for v in U3, of v's mask key for v in U2 minus U3; and the seeds of
    those components of its own noise that are not needed, since so many survived.
    """

    session: Bytes32
    self_mask_shares: Annotated[tuple[OpenedShare, ...], msgspec.Meta(max_length=MAX_CLIENTS)]
    mask_key_shares: Annotated[tuple[OpenedShare, ...], msgspec.Meta(max_length=MAX_CLIENTS)]
    surplus_seeds: Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=MAX_CLIENTS)]
    signature: Signature


# --- certification and abandonment ---------------------------------------------------------------


class SumAnnouncement(Wire, frozen=True):
    """Server: the published sum; its chunks follow."""

    session: Bytes32
    published: PublishedSum


class TranscriptRequest(Wire, frozen=True):
    """Party: asks for the transcript of a training round's newest attempt."""

    round: Counter


class TranscriptStart(Wire, frozen=True):
    """Server: the bytes of an attempt's transcript follow in chunks; size 0: there is none."""

    round: Counter
    size: Counter


class TranscriptChunk(Wire, frozen=True):
    """Server: consecutive bytes of the transcript from ``start`` on."""

    round: Counter
    start: Counter
    data: Chunk


class MaskedInputChunk(Wire, frozen=True):
    """Server: client u's masked input once more, as evidence for a published sum."""

    session: Bytes32
    u: Client
    start: Counter
    data: Chunk


class CertificateShare(Wire, frozen=True):
    """Party: its signature on (context, U3, sum digest, model hash)."""

    session: Bytes32
    model_hash: Bytes32
    signature: Signature


class CertificateNotice(Wire, frozen=True):
    """Server: the round is certified."""

    certificate: Certificate


class AbandonmentRequest(Wire, frozen=True):
    """Server: this round cannot finish; will you sign that it ends?"""

    round: Counter
    base_model_hash: Bytes32
    reason: Reason


class AbandonmentShare(Wire, frozen=True):
    """Party: its signature that the round ends without a model."""

    round: Counter
    signature: Signature


class AbandonmentNotice(Wire, frozen=True):
    """Server: the round is abandoned."""

    abandonment: Abandonment


class AttemptAborted(Wire, frozen=True):
    """Server: the attempt ends without a sum, or without this client."""

    session: Bytes32
    reason: Reason


class ModelStart(Wire, frozen=True):
    """Either side: the canonical bytes of a certified model follow in chunks."""

    certificate: Certificate
    size: Counter


class ModelChunk(Wire, frozen=True):
    """Either side: consecutive bytes of the model from ``start`` on."""

    start: Counter
    data: Chunk


FromClient = (
    Hello
    | Ready
    | ModelRequest
    | Refusal
    | AdvertiseKeys
    | ShareKeys
    | Complaint
    | VectorChunk
    | MaskedInputSignature
    | SurvivorSignature
    | UnmaskingAnswer
    | CertificateShare
    | AbandonmentShare
    | ModelStart
    | ModelChunk
    | TranscriptRequest
)

FromServer = (
    Challenge
    | Refusal
    | GatheringNotice
    | Announcement
    | KeyRoster
    | ShareDelivery
    | SurvivorSet
    | SurvivorSignatures
    | SumAnnouncement
    | VectorChunk
    | CertificateNotice
    | AbandonmentRequest
    | AbandonmentNotice
    | AttemptAborted
    | ModelRequest
    | ModelStart
    | ModelChunk
    | TranscriptStart
    | TranscriptChunk
    | MaskedInputChunk
)
