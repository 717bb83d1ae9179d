"""The model: named float64 arrays, their canonical bytes and hash, and the update by a sum.

Every hospital computes the next model itself and signs its hash, so ``apply`` must give the same
bits on every platform: float64, elementwise + - * / only, in the order written down in ``apply``;
no BLAS, no reductions (numpy sums pairwise, and how depends on the build), no exp or log. Optimiser
state and the averaged iterate are arrays of the model, so the hash covers them too.

    spec = ModelSpec(parameters=linear_parameters(schema), contribution=..., update=...)
    model = initial(spec)                       # the round-0 model: it stands in the policy
    model = apply(model, total, spec)           # total: int64, spec.dimension entries
    model_hash(model)                           # 32 bytes
    decode(canonical_bytes(model), spec)        # the same model, or DecodeError

Array names: ``parameters/<name>``, ``momentum/<name>``, ``average/<name>``, ``updates``.
"""

import re
from collections.abc import Iterator, Mapping
from math import prod
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from secagg.contribution import ContributionRule
from secagg.crypto.hashing import Label, digest, encode, u64
from secagg.errors import DecodeError, LocalMisuse
from secagg.schema import FeatureSchema, decimal, real

MAX_COORDINATES: Final = 2**26
MAX_PARAMETERS: Final = 1024
MAX_RANK: Final = 8

_PARAMETER_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,127}")
_DTYPE: Final = b"<f8"

Array = NDArray[np.float64]


class ParameterSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One array of parameters.

    shape: up to 8 positive extents; empty for a scalar.
    initial: a decimal, the value of every entry in the round-0 model.
    """

    name: str
    shape: tuple[int, ...]
    initial: str = "0"

    def __post_init__(self) -> None:
        if not _PARAMETER_NAME.fullmatch(self.name):
            raise ValueError(f"parameter {self.name!r}: use letters, digits, '_' and '.'")
        if len(self.shape) > MAX_RANK or any(extent < 1 for extent in self.shape):
            raise ValueError(f"parameter {self.name!r}: {self.shape} is no positive shape")
        decimal(self.initial)

    @property
    def size(self) -> int:
        """Number of entries."""
        return prod(self.shape)


class UpdateRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a sum changes the model; the arithmetic stands in ``apply``. Decimals are strings.

    learning_rate: positive.
    learning_rate_decay: the rate of update k = 0, 1, ... is learning_rate / (1 + decay * k).
    momentum: at least 0, below 1.
    weight_decay: pulls parameters to zero; learning_rate * weight_decay is 0 to 1.
    averaging: "polynomial" also keeps a running average of the iterates, the one that predicts;
        iterate k + 1 enters with weight (power + 1) / (k + power + 1); power 0 is the plain mean.
    count_floor: the public floor of the noised patient count, which divides the sum.
    """

    learning_rate: str
    count_floor: Annotated[int, msgspec.Meta(ge=1, le=2**32)]
    learning_rate_decay: str = "0"
    momentum: str = "0"
    weight_decay: str = "0"
    averaging: Literal["none", "polynomial"] = "none"
    averaging_power: Annotated[int, msgspec.Meta(ge=0, le=1024)] = 0

    def __post_init__(self) -> None:
        if decimal(self.learning_rate) <= 0:
            raise ValueError("update: learning_rate must be positive")
        if decimal(self.learning_rate_decay) < 0:
            raise ValueError("update: learning_rate_decay must not be negative")
        if not 0 <= decimal(self.momentum) < 1:
            raise ValueError("update: momentum must be at least 0 and below 1")
        if not 0 <= decimal(self.weight_decay) * decimal(self.learning_rate) <= 1:
            raise ValueError("update: learning_rate * weight_decay must be between 0 and 1")
        if self.averaging not in ("none", "polynomial"):
            raise ValueError(f"update: averaging {self.averaging!r} is neither none nor polynomial")
        if not 0 <= self.averaging_power <= 1024:
            raise ValueError("update: averaging_power must be 0 to 1024")
        if not 1 <= self.count_floor <= 2**32:
            raise ValueError("update: count_floor must be 1 to 2^32")


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The trained part of a policy: parameters in their declared order, encoding, update rule."""

    parameters: tuple[ParameterSpec, ...]
    contribution: ContributionRule
    update: UpdateRule

    def __post_init__(self) -> None:
        names = [parameter.name for parameter in self.parameters]
        if not 1 <= len(names) <= MAX_PARAMETERS:
            raise ValueError(f"model: needs 1 to {MAX_PARAMETERS} parameters, has {len(names)}")
        if len(set(names)) != len(names):
            raise ValueError("model: two parameters have the same name")
        if self.dimension > MAX_COORDINATES:
            raise ValueError(f"model: {self.dimension} coordinates, at most {MAX_COORDINATES}")

    @property
    def dimension(self) -> int:
        """Length of a contribution and of the sum: all parameters, then the patient count."""
        return sum(parameter.size for parameter in self.parameters) + 1

    @property
    def arrays(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Name and shape of every array of the model, in canonical order."""
        return tuple(self._arrays())

    def _arrays(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        kinds = ["parameters"]
        if decimal(self.update.momentum) != 0:
            kinds.append("momentum")
        if self.update.averaging != "none":
            kinds.append("average")
        for kind in kinds:
            for parameter in self.parameters:
                yield f"{kind}/{parameter.name}", parameter.shape
        yield "updates", ()


class Model:
    """An ordered, immutable mapping of array names to read-only, C-contiguous float64 arrays.

    Equal when the canonical bytes are equal. Raises ``LocalMisuse`` for a value that is not finite.
    """

    __slots__ = ("_arrays",)

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        held: dict[str, Array] = {}
        for name, values in arrays.items():
            array = np.array(values, dtype=np.float64, order="C", copy=True)
            if not np.isfinite(array).all():
                raise LocalMisuse(f"model array {name!r} holds a value that is not finite")
            array.flags.writeable = False
            held[name] = array
        self._arrays = held

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def items(self) -> Iterator[tuple[str, Array]]:
        """Names and arrays, in canonical order."""
        yield from self._arrays.items()

    def parameters(self) -> dict[str, Array]:
        """The current iterate, where gradients are taken; by parameter name."""
        return self._kind("parameters")

    def predictor(self) -> dict[str, Array]:
        """What predicts: the averaged iterate if one is kept, else the current one."""
        return self._kind("average") or self._kind("parameters")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and canonical_bytes(self) == canonical_bytes(other)

    def __hash__(self) -> int:
        return hash(model_hash(self))

    def __repr__(self) -> str:
        return f"Model({model_hash(self).hex()})"

    def _kind(self, kind: str) -> dict[str, Array]:
        prefix = f"{kind}/"
        return {
            name.removeprefix(prefix): array
            for name, array in self._arrays.items()
            if name.startswith(prefix)
        }


def linear_parameters(schema: FeatureSchema) -> tuple[ParameterSpec, ...]:
    """Parameters of a softmax regression over ``schema``, all zero in the round-0 model.

    ``intercept`` of shape (K - 1,) and ``weights`` of shape (K - 1, features): the reference class
    has the logit 0, which spends no noise on a direction that predicts nothing.
    """
    logits = schema.class_count - 1
    return (
        ParameterSpec(name="intercept", shape=(logits,)),
        ParameterSpec(name="weights", shape=(logits, schema.feature_count)),
    )


def initial(spec: ModelSpec) -> Model:
    """The round-0 model: every parameter and its average at ``initial``, state at zero."""
    start = {parameter.name: real(parameter.initial) for parameter in spec.parameters}
    arrays: dict[str, Array] = {}
    for name, shape in spec.arrays:
        kind, _, parameter = name.partition("/")
        value = start[parameter] if kind in ("parameters", "average") else 0.0
        arrays[name] = np.full(shape, value)
    return Model(arrays)


def canonical_bytes(model: Model) -> bytes:
    """The one byte string that stands for the model.

    ``encode(Label.MODEL, ...)`` of four parts per array, in order: name (UTF-8), dtype (``<f8``),
    shape (8 bytes big-endian per extent), the values (little-endian, C order).
    """
    return encode(Label.MODEL, *_parts(model))


def model_hash(model: Model) -> bytes:
    """SHA-256 of ``canonical_bytes``, 32 bytes."""
    return digest(Label.MODEL, *_parts(model))


def canonical_size(spec: ModelSpec) -> int:
    """Length of the canonical bytes of every model of this spec."""
    return len(encode(Label.MODEL)) + sum(
        len(header) + 8 * prod(shape) for header, shape in _headers(spec)
    )


def decode(data: bytes, spec: ModelSpec) -> Model:
    """The model whose canonical bytes are ``data``.

    Raises ``DecodeError`` unless ``data`` is exactly the canonical encoding of a model of ``spec``
    with finite values. The length is compared first, so no peer's word decides what is allocated.
    """
    if len(data) != canonical_size(spec):
        raise DecodeError(
            f"model bytes: {len(data)}, this policy's model has {canonical_size(spec)}"
        )
    view = memoryview(data)
    position = len(encode(Label.MODEL))
    if view[:position] != encode(Label.MODEL):
        raise DecodeError("model bytes: the label is not that of a model")
    arrays: dict[str, Array] = {}
    for (name, shape), (header, _) in zip(spec.arrays, _headers(spec), strict=True):
        if view[position : position + len(header)] != header:
            raise DecodeError(f"model bytes: expected array {name!r} of shape {shape}")
        position += len(header)
        end = position + 8 * prod(shape)
        values = np.frombuffer(view[position:end], dtype=_DTYPE.decode()).reshape(shape)
        if not np.isfinite(values).all():
            raise DecodeError(f"model bytes: array {name!r} holds a value that is not finite")
        arrays[name] = values.astype(np.float64)
        position = end
    return Model(arrays)


def apply(model: Model, total: NDArray[np.int64], spec: ModelSpec) -> Model:
    """The next model, from the sum of all survivors' contributions.

    total: int64, ``spec.dimension`` entries, in units. For each parameter, elementwise and
    in this order, each operation rounded to float64 on its own:

        n = max(total[-1] / count_weight, count_floor)
        g = total / (scale * n) + weight_decay * w
        v = momentum * v + g                               (v = g without momentum)
        w = w - (learning_rate / (1 + learning_rate_decay * k)) * v
        a = a + (w - a) * ((power + 1) / (k + power + 1))  (with averaging)
        k = k + 1

    Integers of more than 53 bits are rounded to the nearest float64 first.
    Raises ``LocalMisuse`` for a sum or a model of another shape, or a result that is not finite.
    """
    if total.dtype != np.int64 or total.shape != (spec.dimension,):
        raise LocalMisuse(
            f"the sum is {total.dtype}{list(total.shape)}; this model needs int64[{spec.dimension}]"
        )
    if tuple((name, array.shape) for name, array in model.items()) != spec.arrays:
        raise LocalMisuse("the model's arrays are not those that the spec declares")
    rule = spec.update
    momentum, weight_decay = real(rule.momentum), real(rule.weight_decay)
    updates = float(model["updates"])
    rate = real(rule.learning_rate) / (1.0 + real(rule.learning_rate_decay) * updates)
    averaged = float(rule.averaging_power + 1) / (updates + float(rule.averaging_power + 1))
    counted = float(total[-1]) / float(spec.contribution.count_weight)
    divisor = float(spec.contribution.scale) * max(counted, float(rule.count_floor))

    new: dict[str, Array] = {}
    start = 0
    for parameter in spec.parameters:
        units = total[start : start + parameter.size].reshape(parameter.shape)
        start += parameter.size
        weights = model[f"parameters/{parameter.name}"]
        step = units.astype(np.float64) / divisor + weight_decay * weights
        if momentum:
            step = momentum * model[f"momentum/{parameter.name}"] + step
            new[f"momentum/{parameter.name}"] = step
        weights = weights - rate * step
        new[f"parameters/{parameter.name}"] = weights
        if rule.averaging != "none":
            average = model[f"average/{parameter.name}"]
            new[f"average/{parameter.name}"] = average + (weights - average) * averaged
    new["updates"] = np.asarray(updates + 1.0)
    return Model({name: new[name] for name, _ in spec.arrays})


def _parts(model: Model) -> Iterator[bytes]:
    for name, array in model.items():
        yield from (name.encode(), _DTYPE, _extents(array.shape))
        yield array.astype(_DTYPE.decode(), copy=False).tobytes(order="C")


def _headers(spec: ModelSpec) -> Iterator[tuple[bytes, tuple[int, ...]]]:
    """What stands before each array's values, the length of the values included."""
    for name, shape in spec.arrays:
        parts = (name.encode(), _DTYPE, _extents(shape))
        header = b"".join(u64(len(part)) + part for part in parts)
        yield header + u64(8 * prod(shape)), shape


def _extents(shape: tuple[int, ...]) -> bytes:
    return b"".join(u64(extent) for extent in shape)
