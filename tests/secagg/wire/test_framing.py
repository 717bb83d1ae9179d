"""Frames: whatever the pieces in which bytes arrive; a wrong length is refused at its header."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.errors import DecodeError
from secagg.wire.framing import HEADER_BYTES, MAX_FRAME_BYTES, FrameReader, frame

PAYLOADS = st.lists(st.binary(min_size=1, max_size=40), max_size=8)


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    """``stream`` cut at these places, taken modulo its length."""
    places = sorted({cut % (len(stream) + 1) for cut in cuts} | {0, len(stream)})
    return [stream[a:b] for a, b in pairwise(places)]


@given(PAYLOADS, st.lists(st.integers(0, 10**6), max_size=20))
def test_frames_survive_any_cutting(payloads: list[bytes], cuts: list[int]) -> None:
    reader = FrameReader()
    stream = b"".join(map(frame, payloads))
    read = [payload for piece in pieces(stream, cuts) for payload in reader.feed(piece)]
    assert read == payloads
    reader.finish()


def test_a_frame_is_a_length_and_that_many_bytes() -> None:
    assert frame(b"abc") == b"\0\0\0\3abc"
    assert len(frame(bytes(MAX_FRAME_BYTES))) == HEADER_BYTES + MAX_FRAME_BYTES


@pytest.mark.parametrize("length", [0, MAX_FRAME_BYTES + 1])
def test_nothing_empty_or_oversized_is_framed(length: int) -> None:
    with pytest.raises(DecodeError, match=f"1 to {MAX_FRAME_BYTES} bytes, not {length}"):
        frame(bytes(length))


@pytest.mark.parametrize("length", [0, MAX_FRAME_BYTES + 1, 2**31, 2**32 - 1])
def test_a_wrong_length_is_refused_before_its_bytes_come(length: int) -> None:
    reader = FrameReader()
    with pytest.raises(DecodeError, match=f"not {length}"):
        list(reader.feed(length.to_bytes(HEADER_BYTES, "big")))


def test_whoever_is_not_yet_known_is_given_a_small_limit() -> None:
    reader = FrameReader(limit=100)
    assert list(reader.feed(frame(bytes(100)))) == [bytes(100)]
    with pytest.raises(DecodeError, match="1 to 100 bytes, not 101"):
        list(reader.feed(frame(bytes(101))))


def test_the_limit_may_be_raised_between_frames() -> None:
    reader = FrameReader(limit=1)
    both = reader.feed(frame(b"a") + frame(b"bc"))
    assert next(both) == b"a"
    reader.limit = 2
    assert list(both) == [b"bc"]


@given(st.binary(min_size=1, max_size=20), st.data())
def test_a_stream_that_ends_inside_a_frame_is_noticed(payload: bytes, data: st.DataObject) -> None:
    whole = frame(payload)
    part = whole[: data.draw(st.integers(1, len(whole) - 1))]
    reader = FrameReader()
    assert list(reader.feed(part)) == []
    with pytest.raises(DecodeError, match=f"inside a frame.*{len(part)} bytes"):
        reader.finish()


@given(st.lists(st.binary(max_size=30), max_size=10))
def test_any_bytes_are_frames_or_a_decode_error(received: list[bytes]) -> None:
    reader = FrameReader(limit=64)
    try:
        read = [payload for piece in received for payload in reader.feed(piece)]
        reader.finish()
    except DecodeError:
        return
    assert b"".join(map(frame, read)) == b"".join(received)
