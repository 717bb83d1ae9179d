from __future__ import annotations

import json

import pytest

from secagg.enrollment.answer import MAX_BYTES, Answer, read
from secagg.errors import DecodeError
from secagg.policy import Member, Policy, VectorSpec, checked

POLICY = checked(
    Policy(
        consortium="test",
        server_key="09" * 32,
        roster=tuple(Member(name, f"0{k}" * 32) for k, name in enumerate(("a", "b", "c"), 1)),
        corrupt=1,
        dropouts=0,
        min_survivors=3,
        vector=VectorSpec(4, 100),
    )
)
ANSWER = Answer(
    name="a",
    policy=POLICY,
    authority="ca",
    certificate="certificate",
    server_host="secagg.example.org",
    server_port=8443,
)


def test_what_was_written_is_read() -> None:
    answer = read(ANSWER.encoded())
    assert answer == ANSWER
    assert answer.policy.digest() == POLICY.digest()


@pytest.mark.parametrize(
    "host", ['x"\n[api]\nhost = "0.0.0.0', "https://a", "", "a b", "fe80::1%eth0"]
)
def test_a_host_that_would_write_into_a_configuration_is_refused(host: str) -> None:
    fields = json.loads(ANSWER.encoded()) | {"server_host": host}
    with pytest.raises(DecodeError, match="server_host"):
        read(json.dumps(fields).encode())


@pytest.mark.parametrize("host", ["secagg", "10.0.0.7", "::1", "a-b.example.org"])
def test_names_and_addresses_are_hosts(host: str) -> None:
    fields = json.loads(ANSWER.encoded()) | {"server_host": host}
    assert read(json.dumps(fields).encode()).server_host == host


def test_a_policy_that_breaks_a_bound_is_refused() -> None:
    fields = json.loads(ANSWER.encoded())
    fields["policy"]["min_survivors"] = 1
    with pytest.raises(DecodeError, match="min_survivors"):
        read(json.dumps(fields).encode())


@pytest.mark.parametrize(("field", "value"), [("name", "A"), ("server_port", 0), ("identity", "")])
def test_another_form_is_refused(field: str, value: object) -> None:
    fields = json.loads(ANSWER.encoded()) | {field: value}
    with pytest.raises(DecodeError, match=field):
        read(json.dumps(fields).encode())


def test_what_is_too_long_is_not_looked_at() -> None:
    with pytest.raises(DecodeError, match="at most"):
        read(b" " * (MAX_BYTES + 1))
