"""An update of any framework becomes one vector of bounded norm, or is refused."""

from __future__ import annotations

import json
from math import isqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from safetensors.numpy import save

from party.submission.update import UpdateError, read_update
from secagg.contribution import ContributionRule
from secagg.model import ModelSpec, ParameterSpec, UpdateRule
from secagg.vector.fixed_point import squared_norm

RULE = ContributionRule(scale=1024, gradient_bound=2048, count_weight=64, max_patients=1)
SPEC = ModelSpec(
    parameters=(
        ParameterSpec(name="layer.weight", shape=(2, 3)),
        ParameterSpec(name="layer.bias", shape=(2,)),
        ParameterSpec(name="slope", shape=()),
    ),
    contribution=RULE,
    update=UpdateRule(learning_rate="1", count_floor=1),
)
SHAPES = {parameter.name: parameter.shape for parameter in SPEC.parameters}

Tensors = dict[str, NDArray[Any]]


def filled(value: float, dtype: str = "<f4") -> Tensors:
    return {name: np.full(shape, value, dtype) for name, shape in SHAPES.items()}


def flat(tensors: Tensors) -> NDArray[np.float64]:
    return np.concatenate([tensors[name].reshape(-1).astype(np.float64) for name in SHAPES])


@st.composite
def updates(draw: st.DrawFn) -> Tensors:
    """Finite values of every magnitude that the format holds, in either type."""
    dtype = draw(st.sampled_from(["<f4", "<f8"]))
    narrow = st.floats(allow_nan=False, allow_infinity=False, width=32)
    values = narrow if dtype == "<f4" else st.floats(allow_nan=False, allow_infinity=False)
    return {
        name: draw(arrays.arrays(dtype, shape, elements=values)) for name, shape in SHAPES.items()
    }


@given(updates())
def test_no_update_is_longer_than_the_bound(tensors: Tensors) -> None:
    vector = read_update(save(tensors), "gradient", SPEC)
    assert vector.dtype == np.int64
    assert vector.shape == (SPEC.dimension,)
    assert squared_norm(vector[:-1]) <= RULE.gradient_bound**2
    assert vector[-1] == RULE.count_weight
    assert squared_norm(vector) <= RULE.sensitivity_squared


@given(updates(), updates())
def test_one_hospital_moves_the_sum_by_no_more_than_its_sensitivity(
    one: Tensors, other: Tensors
) -> None:
    taking_part = read_update(save(one), "gradient", SPEC)
    assert squared_norm(taking_part) <= RULE.sensitivity_squared
    # Whatever else its data were, it still counts as one hospital.
    replaced = taking_part - read_update(save(other), "gradient", SPEC)
    assert squared_norm(replaced) <= (2 * RULE.gradient_bound) ** 2


def test_the_largest_difference_that_replacing_allows_is_attained() -> None:
    along = read_update(save(filled(1e30)), "gradient", SPEC)
    against = read_update(save(filled(-1e30)), "gradient", SPEC)
    assert isqrt(squared_norm(along - against)) >= 2 * (RULE.gradient_bound - 3)


@given(arrays.arrays("<f8", (9,), elements=st.floats(-0.6, 0.6)))
def test_an_update_within_the_bound_is_rounded_and_nothing_else(values: NDArray[Any]) -> None:
    tensors = {"layer.weight": values[:6].reshape(2, 3), "layer.bias": values[6:8]}
    vector = read_update(save(tensors | {"slope": values[8:].reshape(())}), "gradient", SPEC)
    assert np.array_equal(vector[:-1], np.rint(values * RULE.scale))


@given(updates())
def test_a_longer_update_keeps_its_direction(tensors: Tensors) -> None:
    values = flat(tensors)
    peak = np.abs(values).max() or 1.0
    unit = values / peak / (np.linalg.norm(values / peak) or 1.0)
    bound = RULE.gradient_bound / RULE.scale
    with np.errstate(over="ignore"):  # the norm of the largest floats is none
        norm = min(peak * np.linalg.norm(values / peak), bound) if values.any() else 0.0
    vector = read_update(save(tensors), "gradient", SPEC)
    # Rounded once and then shrunk by at most a few units.
    assert np.abs(vector[:-1] - unit * norm * RULE.scale).max() <= 4


@given(updates())
def test_a_delta_is_what_the_model_is_moved_by(tensors: Tensors) -> None:
    gradient = read_update(save(tensors), "gradient", SPEC)
    delta = read_update(save(tensors), "delta", SPEC)
    assert np.array_equal(delta[:-1], -gradient[:-1])
    assert delta[-1] == gradient[-1]


def test_a_tensors_place_in_the_file_does_not_matter() -> None:
    tensors = {name: np.asarray(array + i) for i, (name, array) in enumerate(filled(0.1).items())}
    backwards = dict(reversed(tensors.items()))
    assert np.array_equal(
        read_update(save(tensors, {"epoch": "3"}), "delta", SPEC),
        read_update(save(backwards), "delta", SPEC),
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_values_that_are_not_finite_are_refused(value: float, dtype: str) -> None:
    tensors = filled(0.5, dtype)
    tensors["layer.bias"][1] = value
    with pytest.raises(
        UpdateError, match=r"'layer\.bias': holds a value that is not finite"
    ) as told:
        read_update(save(tensors), "gradient", SPEC)
    assert told.value.tensor == "layer.bias"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"slope": None}, "tensor 'slope': is missing"),
        ({"step": np.zeros(1)}, "1 tensors that the policy's model does not have; send layer.weig"),
        ({"layer.bias": np.zeros((3,))}, r"'layer.bias': is of shape \[3\]; .* has \[2\]"),
        ({"layer.weight": np.zeros((3, 2))}, r"of shape \[3, 2\]; the policy's model has \[2, 3\]"),
        ({"slope": np.zeros(1)}, r"'slope': is of shape \[1\]; the policy's model has \[\]"),
        ({"layer.bias": np.zeros(2, np.float16)}, "'layer.bias': is of type F16; convert it"),
        ({"layer.bias": np.zeros(2, np.int64)}, "is of type I64; convert it to F32 or F64"),
        ({"layer.bias": np.zeros(2, np.bool_)}, "is of type BOOL; convert it to F32 or F64"),
    ],
)
def test_an_update_of_another_model_is_refused(changes: dict[str, Any], words: str) -> None:
    tensors = {k: v for k, v in (filled(0.5) | changes).items() if v is not None}
    with pytest.raises(UpdateError, match=words):
        read_update(save(tensors), "gradient", SPEC)


def _file(header: Any, body: bytes = b"") -> bytes:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"pickle",
        b"\xff" * 8 + b"{}",
        _file(b"[" * 10_000),
        _file({"slope": {"dtype": "F32", "shape": [], "data_offsets": [0, 8]}}, b"1234"),
        _file(
            {"slope": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, b"1234"
        ),
        save(filled(0.5))[:-1],
        save(filled(0.5)) + b"\0",
    ],
)
def test_what_is_not_safetensors_is_refused(data: bytes) -> None:
    with pytest.raises(UpdateError, match="not in the safetensors format"):
        read_update(data, "gradient", SPEC)


@given(st.binary(max_size=400))
def test_no_bytes_do_anything_but_be_refused(data: bytes) -> None:
    for attempt in (data, len(data).to_bytes(8, "little") + data):
        with pytest.raises(UpdateError):
            read_update(attempt, "gradient", SPEC)
