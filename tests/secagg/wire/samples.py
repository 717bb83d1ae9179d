"""One or two well-formed messages of every kind, and the largest ones that there can be."""

from __future__ import annotations

from collections.abc import Iterator

from secagg.rounds.r0_advertise_keys import channel_tree
from secagg.wire.messages import (
    ENCRYPTED_SHARES_BYTES,
    MAX_CHUNK_BYTES,
    MAX_CLIENTS,
    Abandonment,
    AbandonmentNotice,
    AbandonmentRequest,
    AbandonmentShare,
    AdvertiseKeys,
    Advertisement,
    Announcement,
    AttemptAborted,
    Certificate,
    CertificateNotice,
    CertificateShare,
    Challenge,
    Complaint,
    Dealing,
    DeliveredKeys,
    DeliveredShares,
    EncryptedShares,
    GatheringNotice,
    Hello,
    KeyRoster,
    MaskedInputChunk,
    MaskedInputSignature,
    ModelChunk,
    ModelRequest,
    ModelStart,
    OpenedShare,
    OwnShares,
    PublishedSum,
    Ready,
    Refusal,
    ShareDelivery,
    ShareKeys,
    Signed,
    SumAnnouncement,
    SurvivorSet,
    SurvivorSignature,
    SurvivorSignatures,
    TranscriptChunk,
    TranscriptRequest,
    TranscriptStart,
    UnmaskingAnswer,
    VectorChunk,
    Wire,
)

A, B, C = bytes([1] * 32), bytes([2] * 32), bytes([3] * 32)
SIGNATURE = bytes([9] * 64)
SIGNED = (Signed(1, SIGNATURE), Signed(MAX_CLIENTS, SIGNATURE))
ADVERTISEMENT = Advertisement(1, A, B, SIGNATURE)
ENCRYPTED = EncryptedShares(2, bytes(ENCRYPTED_SHARES_BYTES), A, B)
DEALING = Dealing(1, A, B, SIGNATURE)
OPENED = OpenedShare(1, bytes(33), A)
CERTIFICATE = Certificate(A, 1, 2, B, C, A, (1, 2), B, C, SIGNED)
PUBLISHED = PublishedSum(A, 1, 2, B, C, A, (1, 2), B, SIGNED, SIGNATURE)
ABANDONMENT = Abandonment(A, 1, B, SIGNED)

_MESSAGES: tuple[Wire, ...] = (
    Challenge(1, A, B),
    Hello(1, A, B, 0, 0, None, None, None, None, SIGNATURE),
    Hello(2, A, B, 3, 4, CERTIFICATE, ABANDONMENT, C, "ShareDelivery", SIGNATURE),
    Ready(2**53),
    GatheringNotice(3),
    ModelRequest(A),
    Refusal("because"),
    Announcement(A, 1, 1000, B, C, SIGNATURE),
    AdvertiseKeys(A, 1, 1, B, C, (A, B), ADVERTISEMENT),
    KeyRoster(A, (DeliveredKeys(ADVERTISEMENT, C, (A, B)),)),
    ShareKeys(A, OwnShares(A, B), (ENCRYPTED,), C, SIGNATURE),
    ShareDelivery(A, (DeliveredShares(DEALING, ENCRYPTED, (A,)),)),
    ShareDelivery(A, (DeliveredShares(DEALING, None, ()),)),
    Complaint(A, 1, B, SIGNATURE),
    VectorChunk(A, 0, b"x"),
    VectorChunk(A, 2**53, bytes(MAX_CHUNK_BYTES)),
    MaskedInputSignature(A, B, SIGNATURE),
    SurvivorSet(A, (1, 2, MAX_CLIENTS)),
    SurvivorSignature(A, SIGNATURE),
    SurvivorSignatures(A, SIGNED),
    UnmaskingAnswer(A, (OPENED,), (OPENED,), (B,), SIGNATURE),
    UnmaskingAnswer(A, (), (), (), SIGNATURE),
    SumAnnouncement(A, PUBLISHED),
    CertificateShare(A, B, SIGNATURE),
    CertificateNotice(CERTIFICATE),
    AbandonmentRequest(1, A, "stuck"),
    AbandonmentShare(1, SIGNATURE),
    AbandonmentNotice(ABANDONMENT),
    AttemptAborted(A, "too few"),
    ModelStart(CERTIFICATE, 100),
    ModelChunk(0, b"x"),
    TranscriptRequest(1),
    TranscriptStart(1, 0),
    TranscriptChunk(1, 0, b"x"),
    MaskedInputChunk(A, 1, 0, b"x"),
)

SAMPLES: dict[type, list[Wire]] = {}
for _message in _MESSAGES:
    SAMPLES.setdefault(type(_message), []).append(_message)


def largest() -> Iterator[Wire]:
    """The messages that grow with the roster, for a roster of MAX_CLIENTS."""
    everybody = range(1, MAX_CLIENTS + 1)
    path = tuple(channel_tree([A] * MAX_CLIENTS).path(0))
    signatures = tuple(Signed(u, SIGNATURE) for u in everybody)
    u3 = tuple(everybody)
    certificate = Certificate(A, 2**53, 1000, B, C, A, u3, B, C, signatures)
    published = PublishedSum(A, 2**53, 1000, B, C, A, u3, B, signatures, SIGNATURE)
    abandonment = Abandonment(A, 2**53, B, signatures)
    yield AdvertiseKeys(A, 1, 1, B, C, (A,) * MAX_CLIENTS, ADVERTISEMENT)
    yield KeyRoster(A, tuple(DeliveredKeys(ADVERTISEMENT, C, path) for _ in everybody))
    yield ShareKeys(A, OwnShares(A, B), (ENCRYPTED,) * (MAX_CLIENTS - 1), C, SIGNATURE)
    yield ShareDelivery(A, tuple(DeliveredShares(DEALING, ENCRYPTED, path) for _ in everybody))
    yield UnmaskingAnswer(
        A, tuple(OpenedShare(u, bytes(33), A) for u in everybody), (), (B,) * MAX_CLIENTS, SIGNATURE
    )
    yield SurvivorSignatures(A, signatures)
    yield SumAnnouncement(A, published)
    yield ModelStart(certificate, 2**53)
    yield Hello(1, A, B, 1, 1, certificate, abandonment, C, "x" * 32, SIGNATURE)
    yield VectorChunk(A, 2**53, bytes(MAX_CHUNK_BYTES))
