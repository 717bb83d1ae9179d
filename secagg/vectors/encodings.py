"""Vectors of kind ``primitives``: messages, frames and policies as bytes, well-formed and not."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final, Literal

import msgspec

from secagg.crypto.hashing import Label, digest
from secagg.crypto.randomness import SeededRandomness
from secagg.errors import DecodeError
from secagg.policy import load
from secagg.vectors.cohort import Config
from secagg.vectors.document import Document, Expect, VectorError
from secagg.vectors.edits import Edit, edited
from secagg.vectors.primitives import Primitive, limited
from secagg.wire.codec import decode_from_client, decode_from_server, encode
from secagg.wire.framing import FrameReader, frame

LONG: Final = 4096
"""Longer bytes are given by their length and SHA-256."""


class Decode(Primitive, frozen=True, tag="decode"):
    """A message: ``base`` with ``edits`` in it, encoded, then changed as bytes by ``raw``.

    In ``base``, ``{"draw": n}`` stands for the next n drawn bytes.
    """

    to: Literal["server", "party"]
    base: list[Any]
    edits: list[Edit]
    raw: list[tuple[str, list[Any]]]

    def outcome(self, source: SeededRandomness) -> Document:
        values = _drawn(self.base, source)
        base = hashlib.sha256(msgspec.msgpack.encode(values)).hexdigest()
        values = edited(values, self.edits, {})
        data = msgspec.msgpack.encode(values)
        for name, arguments in self.raw:
            data = _changed(data, name, arguments)
        decode = decode_from_client if self.to == "server" else decode_from_server
        receiver = {"receiver": self.to, "base_sha256": base}
        try:
            message = decode(data)
        except DecodeError:
            return {**receiver, "bytes": shown(data), "expect": Expect.DECODE_ERROR}
        return {
            **receiver,
            "bytes": shown(data),
            "expect": Expect.SUCCESS,
            "encoded": shown(encode(message)),
        }


class Frames(Primitive, frozen=True, tag="frames"):
    """Payloads of ``sizes`` drawn bytes, framed, ``raw`` done to the stream, and read again.

    The stream comes in pieces of ``piece`` bytes and then ends.
    """

    sizes: list[int]
    limit: int
    piece: int
    raw: list[tuple[str, list[Any]]]

    def outcome(self, source: SeededRandomness) -> Document:
        payloads = [source.draw(limited(size)) for size in self.sizes]
        stream = b"".join(map(frame, payloads))
        for name, arguments in self.raw:
            stream = _changed(stream, name, arguments)
        if not 1 <= self.piece <= 2**20:
            raise VectorError("a stream comes in pieces of one byte or more")
        cut = [stream[at : at + self.piece] for at in range(0, len(stream), self.piece)]
        outcome: Document = {
            "stream": shown(stream),
            "pieces": [len(each) for each in cut],
            "room_in_the_last": self.piece * len(cut) - len(stream),
            "spare": self.limit - max(self.sizes),
        }
        reader, read = FrameReader(self.limit), []
        try:
            for each in cut:
                for payload in reader.feed(each):
                    read.append(payload.hex())
            reader.finish()
        except DecodeError:
            return {**outcome, "expect": Expect.DECODE_ERROR, "read": read}
        return {**outcome, "expect": Expect.SUCCESS, "read": read}


class LoadPolicy(Primitive, frozen=True, tag="policy"):
    """A policy with drawn keys (the server's, then the roster's), changed, written and loaded.

    ``changes``: ``[way, value]`` puts a value at a way of keys and places, ``[way]`` takes away
    what is there; ``replace``: ``[old, new]`` in the text.
    """

    config: Config
    changes: list[list[Any]]
    replace: list[list[str]]

    def outcome(self, source: SeededRandomness) -> Document:
        keys = [source.draw(32) for _ in range(len(self.config.hospitals) + 1)]
        document = self.config.unchecked(keys)
        unchanged = digest(Label.POLICY, _text(document).encode()).hex()
        for way, *value in self.changes:
            _change(document, way, value)
        text = _text(document)
        for old, new in self.replace:
            if text.count(old) != 1:
                raise VectorError(f"{old!r} does not stand in the policy once")
            text = text.replace(old, new)
        try:
            policy = load(text.encode())
        except DecodeError:
            return {"unchanged_digest": unchanged, "text": text, "expect": Expect.DECODE_ERROR}
        return {
            "unchanged_digest": unchanged,
            "text": text,
            "expect": Expect.SUCCESS,
            "canonical": policy.canonical().decode(),
            "policy_digest": policy.digest().hex(),
            "threshold": policy.threshold,
            "bits": policy.ring.bits,
            "tail": policy.mechanism.tail(),
        }


def _text(document: Document) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def shown(data: bytes) -> str | Document:
    """Bytes in a vector: hex, or length and digest of many."""
    if len(data) <= LONG:
        return data.hex()
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _drawn(written: Any, source: SeededRandomness) -> Any:
    if isinstance(written, list):
        return [_drawn(each, source) for each in written]
    if isinstance(written, dict):
        if written.keys() != {"draw"}:
            raise VectorError(f"not a value of a message: {written}")
        return source.draw(limited(written["draw"]))
    return written


def _changed(data: bytes, name: str, arguments: list[Any]) -> bytes:
    """``cut [n]``: without the last n bytes; ``append [hex]``; ``replace [hex, hex]``, the first
    that occurs."""
    match name, arguments:
        case "cut", [int(count)] if 0 < count <= len(data):
            return data[:-count]
        case "append", [str(tail)]:
            return data + bytes.fromhex(tail)
        case "replace", [str(old), str(new)] if bytes.fromhex(old) in data:
            return data.replace(bytes.fromhex(old), bytes.fromhex(new), 1)
    raise VectorError(f"bytes are not changed by {name} {arguments}")


def _change(document: Any, way: list[Any], value: list[Any]) -> None:
    before, inner = _text(document), document
    if any(isinstance(step, int) and step < 0 for step in way):
        raise VectorError(f"a way with places before the first: {way}")
    for step in way[:-1]:
        inner = inner[step]
    if value:
        (inner[way[-1]],) = value
    else:
        del inner[way[-1]]
    if _text(document) == before:
        raise VectorError(f"the change at {way} changes nothing")


ENCODINGS = Decode | Frames | LoadPolicy
