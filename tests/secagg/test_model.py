import ast
import inspect
import struct
from math import nextafter

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from secagg.contribution import ContributionRule
from secagg.crypto.hashing import Label, encode
from secagg.errors import DecodeError, LocalMisuse
from secagg.model import (
    Model,
    ModelSpec,
    ParameterSpec,
    UpdateRule,
    apply,
    canonical_bytes,
    canonical_size,
    decode,
    initial,
    linear_parameters,
    model_hash,
)
from secagg.schema import Diagnosis, DiagnosisClass, FeatureSchema, TermSetFeature

PLAIN = UpdateRule(learning_rate="0.1", count_floor=3)
FULL = UpdateRule(
    learning_rate="0.3",
    count_floor=3,
    learning_rate_decay="0.7",
    momentum="0.9",
    weight_decay="0.01",
    averaging="polynomial",
    averaging_power=2,
)


def spec_with(update: UpdateRule, *shapes: tuple[int, ...]) -> ModelSpec:
    return ModelSpec(
        parameters=tuple(
            ParameterSpec(name=f"w{i}", shape=shape) for i, shape in enumerate(shapes or ((2,),))
        ),
        contribution=ContributionRule(
            scale=100, gradient_bound=50, count_weight=7, max_patients=10
        ),
        update=update,
    )


def reference(
    weights: float, velocity: float, average: float, k: int, total: int, counted: int
) -> tuple[float, float, float]:
    """One coordinate of FULL, in Python floats: IEEE 754 doubles, one rounding per operation."""
    n = max(float(counted) / 7.0, 3.0)
    gradient = float(total) / (100.0 * n) + 0.01 * weights
    velocity = 0.9 * velocity + gradient
    weights = weights - (0.3 / (1.0 + 0.7 * k)) * velocity
    average = average + (weights - average) * (3.0 / (k + 3.0))
    return weights, velocity, average


totals = st.integers(-(2**40), 2**40)


@given(st.lists(st.tuples(totals, totals, totals), min_size=1, max_size=5))
def test_apply_is_the_written_arithmetic_to_the_bit(sums: list[tuple[int, int, int]]) -> None:
    spec = spec_with(FULL, (2,))
    model = initial(spec)
    state = [(0.0, 0.0, 0.0), (0.0, 0.0, 0.0)]
    for k, total in enumerate(sums):
        model = apply(model, np.array(total, dtype=np.int64), spec)
        state = [reference(*state[i], k, total[i], total[2]) for i in range(2)]
        assert model["parameters/w0"].tolist() == [each[0] for each in state]
        assert model["momentum/w0"].tolist() == [each[1] for each in state]
        assert model["average/w0"].tolist() == [each[2] for each in state]
        assert model["updates"] == k + 1


def test_apply_has_a_known_answer() -> None:
    spec = spec_with(FULL, (), (2, 2))
    model = initial(spec)
    for step in range(1, 6):
        total = np.array([step, -(7**step), 10**step, -1, 0, 28 * step], dtype=np.int64)
        model = apply(model, total, spec)
    assert model_hash(model).hex() == KNOWN_HASH


KNOWN_HASH = "5893dec1c485ac1b95e6f1dd9db6f71d29b206f5ee80e0d8c2578a3b0e7e590f"


def test_without_options_the_sum_is_divided_by_scale_and_count() -> None:
    spec = spec_with(PLAIN)
    model = apply(initial(spec), np.array([400, -800, 28], dtype=np.int64), spec)
    assert model["parameters/w0"].tolist() == [-0.1 * (400 / 400.0), -0.1 * (-800 / 400.0)]
    assert [name for name, _ in model.items()] == ["parameters/w0", "updates"]


@pytest.mark.parametrize("counted", [21, 20, 0, -700])
def test_a_count_below_the_floor_divides_by_the_floor(counted: int) -> None:
    spec = spec_with(PLAIN)
    at_floor = apply(initial(spec), np.array([5, 6, 21], dtype=np.int64), spec)
    assert apply(initial(spec), np.array([5, 6, counted], dtype=np.int64), spec) == at_floor


def test_the_averaged_iterate_predicts_and_the_current_one_is_trained() -> None:
    spec = spec_with(msgspec.structs.replace(PLAIN, averaging="polynomial"))
    model = initial(spec)
    iterates = []
    for total in ([300, 0, 21], [0, 300, 21], [-900, 300, 21]):
        model = apply(model, np.array(total, dtype=np.int64), spec)
        iterates.append(model.parameters()["w0"])
    assert model.predictor()["w0"] == pytest.approx(np.mean(iterates, axis=0))
    assert model.parameters()["w0"].tolist() == iterates[-1].tolist()


