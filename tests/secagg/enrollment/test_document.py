from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.crypto.hashing import Label
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey, verify
from secagg.enrollment.document import MAX_BYTES, Enrollment, read
from secagg.errors import DecodeError

KEY = IdentityKey(Secret(bytes(range(32))))
REQUEST = "-----BEGIN CERTIFICATE REQUEST-----\nMIH\n-----END CERTIFICATE REQUEST-----\n"
ENROLLMENT = Enrollment.signed("anna", KEY, REQUEST)


def test_what_was_signed_is_read() -> None:
    enrollment = read(ENROLLMENT.encoded())
    assert enrollment == ENROLLMENT
    assert (enrollment.name, enrollment.public) == ("anna", KEY.public)
    assert enrollment.certificate_request == REQUEST
    assert verify(
        KEY.public,
        bytes.fromhex(enrollment.signature),
        Label.ENROLLMENT,
        b"anna",
        KEY.public,
        REQUEST.encode(),
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "berta"),
        ("certificate_request", REQUEST + "\n"),
        ("identity_key", IdentityKey(Secret(bytes(32))).public.hex()),
        ("identity_key", "00" * 32),
        ("signature", "00" * 64),
    ],
)
def test_what_was_altered_is_refused(field: str, value: str) -> None:
    fields = json.loads(ENROLLMENT.encoded())
    assert fields[field] != value
    fields[field] = value
    with pytest.raises(DecodeError, match="altered"):
        read(json.dumps(fields).encode())


def test_each_field_changes_the_fingerprint() -> None:
    other = IdentityKey(Secret(bytes(32)))
    prints = {
        ENROLLMENT.fingerprint,
        Enrollment.signed("berta", KEY, REQUEST).fingerprint,
        Enrollment.signed("anna", other, REQUEST).fingerprint,
        Enrollment.signed("anna", KEY, REQUEST + "\n").fingerprint,
    }
    assert len(prints) == 4


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "Anna!"), ("signature", "00"), ("schema", "secagg-enrollment/2"), ("more", 1)],
)
def test_another_form_is_refused(field: str, value: object) -> None:
    fields = json.loads(ENROLLMENT.encoded()) | {field: value}
    with pytest.raises(DecodeError, match=field):
        read(json.dumps(fields).encode())


def test_what_is_too_long_is_not_looked_at() -> None:
    with pytest.raises(DecodeError, match="at most"):
        read(ENROLLMENT.encoded() + b" " * MAX_BYTES)


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        read(data)
