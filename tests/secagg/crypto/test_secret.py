"""secagg.crypto.secret: attack 16, secrets in logs, tracebacks, repr and pickles."""

import copy
import hmac
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.crypto import aead, keys, shamir
from secagg.crypto.hashing import Label
from secagg.crypto.kdf import derive
from secagg.crypto.prg import Keystream
from secagg.crypto.randomness import SeededRandomness
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey

OCTETS = bytes.fromhex("5ec2e7") * 10 + b"\xfa\xce"


def leaks(text: str) -> bool:
    """Whether ``text`` holds the secret in any of the forms in which Python prints bytes."""
    forms = (OCTETS.hex(), repr(OCTETS)[2:-1], str(list(OCTETS))[1:-1])
    number = int.from_bytes(OCTETS, "big")
    return any(form in text for form in (*forms, str(number), hex(number)[2:]))


def test_leak_detector_finds_what_it_looks_for() -> None:
    assert leaks(repr(OCTETS))
    assert leaks(repr(bytearray(OCTETS)))
    assert leaks(OCTETS.hex())
    assert leaks(f"{int.from_bytes(OCTETS, 'big')}")


@pytest.mark.parametrize(
    "render",
    [
        repr,
        str,
        ascii,
        lambda value: f"{value}",
        lambda value: f"{value!r:>80}",
        lambda value: f"{value:x}",
        lambda value: "%s %r" % (value, value),  # noqa: UP031 - the form that logging uses
        lambda value: str([value, {"key": value}]),
        lambda value: str(keys.KeyPair(value, bytes(32))),
        lambda value: repr(IdentityKey(value)),
    ],
)
def test_no_text_form_shows_a_secret(render: Callable[[Secret], str]) -> None:
    text = render(Secret(OCTETS))
    assert text
    assert not leaks(text)


@dataclass(frozen=True, slots=True)
class State:
    """Something that holds a secret, as the states of a client do."""

    key: Secret


@pytest.mark.parametrize(
    "serialise",
    [
        *(lambda value, protocol=protocol: pickle.dumps(value, protocol) for protocol in range(6)),
        lambda value: pickle.dumps(State(value)),
        lambda value: pickle.dumps(keys.KeyPair(value, bytes(32))),
        copy.copy,
        copy.deepcopy,
        lambda value: copy.deepcopy(State(value)),
        lambda value: asdict(State(value)),
        lambda value: value.__getstate__(),
        json.dumps,
        msgspec.json.encode,
        msgspec.msgpack.encode,
        bytes,
        vars,
        hash,
    ],
)
def test_a_secret_refuses_to_be_serialised(serialise: Callable[[Secret], object]) -> None:
    with pytest.raises(TypeError) as caught:
        serialise(Secret(OCTETS))
    assert not leaks("".join(traceback.format_exception(caught.value)))


def fail_to_open(value: Secret) -> None:
    aead.open_sealed(value, bytes(40), b"")


def fail_to_agree(value: Secret) -> None:
    keys.agree(value, bytes(32))


def fail_to_split(value: Secret) -> None:
    shamir.split(value, 3, [1, 2, 2], SeededRandomness(b""))


def fail_to_derive(value: Secret) -> None:
    derive(value, Label.CHANNEL, length=10**6)


def fail_to_read(value: Secret) -> None:
    Keystream(value, -1)


@pytest.mark.parametrize(
    "fail", [fail_to_open, fail_to_agree, fail_to_split, fail_to_derive, fail_to_read]
)
def test_no_traceback_shows_a_secret_even_with_its_local_variables(
    fail: Callable[[Secret], None],
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        fail(Secret(OCTETS))
    shown = "".join(
        traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    )
    assert "Secret(<redacted>)" in shown, "the locals were not captured"
    assert not leaks(shown)


def test_no_log_record_shows_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("secagg.test").warning("key %s in %r", Secret(OCTETS), State(Secret(OCTETS)))
    assert "redacted" in caplog.text
    assert not leaks(caplog.text)


@given(st.binary(min_size=1, max_size=64))
def test_reveal_gives_the_bytes_back(octets: bytes) -> None:
    assert Secret(octets).reveal() == octets
    assert len(Secret(octets)) == len(octets)


@given(st.binary(min_size=1, max_size=4), st.binary(min_size=1, max_size=4))
def test_secrets_are_equal_when_their_bytes_are(left: bytes, right: bytes) -> None:
    assert (Secret(left) == Secret(right)) == (left == right)
    assert Secret(left) != left


def test_comparison_takes_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    library_compare = hmac.compare_digest

    def recording(left: bytes, right: bytes) -> bool:
        compared.append((bytes(left), bytes(right)))
        return library_compare(left, right)

    monkeypatch.setattr("secagg.crypto.secret.hmac.compare_digest", recording)
    assert Secret(b"same") == Secret(b"same")
    assert Secret(b"same") != Secret(b"some")
    assert compared == [(b"same", b"same"), (b"same", b"some")]


def test_a_wiped_secret_is_gone() -> None:
    wiped = Secret(OCTETS)
    wiped.wipe()
    wiped.wipe()
    with pytest.raises(ValueError, match="wiped"):
        wiped.reveal()
    assert len(wiped) == 0
    assert wiped != Secret(OCTETS)
    other = Secret(OCTETS)
    other.wipe()
    assert wiped != other


def test_wiping_overwrites_the_bytes_before_it_lets_them_go() -> None:
    wiped = Secret(OCTETS)
    view = memoryview(wiped._octets)
    with pytest.raises(BufferError):  # the view pins the length; overwriting came first
        wiped.wipe()
    assert bytes(view) == bytes(len(OCTETS))


def test_a_secret_is_a_copy_of_what_it_was_given() -> None:
    source = bytearray(OCTETS)
    kept = Secret(source)
    source[:] = bytes(len(source))
    assert kept.reveal() == OCTETS


def test_no_bytes_are_no_secret() -> None:
    with pytest.raises(ValueError, match="no secret"):
        Secret(b"")
