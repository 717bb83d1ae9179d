"""What is fuzzed: whatever comes in, the answer is an error of ours, or a message understood.

Each target takes bytes, returns normally, and raises :class:`Broken` (or anything else that the
product lets through) for a defect. The first bytes that it tries are its ``seeds``.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import safetensors.numpy
from cryptography.fernet import Fernet

from benchmarks.heart_disease.policy import model_spec, schema
from party.submission.admission import Admission
from party.submission.body import BodyError
from party.submission.keyring import Keyring
from party.submission.opening import OpeningError
from party.submission.posted import digest_key
from party.submission.update import UpdateError, read_update
from party.training.features import feature_vector
from party.training.records import RecordError, decode_record
from secagg.crypto.secret import Secret
from secagg.errors import DecodeError, PeerViolation
from secagg.policy import load
from secagg.rounds.r5_certification import Certifying, Concluded
from secagg.simulate import Cohort
from secagg.transcript.record import decode as decode_transcript
from secagg.transcript.record import encode as encode_transcript
from secagg.transcript.verification import verify_transcript
from secagg.wire.codec import decode_from_client, decode_from_server, encode
from secagg.wire.framing import FrameReader, frame
from secagg.wire.messages import UnmaskingAnswer, VectorChunk, Wire
from tests.cohorts import assembled, opened, template, vectors
from tests.secagg.transcript.attempts import certified_attempt
from tests.secagg.wire.samples import SAMPLES

MAX_BYTES: Final = 1 << 15


class Broken(Exception):
    """The product did what it must never do."""


def ensure(holds: bool, what: str) -> None:
    """Raise Broken unless ``holds``."""
    if not holds:
        raise Broken(what)


# --- bytes to messages ---------------------------------------------------------------------------


def codec(data: bytes) -> None:
    """Either direction; what decodes is encoded to something that decodes to the same."""
    for decode in (decode_from_client, decode_from_server):
        try:
            message: Any = decode(data)
        except DecodeError:
            continue
        again = encode(message)
        ensure(decode(again) == message, "another message came back")
        ensure(len(again) <= len(data), "the encoder is longer than what it reads")


def codec_seeds() -> Iterator[bytes]:
    """Every message once; large ones only begin."""
    for samples in SAMPLES.values():
        for sample in samples:
            yield encode(sample)[:2048]


def framing(data: bytes) -> None:
    """A stream cut at will gives the frames of the whole stream, and holds no more than one."""
    if len(data) < 2:
        return
    cut, limit, stream = data[0] + 1, 64 + data[1], data[2:]
    whole, pieces = _frames(stream, len(stream) or 1, limit), _frames(stream, cut, limit)
    ensure(whole == pieces, "the cut shows")


def _frames(stream: bytes, cut: int, limit: int) -> tuple[list[bytes], bool]:
    """What is read until the end or the first error, and whether there was one."""
    reader, found = FrameReader(limit), list[bytes]()
    try:
        for start in range(0, len(stream), cut):
            for payload in reader.feed(stream[start : start + cut]):
                ensure(1 <= len(payload) <= limit, "a frame beyond the limit")
                found.append(payload)
        reader.finish()
    except DecodeError:
        return found, True
    return found, False


def framing_seeds() -> Iterator[bytes]:
    """Streams of a few frames, whole, cut short, and too long."""
    stream = b"".join(frame(bytes([n]) * n) for n in (1, 5, 60, 200))
    for cut in (0, 1, 7, 255):
        yield bytes([cut, 255]) + stream
        yield bytes([cut, 0]) + stream[:-3]


# --- the state machines --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Edit:
    """Four bytes of a program: which message, and where it is changed to what (0: not at all)."""

    which: int
    where: int
    value: int

    def of(self, message: Wire) -> bytes:
        data = bytearray(encode(message))
        if self.value:
            data[self.where % len(data)] ^= self.value
        return bytes(data)


def _program(data: bytes) -> Iterator[tuple[int, _Edit]]:
    """An operation and its edit, from five bytes each."""
    for start in range(0, len(data) - 4, 5):
        operation, which, high, low, value = data[start : start + 5]
        yield operation, _Edit(which, 256 * high + low, value)


@cache
def _heard() -> tuple[tuple[int, Wire], ...]:
    """All that an honest server says in one attempt, and to whom."""
    cohort, heard = opened(template(3)), list[tuple[int, Wire]]()
    recipients = frozenset(cohort.policy.members)
    while True:
        replies: list[tuple[int, Wire]] = []
        for u in sorted(recipients):
            for message in cohort.to_client(u):
                heard.append((u, message))
                replies += [(u, reply) for reply in cohort.deliver(u, message)]
        recipients = frozenset[int]().union(*(cohort.collect(u, m) for u, m in replies))
        if not recipients:
            recipients = cohort.server.close()
        if isinstance(cohort.server.state, Concluded) and not replies:
            return tuple(heard)


def client(data: bytes) -> None:
    """Honest clients, to whom anything of an honest attempt is shown, changed, in any order.

    A client sends one masked input, opens one kind of share of anybody, and only for the U3 that
    it signed.
    """
    cohort, heard = opened(template(3)), _heard()
    sent: dict[int, list[Wire]] = {u: [] for u in cohort.policy.members}
    for operation, edit in _program(data):
        to, message = heard[edit.which % len(heard)]
        u = 1 + operation % 3 if operation & 4 else to
        try:
            shown = decode_from_server(edit.of(message))
        except DecodeError:
            continue
        if isinstance(shown, VectorChunk) and u not in cohort.sums:
            continue  # a shell's own rule: party/intake.py
        try:
            sent[u] += cohort.deliver(u, shown)
        except PeerViolation:
            cohort.sessions.pop(u, None)
    for u, messages in sent.items():
        _check_client(cohort, u, messages)


def _check_client(cohort: Cohort, u: int, messages: list[Wire]) -> None:
    masked = {(m.start, m.data) for m in messages if isinstance(m, VectorChunk)}
    ensure(len(masked) <= 1, f"client {u} sent two masked inputs")
    answers = [m for m in messages if isinstance(m, UnmaskingAnswer)]
    seeds = {share.v for answer in answers for share in answer.self_mask_shares}
    keys = {share.v for answer in answers for share in answer.mask_key_shares}
    ensure(not seeds & keys, f"client {u} opened both kinds of share")
    entries = cohort.journals.get(u, [])
    charged = sum(type(entry).__name__ == "Charged" for entry in entries)
    ensure(len(masked) <= charged, f"client {u} sent what it was not charged for")


def client_seeds() -> Iterator[bytes]:
    """An honest attempt; the same with one message left out, one repeated, one changed."""
    honest = [bytes([0, n, 0, 0, 0]) for n in range(len(_heard()))]
    yield b"".join(honest)
    for place in range(len(honest)):
        yield b"".join(honest[:place] + honest[place + 1 :])
        yield b"".join(honest[: place + 1] + honest[place:])
        yield b"".join([*honest[:place], bytes([0, place, 0, 40, 1]), *honest[place + 1 :]])


@cache
def _said() -> tuple[tuple[int, Wire], ...]:
    """All that honest clients say in one attempt."""
    cohort, said = opened(template(3)), list[tuple[int, Wire]]()
    recipients = frozenset(cohort.policy.members)
    while recipients:
        replies = [
            (u, reply)
            for u in sorted(recipients)
            for message in cohort.to_client(u)
            for reply in cohort.deliver(u, message)
        ]
        said += replies
        recipients = frozenset[int]().union(*(cohort.collect(u, m) for u, m in replies))
        recipients = recipients or cohort.server.close()
    return tuple(said)


def server(data: bytes) -> None:
    """A server that is told what honest clients say, changed, by anybody, in any order; deadlines
    pass at any time. A sum that it publishes is that of U3's inputs.
    """
    cohort, said = opened(template(3)), _said()
    for operation, edit in _program(data):
        if operation & 128:
            cohort.server.close()
            continue
        by, message = said[edit.which % len(said)]
        u = 1 + operation % 3 if operation & 4 else by
        try:
            cohort.collect(u, decode_from_client(edit.of(message)))
        except (DecodeError, PeerViolation):
            continue
    if isinstance(cohort.server.state, Certifying | Concluded):
        expected = np.sum([vectors(cohort.policy)[u] for u in cohort.survivors], axis=0)
        total = [] if cohort.total is None else cohort.total.tolist()
        ensure(total == expected.tolist(), "a wrong sum")


def server_seeds() -> Iterator[bytes]:
    """An honest attempt, deadlines apart; and with each message left out, repeated or changed."""
    honest = [bytes([0, n, 0, 0, 0]) for n in range(len(_said()))]
    yield b"".join(honest)
    for place in range(len(honest)):
        yield b"".join([*honest[:place], bytes([128, 0, 0, 0, 0]), *honest[place + 1 :]])
        yield b"".join(honest[: place + 1] + honest[place:])
        yield b"".join([*honest[:place], bytes([0, place, 0, 60, 2]), *honest[place + 1 :]])


# --- documents -----------------------------------------------------------------------------------


def transcript(data: bytes) -> None:
    """Nothing but the very record verifies."""
    attempt = certified_attempt()
    try:
        found = decode_transcript(data)
        verify_transcript(found, attempt.policy)
    except (DecodeError, PeerViolation):
        return
    same = encode_transcript(found) == encode_transcript(attempt.transcript)
    ensure(same, "another transcript of the same hospitals holds")


def transcript_seeds() -> Iterator[bytes]:
    """The record of a whole attempt."""
    yield encode_transcript(certified_attempt().transcript)


def policy(data: bytes) -> None:
    """A policy that loads has one canonical form, which loads as the same."""
    try:
        found = load(data)
    except DecodeError:
        return
    ensure(load(found.canonical()) == found, "another policy came back")


def policy_seeds() -> Iterator[bytes]:
    """A policy without a model."""
    yield assembled(template(4)).policy.canonical()


# --- what an EHR posts ---------------------------------------------------------------------------


@cache
def _admission() -> tuple[Admission, Fernet]:
    fernet = Fernet(base64.urlsafe_b64encode(bytes(32)))
    keyring = Keyring([Secret(bytes(32))])
    return Admission(keyring, schema(), 100, digest_key(Secret(bytes(32)))), fernet


def submission(data: bytes) -> None:
    """The first byte says how deep: a body, a record in a good body, a record alone, an update."""
    if not data:
        return
    kind, rest = data[0] % 4, data[1:]
    admission, fernet = _admission()
    try:
        match kind:
            case 0:
                admission.admit(rest)
            case 1:
                body = {
                    "patient_data_list": [
                        {
                            "patient_id": "P1",
                            "encrypted_data": fernet.encrypt(rest).decode(),
                            "data_hash": hashlib.sha256(rest).hexdigest(),
                        }
                    ],
                    "round_number": 1,
                }
                admission.admit(json.dumps(body).encode())
            case 2:
                row = feature_vector(decode_record(rest), schema())
                ensure(bool(np.isfinite(row).all()), "a feature that is not finite")
            case _:
                vector = read_update(rest, "delta", model_spec())
                norm = int(np.sum(vector[:-1].astype(object) ** 2))
                ensure(norm <= model_spec().contribution.gradient_bound ** 2, "over the bound")
    except (BodyError, OpeningError, RecordError, UpdateError):
        return


def submission_seeds() -> Iterator[bytes]:
    """A good one of each kind."""
    record = json.dumps(
        {
            "patient_id": "P1",
            "age": 45,
            "sex": "female",
            "symptoms": ["fever"],
            "vitals": {"bp": "120/80", "hr": 72},
            "labs": {"chol": 200},
            "diagnosis": "heart_disease",
        }
    ).encode()
    _, fernet = _admission()
    body = {
        "patient_data_list": [
            {
                "patient_id": "P1",
                "encrypted_data": fernet.encrypt(record).decode(),
                "ipfs_cid": "QmV5koooi",
                "data_hash": hashlib.sha256(record).hexdigest(),
            }
        ],
        "round_number": 5,
    }
    yield b"\0" + json.dumps(body).encode()
    yield b"\1" + record
    yield b"\2" + record
    arrays = {each.name: np.zeros(each.shape, np.float64) for each in model_spec().parameters}
    yield b"\3" + safetensors.numpy.save(arrays)


TARGETS: Final[Mapping[str, tuple[Callable[[bytes], None], Callable[[], Iterator[bytes]]]]] = {
    "codec": (codec, codec_seeds),
    "framing": (framing, framing_seeds),
    "client": (client, client_seeds),
    "server": (server, server_seeds),
    "submission": (submission, submission_seeds),
    "transcript": (transcript, transcript_seeds),
    "policy": (policy, policy_seeds),
}
