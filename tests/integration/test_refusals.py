"""Every error of the interface over HTTP, against a node that runs."""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from cryptography.fernet import Fernet

from tests.integration.lone_node import LoneNode, lone_node, reasons
from tests.integration.posting import patient
from tests.party.ehr import entry

CANARY = "CANARY"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneNode]:
    with lone_node(
        tmp_path_factory.mktemp("node"), api__connect_deadline="0.3", api__max_body_bytes="4000000"
    ) as running:
        yield running


def refused(answer: requests.Response, status: int, *told: str) -> str:
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"detail"}
    detail = str(answer.json()["detail"])
    for each in told:
        assert each in detail
    assert CANARY not in detail
    return detail


def accepted(node: LoneNode) -> list[dict[str, Any]]:
    """The submissions that were queued, by the audit log."""
    return [line["fields"] for line in node.audited() if line["event"] == "submission accepted"]


# --- what is wrong with a batch ------------------------------------------------------------------


def test_another_key(node: LoneNode) -> None:
    body = node.body(patient(1), patient(2))
    body["patient_data_list"][1] = entry(Fernet(Fernet.generate_key()), patient(2))
    refused(node.post(body), 400, "decryption failed", "PATIENT_002", "fernet_key_file")


@pytest.mark.parametrize("token", ["", "gAAAAA", "\u00fc", "x" * 90_000, "\x00"])
def test_what_is_no_token(node: LoneNode, token: str) -> None:
    body = node.body(patient(1))
    body["patient_data_list"][0]["encrypted_data"] = token
    answer = node.post(body)
    assert answer.status_code in {400, 422}
    assert "encrypted_data" in answer.json()["detail"]


def test_another_hash(node: LoneNode) -> None:
    body = node.body(patient(1), patient(2))
    body["patient_data_list"][1]["data_hash"] = hashlib.sha256(b"other").hexdigest()
    refused(node.post(body), 400, "data_hash", "PATIENT_002")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"age": CANARY}, "age"),
        ({"age": -1}, "age"),
        ({"age": 131}, "age"),
        ({"age": 10**400}, "age"),
        ({"vitals": {"bp": CANARY}}, "vitals.bp"),
        ({"vitals": {"hr": CANARY}}, "vitals.hr"),
        ({"labs": {"wbc": 12}}, "labs.wbc"),
        ({"labs": {"wbc": True}}, "labs.wbc"),
        ({"symptoms": CANARY}, "symptoms"),
        ({"symptoms": ["fever"] * 300}, "symptoms"),
        ({"diagnosis": ""}, "diagnosis"),
        ({"diagnosis": None}, "diagnosis"),
        ({"id": CANARY}, "id"),
    ],
)
def test_a_wrong_type_or_range(node: LoneNode, fields: dict[str, Any], field: str) -> None:
    body = node.body(patient(1), patient(2, **fields))
    detail = refused(node.post(body), 422, "patient_data_list[1]", "PATIENT_002")
    assert f"{field}:" in detail


def test_the_same_patient_twice(node: LoneNode) -> None:
    body = node.body(patient(1), patient(2), patient(1, age=46))
    refused(node.post(body), 422, "patient_data_list[2]", "PATIENT_001", "patient_id", "twice")


def test_another_patient_inside(node: LoneNode) -> None:
    body = node.body(patient(1))
    body["patient_data_list"][0]["patient_id"] = "PATIENT_009"
    refused(node.post(body), 422, "patient_id", "PATIENT_009", "differs")


