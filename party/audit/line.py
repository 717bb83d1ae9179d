"""One line of the audit log: its bytes, its hash, its signature. Pure; docs/operations.md tells it.

A line is canonical JSON (members in the order below, no spaces, fields sorted), so it has exactly
one form, and every byte of it is covered: by the hash, or by the signature of the hash.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

import msgspec

from secagg.crypto.hashing import Label, digest, u64
from secagg.crypto.signatures import IdentityKey, verify
from secagg.errors import DecodeError

SALT_BYTES: Final = 16

ORIGIN: Final = "0" * 64
"""What the first line names as the hash of the line before it."""

MAX_LINE_BYTES: Final = 64 * 1024
"""Longer than any event: the longest ones list the hospitals of a round, at most 4096."""

_Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Salt = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
_Signature = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{128}\Z")]
_Sequence = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
_Value = bool | int | str | list[int] | None


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What happened, and where it stands: the ``seq``-th line, after the one hashed ``previous``.

    ``time``: UTC, to the second. ``salt``: 16 random bytes, so that a hash that is kept elsewhere
    tells nothing about the line to whoever tries all likely ones.
    """

    seq: _Sequence
    time: str
    event: str
    fields: dict[str, _Value]
    salt: _Salt
    previous: _Hash


class Line(Body, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A body with its ``hash`` and the hospital's ``signature`` of (seq, hash)."""

    hash: _Hash
    signature: _Signature


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The newest line's number, hash and signature: enough to hold a whole log to it later."""

    seq: _Sequence
    hash: _Hash
    identity_key: _Hash
    signature: _Signature

    def is_signed(self) -> bool:
        """Whether ``signature`` is ``identity_key``'s."""
        return _is_signed(self.identity_key, self.signature, self.seq, self.hash)


_Form = TypeVar("_Form", Line, Head)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a log ends: the number and the hash of its last line."""

    seq: int = 0
    hash: str = ORIGIN


def sealed(body: Body, identity: IdentityKey) -> Line:
    """``body`` with its hash, signed."""
    content = {name: getattr(body, name) for name in Body.__struct_fields__}
    hashed = body_hash(body)
    signature = identity.sign(*_statement(identity.public.hex(), body.seq, hashed))
    return Line(**content, hash=hashed, signature=signature.hex())


def body_hash(body: Body) -> str:
    """The hash of a line: of the one before it, and of everything in it but its signature."""
    parts = (
        bytes.fromhex(body.previous),
        u64(body.seq),
        body.time.encode(),
        body.event.encode(),
        msgspec.json.encode(body.fields, order="deterministic"),
        bytes.fromhex(body.salt),
    )
    return digest(Label.AUDIT_ENTRY, *parts).hex()


def is_signed(line: Line, identity_key: str) -> bool:
    """Whether the hospital with this key (64 hex digits) has signed ``line``'s seq and hash."""
    return is_key(identity_key) and _is_signed(identity_key, line.signature, line.seq, line.hash)


def is_key(text: str) -> bool:
    """Whether ``text`` is a key as it is written here: 64 lower-case hex digits."""
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


def head_of(line: Line, identity_key: str) -> Head:
    """What to keep elsewhere of ``line``."""
    return Head(seq=line.seq, hash=line.hash, identity_key=identity_key, signature=line.signature)


def encode(value: Line | Head) -> bytes:
    """The one form of a line or a head, without the line feed that ends it."""
    return msgspec.json.encode(value, order="deterministic")


def decode(data: bytes) -> Line:
    """The inverse of :func:`encode`. Raises DecodeError for anything but the one form."""
    line = _parsed(data, Line)
    if encode(line) != data:
        raise DecodeError("not in the one form that the node writes")
    return line


def decode_head(data: bytes) -> Head:
    """A head, in whatever form of JSON it was kept. Raises DecodeError."""
    return _parsed(data, Head)


def _parsed(data: bytes, kind: type[_Form]) -> _Form:
    if len(data) > MAX_LINE_BYTES:
        raise DecodeError(f"longer than the {MAX_LINE_BYTES} bytes that any line may have")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DecodeError(str(error)) from None


def _is_signed(identity_key: str, signature: str, seq: int, hashed: str) -> bool:
    statement = _statement(identity_key, seq, hashed)
    return verify(bytes.fromhex(identity_key), bytes.fromhex(signature), *statement)


def _statement(identity_key: str, seq: int, hashed: str) -> tuple[Label, bytes, bytes, bytes]:
    return Label.AUDIT_HEAD, bytes.fromhex(identity_key), u64(seq), bytes.fromhex(hashed)
