"""Messages to bytes and back: msgpack, one type per direction, nothing unknown accepted."""

from __future__ import annotations

from typing import Final

import msgspec

from secagg.errors import DecodeError
from secagg.wire.messages import FromClient, FromServer, Wire

_ENCODER: Final = msgspec.msgpack.Encoder()
_FROM_CLIENT: Final = msgspec.msgpack.Decoder(FromClient)
_FROM_SERVER: Final = msgspec.msgpack.Decoder(FromServer)

# msgspec lets the error of text that is not UTF-8 through as Python raises it.
_MALFORMED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def encode(message: Wire) -> bytes:
    """The wire bytes of one message."""
    return _ENCODER.encode(message)


def decode_from_client(data: bytes) -> FromClient:
    """What the server reads; raises DecodeError for anything but one well-formed message."""
    try:
        message: FromClient = _FROM_CLIENT.decode(data)
    except _MALFORMED as error:
        raise DecodeError(f"not a message of a party: {error}") from None
    return message


def decode_from_server(data: bytes) -> FromServer:
    """What a party reads; raises DecodeError for anything but one well-formed message."""
    try:
        message: FromServer = _FROM_SERVER.decode(data)
    except _MALFORMED as error:
        raise DecodeError(f"not a message of the server: {error}") from None
    return message
