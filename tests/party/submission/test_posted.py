from __future__ import annotations

import hashlib
import hmac

import msgspec
import pytest
from cryptography.fernet import Fernet

from party.submission.body import decode_body
from party.submission.posted import Posted, content_digest, digest_key, posted_records, tokens_of
from secagg.crypto.hashing import Label, encode, u64
from secagg.crypto.secret import Secret
from tests.party.ehr import body

KEY = digest_key(Secret(b"j" * 32))
FIRST = {"patient_id": "PATIENT_001", "diagnosis": "CANARY"}
SECOND = {"patient_id": "PATIENT_002", "diagnosis": "CANARY"}


def posted(fernet: Fernet, *records: dict[str, str], number: int = 5) -> Posted:
    return posted_records(decode_body(msgspec.json.encode(body(fernet, records, number))), KEY)


def test_the_digest_is_keyed_and_covers_kind_number_and_hashes() -> None:
    hashes = [b"b" * 32, b"a" * 32]
    covered = encode(Label.SUBMISSION, b"records", u64(5), *sorted(hashes))
    expected = hmac.new(KEY.reveal(), covered, hashlib.sha256).digest()
    assert content_digest(KEY, "records", 5, hashes) == expected
    others = [
        content_digest(KEY, "update", 5, hashes),
        content_digest(KEY, "records", 6, hashes),
        content_digest(KEY, "records", 5, hashes[:1]),
        content_digest(digest_key(Secret(b"k" * 32)), "records", 5, hashes),
    ]
    assert len({expected, *others}) == 5


def test_the_same_patients_are_the_same_submission_however_encrypted(fernet: Fernet) -> None:
    once, again = posted(fernet, FIRST, SECOND), posted(fernet, SECOND, FIRST)
    assert once.payload != again.payload
    assert once.digest == again.digest
    assert once.digest != posted(fernet, FIRST).digest
    assert once.digest != posted(fernet, FIRST, SECOND, number=6).digest


def test_what_is_kept_is_the_hospitals_ciphertext_alone(fernet: Fernet) -> None:
    sent = body(fernet, [FIRST, SECOND])
    kept = posted_records(decode_body(msgspec.json.encode(sent)), KEY)
    tokens = tuple(each["encrypted_data"] for each in sent["patient_data_list"])
    assert tokens_of(kept.payload) == tokens
    assert (kept.kind, kept.number, kept.patients) == ("records", 1, 2)
    assert kept.encrypted_bytes == sum(map(len, tokens))
    for each in sent["patient_data_list"]:
        assert each["data_hash"].encode() not in kept.payload
        assert bytes.fromhex(each["data_hash"]) not in kept.payload
        assert each["patient_id"].encode() not in kept.payload


def test_it_does_not_show_what_it_holds(fernet: Fernet) -> None:
    kept = posted(fernet, FIRST)
    assert "payload" not in repr(kept)
    assert "digest" not in repr(kept)


def test_a_payload_of_something_else_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        tokens_of(b"\xc1")
