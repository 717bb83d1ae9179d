"""The OpenAPI document against a node that runs: it keeps every word of it, whatever is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.integration.lone_node import LoneNode, lone_node
from tests.integration.posting import patient

BOUNDED = settings(
    max_examples=20,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneNode]:
    directory = tmp_path_factory.mktemp("node")
    with lone_node(directory, api__connect_deadline="0.05", api__answer_deadline="0.1") as running:
        yield running


@pytest.fixture(scope="module")
def document(node: LoneNode) -> Any:
    return schemathesis.openapi.from_url(f"{node.url}/openapi.json")


def test_every_route_does_as_documented(document: Any) -> None:
    operations = [each.ok() for each in document.get_all_operations()]
    assert {"/submit-federated-update", "/participation", "/healthz", "/status"} <= {
        each.path for each in operations
    }
    for operation in operations:
        # What fits the document, and what breaks it on purpose.
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @given(case=operation.as_strategy(generation_mode=mode))
            @BOUNDED
            def check(case: Any) -> None:
                response = case.call(timeout=30)
                # Whether this operation documents it is a check of its own.
                assert response.status_code < 500 or response.status_code == 503
                # No token opens by chance: what fits the document is mostly refused, too.
                case.validate_response(
                    response, excluded_checks=[not_a_server_error, positive_data_acceptance]
                )

            try:
                check()
            except Unsatisfiable:  # nothing of this operation can be broken
                assert mode is GenerationMode.NEGATIVE


@given(
    number=st.integers(1, 12_000),
    patients=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    cid=st.recursive(st.none() | st.booleans() | st.text(max_size=5), st.lists, max_leaves=4),
    more=st.dictionaries(st.text(max_size=8), st.integers(), max_size=3),
)
@BOUNDED
def test_what_decrypts_is_answered_as_documented(
    node: LoneNode, number: int, patients: list[int], cid: object, more: dict[str, int]
) -> None:
    assert node.request("PUT", "/participation").status_code == 200
    body = node.body(*(patient(i) for i in patients), number=number)
    for each in body["patient_data_list"]:
        each["ipfs_cid"] = cid
    answer: requests.Response = node.post(more | body)
    twice = len(set(patients)) < len(patients)
    expected = {422} if twice or number > 10_000 else {503, 429}
    assert answer.status_code in expected, answer.text
    assert set(answer.json()) == {"detail"}


def test_every_refusal_is_documented(node: LoneNode) -> None:
    document = node.request("GET", "/openapi.json").json()
    post = document["paths"]["/submit-federated-update"]["post"]
    assert set(post["responses"]) == {
        *("200", "400", "401", "403", "408", "409", "413", "415", "422", "429", "503")
    }
    for status, answer in post["responses"].items():
        name = answer["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        assert name == ("Answer" if status == "200" else "Problem")
