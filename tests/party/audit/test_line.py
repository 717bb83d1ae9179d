"""One line: one form, one hash, one signature."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import VerifyKey

from party.audit.line import (
    MAX_LINE_BYTES,
    ORIGIN,
    Body,
    Line,
    body_hash,
    decode,
    decode_head,
    encode,
    is_signed,
    sealed,
)
from secagg.errors import DecodeError
from tests.party.audit.written import ANNA, BERTA, head, written

values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.text(max_size=20),
    st.lists(st.integers(0, 4096), max_size=4),
)
bodies = st.builds(
    Body,
    seq=st.integers(1, 2**53),
    time=st.text(max_size=24),
    event=st.text(max_size=24),
    fields=st.dictionaries(st.text(max_size=12), values, max_size=5),
    salt=st.binary(min_size=16, max_size=16).map(bytes.hex),
    previous=st.binary(min_size=32, max_size=32).map(bytes.hex),
)


@given(bodies)
def test_a_line_is_read_back_and_has_one_form(body: Body) -> None:
    line = sealed(body, ANNA)
    data = encode(line)
    assert b"\n" not in data
    assert decode(data) == line
    assert body_hash(line) == line.hash == body_hash(body)
    assert is_signed(line, ANNA.public.hex())
    assert not is_signed(line, BERTA.public.hex())


@given(bodies, bodies)
def test_different_content_has_different_hashes(one: Body, other: Body) -> None:
    assert (body_hash(one) == body_hash(other)) == (one == other)


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def statement(label: str, *parts: bytes) -> bytes:
    return b"".join(u64(len(part)) + part for part in (f"secagg/1/{label}".encode(), *parts))


def test_hash_and_signature_are_as_operations_md_says() -> None:
    for line in written():
        read = json.loads(encode(line))
        content = (
            bytes.fromhex(read["previous"]),
            u64(read["seq"]),
            read["time"].encode(),
            read["event"].encode(),
            json.dumps(read["fields"], sort_keys=True, separators=(",", ":")).encode(),
            bytes.fromhex(read["salt"]),
        )
        hashed = hashlib.sha256(statement("audit entry", *content)).digest()
        assert read["hash"] == hashed.hex()
        signed = statement("audit head", ANNA.public, u64(read["seq"]), hashed)
        VerifyKey(ANNA.public).verify(signed, bytes.fromhex(read["signature"]))
    assert json.loads(encode(written()[0]))["previous"] == ORIGIN == "0" * 64


GOOD = encode(written()[0])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        GOOD + b" ",
        b" " + GOOD,
        GOOD + b"\r",
        GOOD.replace(b'"seq":1', b'"seq":1.0'),
        GOOD.replace(b'"seq":1', b'"seq":0'),
        GOOD.replace(b'"seq":1', b'"seq":01'),
        GOOD.replace(b'"seq":1', b'"seq":2,"seq":1'),
        GOOD.replace(b'{"seq":1', b'{"more":1,"seq":1'),
        GOOD.replace(b"started", b"\\u0073tarted"),
        GOOD.replace(b"started", b"\xffstarted"),
        GOOD[:-2].upper() + GOOD[-2:],
        GOOD[:-2] + b'\\n"}',
        GOOD[:-10],
        b'{"seq":' + b"9" * MAX_LINE_BYTES,
    ],
)
def test_anything_but_the_one_form_is_refused(data: bytes) -> None:
    assert decode(GOOD) == written()[0]
    with pytest.raises(DecodeError):
        decode(data)


@pytest.mark.parametrize("name", ["salt", "previous", "hash", "signature"])
@pytest.mark.parametrize("change", [str.upper, lambda text: text + "\n", lambda text: text[2:]])
def test_hex_has_one_form(name: str, change: object) -> None:
    line = written()[1]
    assert callable(change)
    changed = msgspec.structs.replace(line, **{name: change(getattr(line, name))})
    assert changed != line
    with pytest.raises(DecodeError):
        decode(encode(changed))


def test_a_line_names_only_what_a_line_has() -> None:
    assert list(json.loads(GOOD)) == list(Line.__struct_fields__)


def test_a_head_says_that_a_line_is_signed_and_nothing_of_what_it_says() -> None:
    lines = written()
    kept = head(lines, 3)
    assert kept.is_signed()
    assert decode_head(encode(kept)) == decode_head(encode(kept) + b"\n") == kept
    assert set(json.loads(encode(kept))) == {"seq", "hash", "identity_key", "signature"}
    for name, value in (("seq", 4), ("hash", lines[3].hash), ("signature", lines[3].signature)):
        assert not msgspec.structs.replace(kept, **{name: value}).is_signed()
    other = msgspec.structs.replace(kept, identity_key=BERTA.public.hex())
    assert not other.is_signed()


def test_equal_events_have_unrelated_hashes() -> None:
    """Whoever keeps the heads cannot try all likely lines: the salt is not among what they have."""
    once, again = written(seed=b"1" * 32), written(seed=b"2" * 32)
    assert [line.fields for line in once] == [line.fields for line in again]
    assert not {line.hash for line in once} & {line.hash for line in again}
