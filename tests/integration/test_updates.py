"""Updates of other frameworks, from HTTP to the certified model, over real processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import requests
import safetensors.numpy
import schemathesis
import trio
from hypothesis import given, settings
from numpy.typing import NDArray
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from secagg.contribution import ContributionRule
from secagg.model import ModelSpec, ParameterSpec, UpdateRule, initial, model_hash
from secagg.policy import NoiseSpec
from server.policy_template import Template, read_template
from tests.integration.lone_node import LoneNode, lone_node, reasons
from tests.integration.posting import Posting, patient, posting

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
RULE = ContributionRule(scale=65_536, gradient_bound=131_072, count_weight=4096, max_patients=1)
SPEC = ModelSpec(
    parameters=(
        ParameterSpec(name="layer.weight", shape=(4, 3), initial="0.25"),
        ParameterSpec(name="layer.bias", shape=(4,)),
    ),
    contribution=RULE,
    update=UpdateRule(learning_rate="1", count_floor=3),
)
TEMPLATE = Template(noise=NoiseSpec(unit="hospital"), model=SPEC)
FIRST = model_hash(initial(SPEC)).hex()
BOUND = RULE.gradient_bound / RULE.scale
HOSPITALS = ("anna", "berta", "clara", "dora")

Tensors = dict[str, NDArray[Any]]


def update(seed: int, norm: float, dtype: Any = np.float32) -> Tensors:
    """An update of this norm."""
    values = np.random.default_rng(seed).normal(size=16)
    values *= norm / np.linalg.norm(values)
    return {
        "layer.weight": values[:12].reshape(4, 3).astype(dtype),
        "layer.bias": values[12:].astype(dtype),
    }


def clipped(tensors: Tensors) -> Tensors:
    """In real numbers, what the policy allows of it."""
    norm = np.sqrt(sum(np.sum(each.astype(float) ** 2) for each in tensors.values()))
    return {name: each.astype(float) * min(1, BOUND / norm) for name, each in tensors.items()}


def submit(
    url: str, tensors: Tensors | bytes, number: int = 1, base: str = FIRST, kind: str = "delta"
) -> requests.Response:
    return requests.post(
        f"{url}/submit-update",
        params={"round_number": str(number), "base_model_hash": base, "kind": kind},
        data=tensors if isinstance(tensors, bytes) else safetensors.numpy.save(tensors),
        headers={"Content-Type": "application/octet-stream"},
        timeout=150,
    )


def model(url: str, which: str = "latest") -> Tensors:
    answer = requests.get(f"{url}/models/{which}", timeout=60)
    assert answer.status_code == 200, answer.text
    return dict(safetensors.numpy.load(answer.content))


async def submitted(
    made: Posting, answers: dict[str, requests.Response], name: str, *args: Any
) -> None:
    """Keep what ``name``'s node answers."""
    answers[name] = await trio.to_thread.run_sync(submit, made.url(name), *args)


def moved_by(base: Mapping[str, NDArray[Any]], *deltas: Tensors) -> Tensors:
    """The average of what the policy allows of ``deltas``, on ``base``."""
    return {
        name: values + np.mean([clipped(each)[name] for each in deltas], axis=0)
        for name, values in base.items()
    }


def assert_close(found: Tensors, expected: Tensors) -> None:
    """Equal but for rounding to units, once for each update, and clipping, to two units."""
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert np.abs(found[name] - values).max() <= 3 / RULE.scale