def test_more_patients_than_the_policy_allows(node: LoneNode) -> None:
    body = node.body(*(patient(i) for i in range(2049)))
    refused(node.post(body), 422, "patient_data_list", "2049", "1 to 2048")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda body: body.pop("round_number"), "round_number: is missing"),
        (lambda body: body.pop("patient_data_list"), "patient_data_list: is missing"),
        (lambda body: body.update(round_number=0), "round_number"),
        (lambda body: body.update(round_number="5"), "round_number"),
        (lambda body: body.update(round_number=10**40), "round_number"),
        (lambda body: body.update(round_number=2**53 + 1), "round_number"),
        (lambda body: body.update(round_number=True), "round_number"),
        (lambda body: body.update(patient_data_list=[]), "patient_data_list"),
        (lambda body: body.update(patient_data_list={}), "patient_data_list"),
        (
            lambda body: body["patient_data_list"][0].pop("data_hash"),
            "patient_data_list[0].data_hash: is missing",
        ),
        (
            lambda body: body["patient_data_list"][0].update(patient_id=None),
            "patient_data_list[0].patient_id",
        ),
    ],
)
def test_what_is_no_submission(
    node: LoneNode, change: Callable[[dict[str, Any]], object], field: str
) -> None:
    body = node.body(patient(1))
    change(body)
    assert refused(node.post(body), 422).startswith(field.split(":", maxsplit=1)[0])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"CANARY",
        b"[]",
        b"\xff",
        b"[" * 1_000_000,
        b'{"round_number": 5, "patient_data_list": ' + b'{"a":' * 500_000,
        b'{"round_number": ' + b"9" * 3_000_000 + b"}",
        b'{"round_number": NaN, "patient_data_list": []}',
        b'{"round_number": 1e999, "patient_data_list": []}',
    ],
)
def test_what_is_no_json_worth_reading(node: LoneNode, data: bytes) -> None:
    for headers in ({"Content-Type": "application/json"}, {}):
        refused(node.post(data=data, json=None, headers=headers), 422)


def test_a_token_may_hold_no_bomb_either(node: LoneNode) -> None:
    for plaintext in (b"[" * 60_000, b'{"a":' * 10_000, b"9" * 60_000, b"NaN", b"\xff", b"null"):
        body = node.body(patient(1))
        body["patient_data_list"][0] |= {
            "encrypted_data": node.fernet.encrypt(plaintext).decode(),
            "data_hash": hashlib.sha256(plaintext).hexdigest(),
        }
        refused(node.post(body), 422, "patient_data_list[0]", "PATIENT_001")


# --- what is wrong with a request ----------------------------------------------------------------


def test_too_large(node: LoneNode) -> None:
    for data in (bytes(4_000_001), (bytes(50_000) for _ in range(81))):
        refused(node.post(data=data, json=None), 413, "4000000 bytes", "max_body_bytes")
        assert reasons(node.audited())[-1] == "too large"


def test_a_hundred_large_bodies_take_turns(node: LoneNode) -> None:
    before = most_memory(node.process.pid)
    data = b'{"unread": "' + bytes(b"x" * 3_900_000) + b'"}'
    with ThreadPoolExecutor(100) as pool:
        posts = [pool.submit(node.post, data=data, json=None) for _ in range(100)]
        assert {each.result().status_code for each in posts} == {422}
    assert most_memory(node.process.pid) < before + 120  # and not + 390