def test_sums_of_more_than_53_bits_round_to_nearest() -> None:
    spec = spec_with(PLAIN)
    total = 2**53 + 1
    model = apply(initial(spec), np.array([total, 0, 21], dtype=np.int64), spec)
    assert model["parameters/w0"][0] == -0.1 * (float(2**53) / 300.0)


@pytest.mark.parametrize(
    "total",
    [
        np.zeros(2, dtype=np.int64),
        np.zeros(4, dtype=np.int64),
        np.zeros((3, 1), dtype=np.int64),
        np.zeros(3, dtype=np.int32),
        np.zeros(3, dtype=np.float64),
    ],
)
def test_a_sum_of_another_shape_is_refused(total: NDArray[np.int64]) -> None:
    spec = spec_with(PLAIN)
    with pytest.raises(LocalMisuse, match=r"this model needs int64\[3\]"):
        apply(initial(spec), total, spec)


def test_a_model_of_another_spec_is_refused() -> None:
    with pytest.raises(LocalMisuse, match="not those that the spec declares"):
        apply(initial(spec_with(PLAIN)), np.zeros(3, dtype=np.int64), spec_with(FULL))


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_model_holds_finite_values_only(value: float) -> None:
    with pytest.raises(LocalMisuse, match="'parameters/w0' holds a value that is not finite"):
        Model({"parameters/w0": np.array([0.0, value])})


def test_a_model_cannot_be_changed() -> None:
    source = np.zeros(2)
    model = Model({"parameters/w0": source, "updates": np.array(0.0)})
    source[0] = 1.0
    assert model["parameters/w0"][0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        model["parameters/w0"][0] = 1.0


def test_the_canonical_bytes_are_spelled_out() -> None:
    model = Model({"parameters/w0": np.array([[1.0, -0.5]]), "updates": np.array(2.0)})
    assert canonical_bytes(model) == encode(
        Label.MODEL,
        b"parameters/w0",
        b"<f8",
        bytes(7) + b"\1" + bytes(7) + b"\2",
        struct.pack("<2d", 1.0, -0.5),
        b"updates",
        b"<f8",
        b"",
        struct.pack("<d", 2.0),
    )


def test_layout_in_memory_does_not_reach_the_hash() -> None:
    values = np.arange(12.0).reshape(3, 4)
    plain = Model({"parameters/w": values})
    for same in (np.asfortranarray(values), values.astype(">f8"), np.repeat(values, 2, 1)[:, ::2]):
        assert model_hash(Model({"parameters/w": same})) == model_hash(plain)


@pytest.mark.parametrize(
    "other",
    [
        {"a": np.array([1.0, 2.0]), "b": np.array([nextafter(3.0, 4.0)])},
        {"a": np.array([1.0]), "b": np.array([2.0, 3.0])},
        {"b": np.array([1.0, 2.0]), "a": np.array([3.0])},
        {"a": np.array([[1.0, 2.0]]), "b": np.array([3.0])},
        {"a": np.array([1.0, 2.0])},
    ],
)
def test_names_shapes_order_and_every_bit_are_hashed(other: dict[str, NDArray[np.float64]]) -> None:
    model = Model({"a": np.array([1.0, 2.0]), "b": np.array([3.0])})
    assert model_hash(Model(other)) != model_hash(model)
    assert Model(other) != model


def test_equal_models_are_equal_and_print_their_hash_only() -> None:
    model, again = initial(spec_with(FULL)), initial(spec_with(FULL))
    assert model == again
    assert hash(model) == hash(again)
    assert repr(model) == f"Model({model_hash(model).hex()})"


specs = st.builds(
    spec_with,
    st.sampled_from([PLAIN, FULL]),
    st.lists(st.integers(1, 3), max_size=3).map(tuple),
    st.lists(st.integers(1, 3), max_size=3).map(tuple),
)


@given(specs, st.integers(0, 2**32))
def test_decoding_gives_the_model_back(spec: ModelSpec, seed: int) -> None:
    values = np.random.default_rng(seed)
    model = Model({name: values.standard_normal(shape) for name, shape in spec.arrays})
    data = canonical_bytes(model)
    assert len(data) == canonical_size(spec)
    assert decode(data, spec) == model
    assert canonical_bytes(decode(data, spec)) == data


@given(st.data())
def test_a_changed_byte_is_refused_or_another_model(data: st.DataObject) -> None:
    spec = spec_with(FULL, (2,), ())
    good = canonical_bytes(initial(spec))
    position = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[position] ^= data.draw(st.integers(1, 255))
    try:
        model = decode(bytes(bad), spec)
    except DecodeError:
        return
    assert canonical_bytes(model) == bytes(bad)
    assert model_hash(model) != model_hash(initial(spec))


@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b + b"\0", lambda b: b""])
def test_bytes_of_another_length_are_refused(change: object) -> None:
    spec = spec_with(PLAIN)
    assert callable(change)
    with pytest.raises(DecodeError, match="this policy's model has"):
        decode(change(canonical_bytes(initial(spec))), spec)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    spec = spec_with(PLAIN)
    data = canonical_bytes(initial(spec))
    assert data.endswith(struct.pack("<d", 0.0))
    with pytest.raises(DecodeError, match="array 'updates' holds a value that is not finite"):
        decode(data[:-8] + struct.pack("<d", value), spec)


