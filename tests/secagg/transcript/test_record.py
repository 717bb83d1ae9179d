"""The bytes of a transcript: one form, no secrets in its repr, nothing else decodes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.errors import DecodeError
from secagg.transcript import record
from secagg.transcript.record import Transcript, decode, encode
from tests.secagg.transcript.attempts import certified_attempt

TRANSCRIPT = certified_attempt().transcript
BYTES = encode(TRANSCRIPT)


def test_it_comes_back_equal() -> None:
    assert decode(BYTES) == TRANSCRIPT


def test_its_digest_is_of_all_of_it() -> None:
    other = msgspec.structs.replace(TRANSCRIPT, total=TRANSCRIPT.total + b"\0")
    assert len(TRANSCRIPT.digest()) == 32
    assert other.digest() != TRANSCRIPT.digest()


def test_other_bytes_for_the_same_are_refused() -> None:
    padded = msgspec.msgpack.decode(BYTES)
    longer = b"\xdd" + len(padded).to_bytes(4, "big") + BYTES[1:]  # array32 for a short array
    assert msgspec.msgpack.decode(longer, type=Transcript) == TRANSCRIPT
    with pytest.raises(DecodeError, match="canonical"):
        decode(longer)


@pytest.mark.parametrize("length", [0, 1, len(BYTES) // 2, len(BYTES) - 1])
def test_part_of_it_is_refused(length: int) -> None:
    with pytest.raises(DecodeError):
        decode(BYTES[:length])


def test_more_than_a_transcript_can_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "MAX_TRANSCRIPT_BYTES", len(BYTES))
    assert decode(BYTES) == TRANSCRIPT
    monkeypatch.setattr(record, "MAX_TRANSCRIPT_BYTES", len(BYTES) - 1)
    with pytest.raises(DecodeError, match=f"{len(BYTES)} bytes; at most {len(BYTES) - 1}"):
        decode(BYTES)


@given(st.binary(max_size=200))
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(data)


def test_no_secret_stands_in_its_repr() -> None:
    shown = repr(TRANSCRIPT)
    for opened in (*TRANSCRIPT.self_mask_seeds, *TRANSCRIPT.mask_keys):
        assert repr(opened.secret)[2:20] not in shown
    for answer in TRANSCRIPT.answers:
        assert all(repr(seed)[2:20] not in shown for seed in answer.surplus_seeds)