def most_memory(pid: int) -> int:
    """The most that a process has had in memory so far, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) // 1000


def test_compressed(node: LoneNode) -> None:
    packed = gzip.compress(json.dumps(node.body(patient(1))).encode())
    for encoding in ("gzip", "deflate", "br"):
        answer = node.post(data=packed, json=None, headers={"Content-Encoding": encoding})
        refused(answer, 415, "Content-Encoding")


def test_a_form_of_a_web_page(node: LoneNode) -> None:
    data = json.dumps(node.body(patient(1)))
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; x=y"):
        answer = node.post(data=data, json=None, headers={"Content-Type": kind})
        refused(answer, 415, "application/json")


def test_a_page_of_another_site(node: LoneNode) -> None:
    for headers in ({"Origin": "https://attacker.example"}, {"Sec-Fetch-Site": "cross-site"}):
        refused(node.post(node.body(patient(1)), headers=headers), 403, "allowed_origins")
        refused(node.request("DELETE", "/participation", headers=headers), 403)


def test_another_name_for_this_machine(node: LoneNode) -> None:
    headers = {"Host": "attacker.example"}
    refused(node.post(node.body(patient(1)), headers=headers), 400, "allowed_hosts")


def test_no_such_path_and_no_such_method(node: LoneNode) -> None:
    refused(node.request("GET", "/submit"), 404, "/docs")
    refused(node.request("GET", "/submit-federated-update"), 405, "/docs")
    refused(node.request("OPTIONS", "/submit-federated-update"), 405)


def test_a_connection_that_ends_within_the_body(node: LoneNode) -> None:
    address = (urlsplit(node.url).hostname, urlsplit(node.url).port)
    for _ in range(3):
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(
                b"POST /submit-federated-update HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Length: 1000\r\n\r\n{"
            )
    assert node.request("GET", "/healthz").status_code == 200
    assert '"bug"' not in node.log.read_text()


# --- what the node cannot do now -----------------------------------------------------------------


def test_without_a_server_the_submission_is_kept(node: LoneNode) -> None:
    body = node.body(patient(7), number=7)
    answer = node.post(body)
    refused(answer, 503, "server cannot be reached", "kept")
    assert int(answer.headers["Retry-After"]) > 0
    kept = accepted(node)
    assert kept[-1]["round"] == 7
    assert node.request("GET", "/status").json()["state"] == "ready"
    again = node.post(node.body(patient(7), number=7))
    refused(again, 503)
    assert accepted(node) == kept


def test_a_number_out_of_reach(node: LoneNode) -> None:
    refused(node.post(node.body(patient(1), number=2**53)), 422, "round_number: ", "too far ahead")


def test_other_data_for_a_number_that_waits_replaces_it(node: LoneNode) -> None:
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(node.post, node.body(patient(20), number=20))
        for _ in range(10_000):
            if any(each["round"] == 20 for each in accepted(node)):
                break
        refused(node.post(node.body(patient(21), number=20)), 503)
        assert first.result().status_code in {409, 503}
    assert [each["replaced"] for each in accepted(node) if each["round"] == 20] == [False, True]


def test_more_batches_than_may_wait(tmp_path: Path) -> None:
    with lone_node(tmp_path, api__connect_deadline="0.1", ehr__queued_batches="2") as node:
        for number in (1, 2):
            refused(node.post(node.body(patient(number), number=number)), 503)
        answer = node.post(node.body(patient(3), number=3))
        refused(answer, 429, "2 batches wait", "queued_batches")
        assert int(answer.headers["Retry-After"]) > 0
        refused(node.post(node.body(patient(1), number=1)), 503)  # the same again is no other one
        assert reasons(node.audited()) == ["queue full"]


def test_a_budget_that_pays_for_no_round(tmp_path: Path) -> None:
    with lone_node(tmp_path, epsilon="0.001") as node:
        refused(node.post(node.body(patient(1))), 403, "budget exhausted", "Nothing was queued")
        assert [line["event"] for line in node.audited()][-1] == "submission refused"
        assert reasons(node.audited()) == ["budget exhausted"]
        assert node.request("GET", "/status").json()["state"] == "no batch waits"


def test_a_hospital_that_has_left(tmp_path: Path) -> None:
    with lone_node(tmp_path, api__connect_deadline="0.1") as node:
        refused(node.post(node.body(patient(1))), 503)
        assert node.request("GET", "/participation").json() == {
            "participating": True,
            "in_round": None,
        }
        left = node.request("DELETE", "/participation")
        assert (left.status_code, left.json()["participating"]) == (200, False)
        refused(node.post(node.body(patient(1))), 403, "has left")
        assert node.request("PUT", "/participation").json()["participating"] is True
        refused(node.post(node.body(patient(1))), 503)
        told = [line["event"] for line in node.audited()]
        assert told.count("submission accepted") == 2
        assert {"opted out", "returned"} <= set(told)


def test_a_token_if_one_is_demanded(tmp_path: Path) -> None:
    hash_file = str(tmp_path / "consortium" / "anna" / "api.token-sha256")
    with lone_node(tmp_path, api__token_hash_file=hash_file, api__connect_deadline="0.1") as node:
        answer = node.post(node.body(patient(1)))
        refused(answer, 401, "Authorization: Bearer")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        wrong = {"Authorization": "Bearer " + "A" * 43}
        refused(node.request("GET", "/status", headers=wrong), 401)
        token = (node.home / "api.token").read_text().strip()
        shown = {"Authorization": f"Bearer {token}"}
        refused(node.post(node.body(patient(1)), headers=shown), 503)
        assert node.request("GET", "/healthz").status_code == 200
        assert token not in node.log.read_text()


def test_a_node_that_trains_on_a_file(tmp_path: Path) -> None:
    with lone_node(tmp_path, train=[patient(1)]) as node:
        refused(node.post(node.body(patient(1))), 409, "[ehr]")
        assert reasons(node.audited()) == ["the node trains on a standing batch"]