async def test_the_certified_model_is_the_average_of_the_clipped_updates(tmp_path: Path) -> None:
    three = HOSPITALS[:3]
    deltas = {
        "anna": update(1, 0.5 * BOUND),
        "berta": update(2, 40 * BOUND, np.float64),
        "clara": update(3, 2 * BOUND),
    }
    async with posting(tmp_path, *three, template=TEMPLATE) as made:
        await made.serve(gathering_window=30)
        await made.join(*three)
        first = model(made.url("anna"), "initial")
        assert {name: np.unique(values).tolist() for name, values in first.items()} == {
            "layer.weight": [0.25],
            "layer.bias": [0.0],
        }
        answers: dict[str, requests.Response] = {}
        async with trio.open_nursery() as nursery:
            for name, delta in deltas.items():
                nursery.start_soon(submitted, made, answers, name, delta)
        (told,) = {each.text for each in answers.values()}
        result = answers["anna"].json()
        assert (result["round"], result["participants"]) == (1, 3), told
        second = model(made.url("berta"))
        assert_close(second, moved_by(first, *deltas.values()))

        # What is posted again asks for the result; what belongs to the old model is refused.
        again = await trio.to_thread.run_sync(submit, made.url("anna"), deltas["anna"])
        assert again.json() == result
        stale = await trio.to_thread.run_sync(submit, made.url("anna"), update(9, 1), 2)
        assert stale.status_code == 409
        assert "fetch GET /models/latest" in stale.json()["detail"]

        # A gradient is the same as the delta against it.
        base = result["model_hash"]
        answers = {}
        async with trio.open_nursery() as nursery:
            for name, delta in deltas.items():
                gradient = {key: -values for key, values in delta.items()}
                nursery.start_soon(submitted, made, answers, name, gradient, 2, base, "gradient")
        assert {each.json()["round"] for each in answers.values()} == {2}
        assert_close(model(made.url("clara")), moved_by(second, *deltas.values()))


async def test_an_update_that_a_round_has_left_behind_is_told_so(tmp_path: Path) -> None:
    async with posting(tmp_path, *HOSPITALS, template=TEMPLATE) as made:
        await made.serve(gathering_window=0.5)
        await made.join(*HOSPITALS)
        answers: dict[str, requests.Response] = {}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(submitted, made, answers, "dora", update(4, 1), 9)
            for seed, name in enumerate(HOSPITALS[:3]):
                nursery.start_soon(submitted, made, answers, name, update(seed, 1))
        assert {answers[name].status_code for name in HOSPITALS[:3]} == {200}
        late = answers["dora"]
        assert late.status_code == 409
        assert "a round was finished without this update" in late.json()["detail"]
        assert (await made.get("dora", "/status"))["state"] == "no batch waits"


# --- one node by itself --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneNode]:
    directory = tmp_path_factory.mktemp("node")
    with lone_node(
        directory, template=TEMPLATE, api__connect_deadline="0.3", api__max_body_bytes="100000"
    ) as running:
        yield running


def test_what_waits_is_kept_and_not_in_clear(node: LoneNode) -> None:
    delta = update(5, 0.9 * BOUND)
    kept = submit(node.url, delta, number=3)
    assert kept.status_code == 503
    assert "The batch is kept" in kept.json()["detail"]
    units = np.rint(delta["layer.weight"].astype(float) * RULE.scale).astype(np.int64)
    canaries = [
        delta["layer.weight"].tobytes(),
        *(units[0].astype(f"<i{w}").tobytes() for w in (4, 8)),
    ]
    for path in (*(node.home / "state").rglob("*"), node.log):
        if path.is_file():
            content = path.read_bytes()
            assert not any(canary in content for canary in canaries), path
    accepted = [line for line in node.audited() if line["event"] == "submission accepted"]
    assert accepted[-1]["fields"]["kind"] == "update"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layer.bias": np.array([1, np.nan, 0, 0], np.float32)}, "'layer.bias': holds a value"),
        ({"layer.bias": np.zeros(5, np.float32)}, "'layer.bias': is of shape [5]"),
        ({"layer.bias": np.zeros(4, np.float16)}, "'layer.bias': is of type F16"),
        ({"other": np.zeros(4, np.float32)}, "1 tensors that the policy's model does not have"),
    ],
)
def test_a_bad_update_is_refused(node: LoneNode, change: Tensors, words: str) -> None:
    refused = submit(node.url, update(1, 1) | change)
    assert refused.status_code == 422
    assert words in refused.json()["detail"]
    assert reasons(node.audited())[-1] == "invalid update"


def test_what_is_no_update_is_refused(node: LoneNode) -> None:
    assert submit(node.url, b"").status_code == 422
    assert submit(node.url, b"PK\x03\x04").status_code == 422
    assert submit(node.url, bytes(100_001)).status_code == 413
    form = node.request(
        "POST",
        f"/submit-update?round_number=1&base_model_hash={FIRST}&kind=delta",
        data={"a": "b"},
    )
    assert form.status_code == 415
    assert "application/octet-stream" in form.json()["detail"]


