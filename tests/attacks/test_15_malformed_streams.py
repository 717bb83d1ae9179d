"""Attack 15: oversized, truncated, interleaved, trailing-byte and unknown-field input.

Frames and messages are fuzzed in tests/secagg/wire; here they meet a running cohort. Slow peers
are the business of the processes' deadlines.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from secagg.checks import Check
from secagg.errors import DecodeError
from secagg.rounds.r2_masked_input import Masking
from secagg.rounds.r5_certification import Certifying
from secagg.simulate import Cohort
from secagg.vector.stream import CHUNK
from secagg.wire.codec import decode_from_client, decode_from_server, encode
from secagg.wire.framing import HEADER_BYTES, FrameReader, frame
from secagg.wire.messages import MAX_CHUNK_BYTES, SumAnnouncement, VectorChunk
from tests.cohorts import (
    changed,
    delivered,
    message_for,
    opened,
    plain_sum,
    reach,
    refused,
    template,
)


@pytest.fixture
def masking() -> Cohort:
    """Hospitals are about to send vectors of three chunks."""
    cohort = opened(template(4, dimension=2 * CHUNK + 5, max_value=100_000_000))
    reach(cohort, Masking)
    return cohort


def sent_by(cohort: Cohort, u: int) -> tuple[list[VectorChunk], Any]:
    """The chunks of u's masked input, and the signature after them."""
    *chunks, signature = delivered(cohort, u, message_for(cohort, u))
    assert len(chunks) == 3
    return chunks, signature


def test_chunks_come_in_order_each_once(masking: Cohort) -> None:
    (first, second, third), _ = sent_by(masking, 1)
    with refused(Check.STREAM_IN_ORDER, "hospital-1"):
        masking.collect(1, second)
    masking.collect(1, first)
    for out_of_order in (first, third, changed(second, start=second.start + 8)):
        with refused(Check.STREAM_IN_ORDER, "hospital-1"):
            masking.collect(1, out_of_order)


@pytest.mark.parametrize("data", [b"\0", b"\0" * MAX_CHUNK_BYTES])
def test_a_chunk_has_exactly_the_bytes_of_its_place(masking: Cohort, data: bytes) -> None:
    (first, _, _), _ = sent_by(masking, 1)
    for wrong in (changed(first, data=data), changed(first, data=first.data[:-1])):
        with refused(Check.STREAM_IN_ORDER, "hospital-1"):
            masking.collect(1, wrong)


def test_padding_bits_are_zero(masking: Cohort) -> None:
    (first, second, third), _ = sent_by(masking, 1)
    masking.collect(1, first)
    masking.collect(1, second)
    assert (5 * masking.policy.ring.bits) % 8
    padded = changed(third, data=third.data[:-1] + bytes([third.data[-1] | 0x80]))
    with refused(Check.STREAM_IN_ORDER, "hospital-1"):
        masking.collect(1, padded)
    masking.collect(1, third)


def test_nothing_follows_the_last_chunk(masking: Cohort) -> None:
    chunks, _ = sent_by(masking, 1)
    for chunk in chunks:
        masking.collect(1, chunk)
    with refused(Check.STREAM_IN_ORDER, "hospital-1"):
        masking.collect(1, changed(chunks[2], start=chunks[2].start + 5))


def test_a_truncated_masked_input_is_not_signed_off(masking: Cohort) -> None:
    chunks, signature = sent_by(masking, 1)
    with refused(Check.STREAM_IN_ORDER, "hospital-1"):
        masking.collect(1, signature)
    for chunk in chunks[:2]:
        masking.collect(1, chunk)
    with refused(Check.STREAM_IN_ORDER, "hospital-1"):
        masking.collect(1, signature)
    state = masking.server.state
    assert isinstance(state, Masking)
    assert 1 in state.awaited()


def test_bytes_that_were_altered_on_the_way_are_not_what_was_signed(masking: Cohort) -> None:
    chunks, signature = sent_by(masking, 1)
    altered = changed(chunks[0], data=bytes([chunks[0].data[0] ^ 1]) + chunks[0].data[1:])
    for chunk in (altered, *chunks[1:]):
        masking.collect(1, chunk)
    with refused(Check.MASKED_INPUT_SIGNED, "hospital-1"):
        masking.collect(1, signature)


def test_streams_of_two_hospitals_may_interleave(masking: Cohort) -> None:
    streams = {u: delivered(masking, u, message_for(masking, u)) for u in masking.policy.members}
    for messages in zip(*streams.values(), strict=True):
        for u, message in zip(streams, messages, strict=True):
            masking.collect(u, message)
    reach(masking, Certifying)
    assert masking.total is not None
    assert np.array_equal(masking.total, plain_sum(masking, masking.policy.members))


def test_the_published_sum_is_a_stream_of_the_same_kind(masking: Cohort) -> None:
    reach(masking, Certifying)
    announcement, first, second, third = masking.to_client(1)
    assert isinstance(announcement, SumAnnouncement)
    assert isinstance(first, VectorChunk)
    assert isinstance(third, VectorChunk)
    assert not delivered(masking, 1, announcement)
    with refused(Check.STREAM_IN_ORDER):
        delivered(masking, 1, third)
    with refused(Check.STREAM_IN_ORDER):
        delivered(masking, 1, changed(first, data=first.data + b"\0"))
    assert not delivered(masking, 1, first)
    assert not delivered(masking, 1, second)
    assert len(delivered(masking, 1, third)) == 1


# --- frames around real messages -----------------------------------------------------------------


def test_a_byte_more_or_less_is_no_message(masking: Cohort) -> None:
    from_server = encode(message_for(masking, 1))
    from_client = encode(sent_by(masking, 1)[1])
    for decode, data in ((decode_from_server, from_server), (decode_from_client, from_client)):
        decode(data)
        for wrong in (data + b"\0", data + data, data[:-1], data[1:], b""):
            with pytest.raises(DecodeError):
                decode(wrong)


def test_a_field_more_or_less_is_no_message(masking: Cohort) -> None:
    fields = msgspec.msgpack.decode(encode(message_for(masking, 1)))
    for wrong in ([*fields, None], fields[:-1], ["Unknown", *fields[1:]], dict(enumerate(fields))):
        with pytest.raises(DecodeError):
            decode_from_server(msgspec.msgpack.encode(wrong))


def test_a_message_of_the_other_direction_is_no_message(masking: Cohort) -> None:
    with pytest.raises(DecodeError, match="party"):
        decode_from_client(encode(message_for(masking, 1)))
    with pytest.raises(DecodeError, match="server"):
        decode_from_server(encode(sent_by(masking, 1)[1]))


def test_an_oversized_frame_is_refused_at_its_header(masking: Cohort) -> None:
    """Before a byte of its content is held: the announced length is enough."""
    payload = encode(message_for(masking, 1))
    reader = FrameReader(limit=len(payload) - 1)
    with pytest.raises(DecodeError, match="a frame has 1 to"):
        list(reader.feed(frame(payload)[:HEADER_BYTES]))
