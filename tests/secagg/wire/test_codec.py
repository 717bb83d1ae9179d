"""Bytes are one well-formed message or a DecodeError, whatever they are."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secagg.errors import DecodeError
from secagg.wire.codec import decode_from_client, decode_from_server, encode
from secagg.wire.framing import MAX_FRAME_BYTES
from secagg.wire.messages import (
    MAX_CHUNK_BYTES,
    MAX_CLIENTS,
    AttemptAborted,
    Challenge,
    FromClient,
    FromServer,
    Ready,
    Refusal,
    VectorChunk,
    Wire,
)
from tests.secagg.wire.samples import SAMPLES, largest

Decode = Callable[[bytes], Any]

FROM_CLIENT = get_args(FromClient)
FROM_SERVER = get_args(FromServer)
DIRECTIONS: list[tuple[type, Decode]] = [
    *((kind, decode_from_client) for kind in FROM_CLIENT),
    *((kind, decode_from_server) for kind in FROM_SERVER),
]


def test_there_is_a_sample_of_every_message() -> None:
    assert SAMPLES.keys() == {*FROM_CLIENT, *FROM_SERVER}


@pytest.mark.parametrize(("kind", "decode"), DIRECTIONS)
def test_what_is_encoded_comes_back(kind: type[Wire], decode: Decode) -> None:
    for message in SAMPLES[kind]:
        decoded = decode(encode(message))
        assert type(decoded) is kind
        assert decoded == message


@pytest.mark.parametrize("kind", [k for k in FROM_CLIENT if k not in FROM_SERVER])
def test_a_partys_message_is_none_of_the_servers(kind: type[Wire]) -> None:
    with pytest.raises(DecodeError, match="not a message of the server"):
        decode_from_server(encode(SAMPLES[kind][0]))


@pytest.mark.parametrize("kind", [k for k in FROM_SERVER if k not in FROM_CLIENT])
def test_a_servers_message_is_none_of_the_partys(kind: type[Wire]) -> None:
    with pytest.raises(DecodeError, match="not a message of a party"):
        decode_from_client(encode(SAMPLES[kind][0]))


# --- one defect at a time ------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "decode"), DIRECTIONS)
def test_trailing_missing_and_renamed_things_do_not_decode(
    kind: type[Wire], decode: Decode
) -> None:
    data = encode(SAMPLES[kind][0])
    fields = msgspec.msgpack.decode(data)
    assert fields[0] == kind.__name__
    defects = {
        "trailing byte": data + b"\0",
        "two messages": data + data,
        "nothing": b"",
        "unknown field": msgspec.msgpack.encode([*fields, 0]),
        "missing field": msgspec.msgpack.encode(fields[:-1]),
        "unknown tag": msgspec.msgpack.encode(["Sesame", *fields[1:]]),
        "no tag": msgspec.msgpack.encode(fields[1:]),
        "a map": msgspec.msgpack.encode({str(i): field for i, field in enumerate(fields)}),
        "nested": msgspec.msgpack.encode([fields]),
    }
    for defect, wrong in defects.items():
        with pytest.raises(DecodeError):
            pytest.fail(f"{defect}: {decode(wrong)}")


@pytest.mark.parametrize(("kind", "decode"), DIRECTIONS)
def test_a_message_cut_anywhere_does_not_decode(kind: type[Wire], decode: Decode) -> None:
    data = encode(SAMPLES[kind][0])
    for end in {*range(min(len(data), 64)), len(data) // 2, len(data) - 1}:
        with pytest.raises(DecodeError):
            decode(data[:end])


@pytest.mark.parametrize(
    ("message", "decode"),
    [
        (VectorChunk(bytes(31), 0, b"x"), decode_from_client),
        (VectorChunk(bytes(33), 0, b"x"), decode_from_client),
        (VectorChunk(bytes(32), -1, b"x"), decode_from_client),
        (VectorChunk(bytes(32), 2**53 + 1, b"x"), decode_from_client),
        (VectorChunk(bytes(32), 0, b""), decode_from_client),
        (VectorChunk(bytes(32), 0, bytes(MAX_CHUNK_BYTES + 1)), decode_from_client),
        (Ready(-1), decode_from_client),
        (Ready(2**63), decode_from_client),
        (Refusal("x" * 2001), decode_from_client),
        (AttemptAborted(bytes(32), "x" * 2001), decode_from_server),
        (Challenge(-1, bytes(32), bytes(32)), decode_from_server),
    ],
)
def test_every_field_has_its_bounds(message: Wire, decode: Decode) -> None:
    with pytest.raises(DecodeError):
        decode(encode(message))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x91" * 100_000, id="arrays in arrays"),
        pytest.param(b"\xdd\xff\xff\xff\xff", id="an array of 4 thousand million"),
        pytest.param(b"\xdf\xff\xff\xff\xff", id="a map of 4 thousand million"),
        pytest.param(b"\xc6\xff\xff\xff\xff", id="4 GB of bytes"),
        pytest.param(b"\x92\xa5Ready\xcf" + b"\xff" * 8, id="an integer of 64 bits"),
        pytest.param(b"\x92\xa5Ready\xcb" + struct.pack(">d", 1.0), id="a float"),
        pytest.param(b"\x92\xa7Refusal\xa2\xff\xfe", id="text that is no UTF-8"),
        pytest.param(b"\x92\xa2\xff\xfe\x01", id="a tag that is no UTF-8"),
        pytest.param(b"\x92\xa5Ready\xd4\x00\x00", id="an extension"),
        pytest.param(b"\xc1", id="the byte that means nothing"),
    ],
)
def test_hostile_bytes_are_a_decode_error_too(data: bytes) -> None:
    for decode in (decode_from_client, decode_from_server):
        with pytest.raises(DecodeError):
            decode(data)


def test_the_largest_messages_fit_a_frame() -> None:
    """For 4096 clients and vectors of 64 bits."""
    for message in largest():
        data = encode(message)
        assert len(data) <= MAX_FRAME_BYTES, type(message).__name__
        decode = decode_from_client if type(message) in FROM_CLIENT else decode_from_server
        assert decode(data) == message
    assert MAX_CLIENTS == 4096


# --- fuzz ----------------------------------------------------------------------------------------


def message_or_error(decode: Decode, data: bytes) -> None:
    """Anything but a message or a DecodeError fails the test by itself."""
    try:
        message = decode(data)
    except DecodeError:
        return
    assert isinstance(message, Wire)
    assert decode(encode(message)) == message


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    for decode in (decode_from_client, decode_from_server):
        message_or_error(decode, data)


LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
    | st.text(max_size=10) | st.binary(max_size=70) | st.just(bytes(32)) | st.just(bytes(64))
)  # fmt: skip
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=20,
)


@given(st.sampled_from([k.__name__ for k, _ in DIRECTIONS]), st.lists(ANYTHING, max_size=11))
@settings(max_examples=200)
def test_any_fields_under_a_known_tag(tag: str, fields: list[Any]) -> None:
    data = msgspec.msgpack.encode([tag, *fields])
    for decode in (decode_from_client, decode_from_server):
        message_or_error(decode, data)


@given(st.sampled_from(DIRECTIONS), st.data())
@settings(max_examples=300)
def test_any_damage_to_a_real_message(case: tuple[type[Wire], Decode], data: st.DataObject) -> None:
    kind, decode = case
    damaged = bytearray(encode(SAMPLES[kind][0])[:4000])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        match data.draw(st.sampled_from(["change", "insert", "delete"])):
            case "change":
                damaged[place] = data.draw(st.integers(0, 255))
            case "insert":
                damaged[place:place] = data.draw(st.binary(min_size=1, max_size=5))
            case _ if len(damaged) > 1:
                del damaged[place]
    message_or_error(decode, bytes(damaged))