@pytest.mark.parametrize(
    ("number", "base", "kind", "field"),
    [
        (0, FIRST, "delta", "round_number"),
        (2**53 + 1, FIRST, "delta", "round_number"),
        (1, "9f", "delta", "base_model_hash"),
        (1, FIRST.upper(), "delta", "base_model_hash"),
        (1, FIRST, "weights", "kind"),
    ],
)
def test_a_parameter_out_of_range_is_named(
    node: LoneNode, number: int, base: str, kind: str, field: str
) -> None:
    refused = submit(node.url, update(1, 1), number, base, kind)
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith(f"{field}: ")


def test_a_number_out_of_reach_and_another_model(node: LoneNode) -> None:
    assert "too far ahead" in submit(node.url, update(1, 1), 20_000).json()["detail"]
    stale = submit(node.url, update(1, 1), base="9f" * 32)
    assert stale.status_code == 409
    assert reasons(node.audited())[-1] == "stale update"


def test_a_policy_of_hospitals_takes_no_records(node: LoneNode) -> None:
    refused = node.post(node.body(patient(1)))
    assert refused.status_code == 409
    assert "post an update of the model to /submit-update" in refused.json()["detail"]
    assert reasons(node.audited())[-1] == "the policy protects another unit"


def test_a_policy_of_patients_takes_no_updates(tmp_path: Path) -> None:
    with lone_node(tmp_path) as node:
        refused = submit(node.url, update(1, 1))
        assert refused.status_code == 409
        assert "post records to /submit-federated-update" in refused.json()["detail"]
        assert reasons(node.audited()) == ["the policy protects another unit"]


def test_the_route_does_as_documented(node: LoneNode) -> None:
    """Whatever fits its description, and whatever breaks that on purpose."""
    document = schemathesis.openapi.from_url(f"{node.url}/openapi.json")
    for mode in GenerationMode:

        @given(case=document["/submit-update"]["POST"].as_strategy(generation_mode=mode))
        @settings(max_examples=30, derandomize=True, database=None, deadline=None)
        def check(case: Any) -> None:
            response = case.call(timeout=30)
            assert response.status_code < 500
            # Bytes are no safetensors by chance: what fits the description is refused, too.
            case.validate_response(response, excluded_checks=[positive_data_acceptance])

        check()


# --- the example of docs/any-framework.md --------------------------------------------------------


def example(name: str) -> ModuleType:
    spec = spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


async def test_the_example_takes_part_in_rounds(tmp_path: Path) -> None:
    federate = example("federate")
    three = HOSPITALS[:3]
    async with posting(tmp_path, *three, template=TEMPLATE) as made:
        await made.serve(gathering_window=30)
        await made.join(*three)
        targets = dict(zip(three, (0.1, 0.2, 0.6), strict=True))
        results: dict[str, Any] = {}

        async def take_part(name: str) -> None:
            def train(parameters: Tensors) -> Tensors:
                goal = targets[name]
                return {key: values + (goal - values) for key, values in parameters.items()}

            node = federate.Node(made.url(name))
            for _ in range(2):
                results[name] = await trio.to_thread.run_sync(node.take_part, train)

        async with trio.open_nursery() as nursery:
            for name in three:
                nursery.start_soon(take_part, name)
        assert results["anna"] == results["berta"] == results["clara"]
        assert results["anna"]["round"] == 2
        for values in model(made.url("anna")).values():
            assert np.abs(values - 0.3).max() <= 6 / RULE.scale


async def _a_network_learns(directory: Path) -> None:
    three = HOSPITALS[:3]
    template = read_template(EXAMPLES / "two-layers.json")
    async with posting(directory, *three, template=template) as made:
        await made.serve(gathering_window=30)
        await made.join(*three)
        said: dict[str, str] = {}

        async def run(name: str, seed: int) -> None:
            script = EXAMPLES / "pytorch_hospital.py"
            command = [sys.executable, str(script), made.url(name), "--seed", str(seed)]
            done = await trio.run_process([*command, "--rounds", "5"], capture_stdout=True)
            said[name] = done.stdout.decode()

        async with trio.open_nursery() as nursery:
            for seed, name in enumerate(three):
                nursery.start_soon(run, name, seed)
        assert said["anna"] == said["berta"] == said["clara"]
        first, *_, last = (float(line.rpartition(" ")[2]) for line in said["anna"].splitlines())
        assert last > max(first, 0.9)


if find_spec("torch") is not None:  # it is no dependency of the project

    async def test_a_network_learns(tmp_path: Path) -> None:
        await _a_network_learns(tmp_path)
