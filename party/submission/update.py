"""What another framework has computed, as this hospital's vector.

    safetensors, one tensor for each parameter of the policy's model, F32 or F64

An update is the whole hospital's: under a policy whose unit is the hospital it is clipped as one,
in L2 over all parameters together. Who computed it, and how, is of no account: the guarantee rests
on the clipped integers alone.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import numpy as np
import safetensors
from numpy.typing import NDArray

from secagg.model import ModelSpec, ParameterSpec
from secagg.vector.fixed_point import clip_l2, quantise
from secagg.vector.ring import Integers

UpdateKind: TypeAlias = Literal["gradient", "delta"]
"""``gradient``: what the model is to be moved against. ``delta``: new parameters minus old ones."""

_DTYPES: Final = {"F32": "<f4", "F64": "<f8"}


class UpdateError(ValueError):
    """An update is refused. The text names the tensor and how to mend it, never a value.

    tensor: its name in the policy's model; "" for the file as a whole.
    """

    def __init__(self, tensor: str, problem: str) -> None:
        self.tensor = tensor
        self.problem = problem
        super().__init__(f"tensor {tensor!r}: {problem}" if tensor else problem)


def read_update(data: bytes, kind: UpdateKind, spec: ModelSpec) -> Integers:
    """The vector x_u before noise, of the update whose safetensors are ``data``: int64, in units.

    The gradient, or the negated delta, times ``scale``, with an L2 norm of at most
    ``gradient_bound``, exactly; then ``count_weight``, for one hospital. Raises UpdateError unless
    names, shapes and types are those of the model and every value is finite.
    """
    rule = spec.contribution
    values = _values(data, spec)
    if kind == "delta":
        np.negative(values, out=values)
    units = quantise(_shortened(values, rule.gradient_bound / rule.scale), rule.scale)
    return np.append(clip_l2(units, rule.gradient_bound), np.int64(rule.count_weight))


def _values(data: bytes, spec: ModelSpec) -> NDArray[np.float64]:
    """All parameters in their declared order, flattened."""
    found = _tensors(data)
    names = [parameter.name for parameter in spec.parameters]
    missing = [name for name in names if name not in found]
    if missing:
        raise UpdateError(missing[0], "is missing; send one tensor for each parameter of the model")
    if len(found) > len(names):
        raise UpdateError(
            "",
            f"the update holds {len(found) - len(names)} tensors that the policy's model does not "
            f"have; send {', '.join(names)} alone, without buffers or an optimiser's state",
        )
    return np.concatenate([_flattened(found[each.name], each) for each in spec.parameters])


def _tensors(data: bytes) -> dict[str, dict[str, Any]]:
    try:
        return dict(safetensors.deserialize(data))  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError:
        raise UpdateError(
            "", "the body is not in the safetensors format; send the bytes that its save() returns"
        ) from None


def _flattened(tensor: dict[str, Any], parameter: ParameterSpec) -> NDArray[np.float64]:
    dtype, shape = tensor["dtype"], tensor["shape"]
    if dtype not in _DTYPES:
        raise UpdateError(parameter.name, f"is of type {dtype}; convert it to F32 or F64")
    if shape != list(parameter.shape):
        raise UpdateError(
            parameter.name, f"is of shape {shape}; the policy's model has {list(parameter.shape)}"
        )
    values = np.frombuffer(tensor["data"], _DTYPES[dtype]).astype(np.float64)
    if not np.isfinite(values).all():
        raise UpdateError(
            parameter.name,
            "holds a value that is not finite; look for the step of your training that overflows",
        )
    return values


def _shortened(values: NDArray[np.float64], bound: float) -> NDArray[np.float64]:
    """``values`` scaled to a norm of ``bound``, if theirs is greater; roughly, as floats are.

    Divided by the largest magnitude first: no finite value is too large to be squared then.
    """
    peak = float(np.abs(values).max())
    if peak == 0:
        return values
    shape = values / peak
    shortened: NDArray[np.float64] = shape * min(peak, bound / float(np.linalg.norm(shape)))
    return shortened
