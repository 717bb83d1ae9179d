from __future__ import annotations

import json
from typing import Any

import pytest

from party.submission.body import MAX_ROUND, BodyError, decode_body

PATIENT = {"patient_id": "PATIENT_001", "encrypted_data": "gAAAA", "data_hash": "ab" * 32}


def decode(patients: Any = (PATIENT,), **members: Any) -> Any:
    body = {"patient_data_list": list(patients), "round_number": 5, **members}
    return decode_body(json.dumps(body).encode())


def test_the_manuals_body_is_read() -> None:
    body = decode([PATIENT | {"ipfs_cid": "QmV5koooi"}])
    assert body.round_number == 5
    (patient,) = body.patient_data_list
    assert (patient.name, patient.encrypted_data, patient.data_hash) == tuple(PATIENT.values())


@pytest.mark.parametrize("cid", [None, 7, [], {"/": "Qm"}, "", "x" * 10_000, True, [[[[]]]]])
def test_an_ipfs_cid_may_be_anything(cid: object) -> None:
    assert decode([PATIENT | {"ipfs_cid": cid}]) == decode()


def test_members_that_the_node_has_no_use_for_are_not_read() -> None:
    assert decode([PATIENT | {"ward": {"bed": 4}}], hospital="A", metadata=[1]) == decode()


@pytest.mark.parametrize(("sent", "name"), [(17, "17"), (" P-1 ", "P-1"), ("", "")])
def test_an_id_is_spelled_as_a_record_spells_it(sent: object, name: str) -> None:
    assert decode([PATIENT | {"patient_id": sent}]).patient_data_list[0].name == name


@pytest.mark.parametrize("number", [1, MAX_ROUND])
def test_rounds_are_numbered_from_1(number: int) -> None:
    assert decode(round_number=number).round_number == number


CANARY = "CANARY"


@pytest.mark.parametrize(
    ("patients", "members", "place"),
    [
        ([], {}, "patient_data_list: "),
        (["CANARY"], {}, "patient_data_list[0]: "),
        ([PATIENT, {"patient_id": CANARY}], {}, "patient_data_list[1].encrypted_data: is missing"),
        ([PATIENT | {"data_hash": 5}], {}, "patient_data_list[0].data_hash: "),
        ([PATIENT | {"data_hash": None}], {}, "patient_data_list[0].data_hash: "),
        ([PATIENT | {"encrypted_data": [CANARY]}], {}, "patient_data_list[0].encrypted_data: "),
        ([PATIENT | {"patient_id": True}], {}, "patient_data_list[0].patient_id: "),
        ([PATIENT | {"patient_id": CANARY * 50}], {}, "patient_data_list[0].patient_id: "),
        ([PATIENT], {"round_number": 0}, "round_number: "),
        ([PATIENT], {"round_number": -1}, "round_number: "),
        ([PATIENT], {"round_number": 2.5}, "round_number: "),
        ([PATIENT], {"round_number": True}, "round_number: "),
        ([PATIENT], {"round_number": CANARY}, "round_number: "),
        ([PATIENT], {"round_number": MAX_ROUND + 1}, "round_number: "),
        ([PATIENT], {"round_number": 10**30}, "round_number: "),
    ],
)
def test_a_wrong_member_is_named_and_not_quoted(
    patients: list[Any], members: dict[str, Any], place: str
) -> None:
    with pytest.raises(BodyError) as refused:
        decode(patients, **members)
    assert str(refused.value).startswith(place)
    assert CANARY not in str(refused.value)


NUMBER = b'"round_number": 5'
DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"CANARY",
        b"[]",
        b"null",
        b"{",
        b"\xff\xfe",
        b"{" + NUMBER + b', "patient_data_list": ' + DEEP,
        b"{" + NUMBER + b', "unread": ' + DEEP + b"]" * 100_000 + b"}",
        b"{" + NUMBER + b', "unread": NaN}',
        b"{" + NUMBER.replace(b"5", b"9" * 100_000) + b"}",
        b"{" + NUMBER.replace(b"5", b"Infinity") + b"}",
        b'{"round_number": "\\ud800"}',
        b"\x1f\x8b\x08gzip",
    ],
)
def test_what_is_no_submission_is_refused(data: bytes) -> None:
    with pytest.raises(BodyError) as refused:
        decode_body(data)
    assert len(str(refused.value)) < 200
    assert "CANARY" not in str(refused.value)


def test_of_a_member_that_stands_twice_the_last_one_counts() -> None:
    patients = json.dumps([PATIENT]).encode()
    data = b'{"round_number": 4, "patient_data_list": ' + patients + b', "round_number": 6}'
    assert decode_body(data).round_number == 6


def test_neither_a_body_nor_a_patient_shows_its_content() -> None:
    body = decode([PATIENT | {"patient_id": CANARY, "encrypted_data": CANARY}])
    assert CANARY not in repr(body)
    assert CANARY not in repr(body.patient_data_list)