def test_the_round_0_model_takes_its_values_from_the_spec() -> None:
    spec = ModelSpec(
        parameters=(ParameterSpec(name="w", shape=(2,), initial="-0.25"),),
        contribution=spec_with(PLAIN).contribution,
        update=FULL,
    )
    model = initial(spec)
    assert {name: array.tolist() for name, array in model.items()} == {
        "parameters/w": [-0.25, -0.25],
        "momentum/w": [0.0, 0.0],
        "average/w": [-0.25, -0.25],
        "updates": 0.0,
    }
    assert "momentum/w" in model
    assert "momentum/v" not in model


def test_linear_parameters_leave_out_the_reference_class() -> None:
    schema = FeatureSchema(
        features=(TermSetFeature(name="symptoms", path="symptoms", classes=("a", "b")),),
        diagnosis=Diagnosis(
            classes=tuple(DiagnosisClass(name=each) for each in ("x", "y", "z")), other="x"
        ),
    )
    assert [(each.name, each.shape) for each in linear_parameters(schema)] == [
        ("intercept", (2,)),
        ("weights", (2, 3)),
    ]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"learning_rate": "0"}, "learning_rate must be positive"),
        ({"learning_rate": "-1"}, "learning_rate must be positive"),
        ({"learning_rate": "1e-3"}, "is not a decimal"),
        ({"learning_rate_decay": "-0.1"}, "learning_rate_decay must not be negative"),
        ({"momentum": "1"}, "momentum must be at least 0 and below 1"),
        ({"momentum": "-0.1"}, "momentum must be at least 0 and below 1"),
        ({"weight_decay": "-1"}, "weight_decay must be between 0 and 1"),
        ({"weight_decay": "10.1"}, "weight_decay must be between 0 and 1"),
        ({"averaging": "exponential"}, "averaging"),
        ({"averaging_power": -1}, "averaging_power"),
        ({"averaging_power": 1025}, "averaging_power"),
        ({"count_floor": 0}, "count_floor"),
        ({"count_floor": 2**32 + 1}, "count_floor"),
    ],
)
def test_an_update_rule_says_what_is_wrong(change: dict[str, object], complaint: str) -> None:
    fields = {**msgspec.structs.asdict(PLAIN), **change}
    with pytest.raises(ValueError, match=complaint):
        UpdateRule(**fields)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(fields, UpdateRule)


@pytest.mark.parametrize(
    ("name", "shape", "initial_value", "complaint"),
    [
        ("", (1,), "0", "parameter ''"),
        ("a/b", (1,), "0", "parameter 'a/b'"),
        ("a", (0,), "0", "no positive shape"),
        ("a", (-1,), "0", "no positive shape"),
        ("a", (1,) * 9, "0", "no positive shape"),
        ("a", (1,), "zero", "is not a decimal"),
    ],
)
def test_a_parameter_says_what_is_wrong(
    name: str, shape: tuple[int, ...], initial_value: str, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        ParameterSpec(name=name, shape=shape, initial=initial_value)


def test_a_spec_has_distinct_parameters_and_a_bounded_size() -> None:
    with pytest.raises(ValueError, match="same name"):
        msgspec.structs.replace(
            spec_with(PLAIN), parameters=(ParameterSpec(name="w", shape=()),) * 2
        )
    with pytest.raises(ValueError, match="needs 1 to"):
        msgspec.structs.replace(spec_with(PLAIN), parameters=())
    with pytest.raises(ValueError, match="67108865 coordinates, at most 67108864"):
        spec_with(PLAIN, (2**13, 2**13))


def test_a_spec_survives_json() -> None:
    spec = spec_with(FULL, (2, 3), ())
    assert msgspec.json.decode(msgspec.json.encode(spec), type=ModelSpec) == spec
    assert spec.dimension == 8


def test_apply_uses_no_reduction_no_blas_and_no_transcendental_function() -> None:
    tree = ast.parse(inspect.getsource(apply))
    called = {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }
    assert called == {
        "LocalMisuse",
        "Model",
        "asarray",
        "astype",
        "float",
        "items",
        "list",
        "max",
        "real",
        "reshape",
        "tuple",
    }
    numpy_names = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "np"
    }
    assert numpy_names == {"asarray", "float64", "int64"}
    assert not any(isinstance(node, ast.MatMult | ast.Pow) for node in ast.walk(tree))
