"""Vectors of kind ``primitives``: words, packed bytes, fixed point, noise, models."""

from __future__ import annotations

import hashlib
import struct
from fractions import Fraction
from typing import Final, Literal

import numpy as np

from secagg.contribution import ContributionRule
from secagg.crypto.hashing import Label, u64
from secagg.crypto.kdf import derive
from secagg.crypto.randomness import SeededRandomness
from secagg.crypto.secret import Secret
from secagg.errors import DecodeError
from secagg.model import (
    Model,
    ModelSpec,
    ParameterSpec,
    UpdateRule,
    apply,
    canonical_bytes,
    decode,
    initial,
    model_hash,
)
from secagg.privacy.discrete_gaussian import _layers, sample, tail_bound
from secagg.privacy.gaussian_table import REFINEMENT_BITS, THRESHOLD_BITS, GaussianTable
from secagg.privacy.mechanism import Mechanism
from secagg.vector.aggregate import vector_digest
from secagg.vector.fixed_point import clip_l2, quantise, squared_norm
from secagg.vector.packing import PackingError, pack, unpack
from secagg.vector.ring import Ring
from secagg.vectors.document import Document, Expect, VectorError
from secagg.vectors.edits import flipped
from secagg.vectors.primitives import Primitive, limited

MAX_VARIANCE_IN_A_VECTOR: Final = 2**41
THRESHOLD_BYTES: Final = THRESHOLD_BITS // 8


class RingWidth(Primitive, frozen=True, tag="ring"):
    """The ring for a bound on magnitudes, and what its ends look like as words."""

    bound: int

    def outcome(self, source: SeededRandomness) -> Document:
        if self.bound < 0:
            raise VectorError("a bound on magnitudes is not negative")
        try:
            ring = Ring.for_bound(self.bound)
        except ValueError:
            return {"expect": Expect.OVERFLOW, "missing_bits": self.bound.bit_length() - 63,
                    "above": self.bound - (1 << 63)}  # fmt: skip
        half = ring.modulus // 2
        ends = np.array([-self.bound, -half, -1, 0, 1, half - 1, self.bound], np.int64)
        return {
            "expect": Expect.SUCCESS,
            "bits": ring.bits,
            "word_bytes": ring.word_bytes,
            "values": ends.tolist(),
            "words": ring.encode(ends).tolist(),
        }


class Pack(Primitive, frozen=True, tag="pack"):
    """``count`` drawn words of ``bits`` bits, packed and unpacked.

    Each word is 8 drawn bytes, big-endian, modulo R. ``flip``: a bit of the packed bytes read as
    one little-endian number, from bit 0 on; ``extra``: bytes appended (or, negative, cut off).
    """

    bits: int
    count: int
    flip: int | None
    extra: int

    def outcome(self, source: SeededRandomness) -> Document:
        ring = Ring(self.bits)
        drawn = [int.from_bytes(source.draw(8), "big") for _ in range(limited(self.count))]
        words = np.array([word % ring.modulus for word in drawn], ring.dtype)
        packed = pack(words, self.bits)
        if self.flip is not None:
            packed = flipped(packed[::-1], self.flip)[::-1]
        packed = packed + bytes(limited(self.extra)) if self.extra >= 0 else packed[: self.extra]
        outcome: Document = {"words": words.tolist(), "packed": packed.hex()}
        try:
            unpacked = unpack(packed, self.bits, self.count)
        except PackingError:
            return {**outcome, "expect": Expect.DECODE_ERROR}
        return {**outcome, "expect": Expect.SUCCESS, "unpacked": unpacked.tolist()}


class Quantise(Primitive, frozen=True, tag="quantise"):
    """Decimals as float64, times ``scale``, rounded to integers, ties to even."""

    values: list[str]
    scale: int

    def outcome(self, source: SeededRandomness) -> Document:
        reals = np.array([float(value) for value in self.values], np.float64)
        with np.errstate(over="ignore"):
            products = reals * float(self.scale)
        outcome: Document = {
            "float64": [_float_hex(x) for x in reals.tolist()],
            "products": [_float_hex(x) for x in products.tolist()],
        }
        try:
            integers = quantise(reals, self.scale)
        except ValueError:
            return {**outcome, "expect": Expect.OVERFLOW}
        return {**outcome, "expect": Expect.SUCCESS, "integers": integers.tolist()}


class Clip(Primitive, frozen=True, tag="clip"):
    """Integers clipped to an L2 norm of at most ``bound``."""

    values: list[int]
    bound: int

    def outcome(self, source: SeededRandomness) -> Document:
        values = np.array(self.values, np.int64)
        clipped = clip_l2(values, self.bound)
        return {
            "expect": Expect.SUCCESS,
            "squared_bound": self.bound**2,
            "squared_norm": squared_norm(values),
            "clipped": clipped.tolist(),
            "clipped_squared_norm": squared_norm(clipped),
        }


class Gaussian(Primitive, frozen=True, tag="gaussian"):
    """``count`` samples of the discrete Gaussian of ``variance`` ("p" or "p/q"), drawn seed.

    ``tables``: for each layer its factor, its variance, T and the SHA-256 of its thresholds, 24
    bytes each, big-endian.
    """

    variance: str
    count: int

    def outcome(self, source: SeededRandomness) -> Document:
        seed, variance = source.draw(32), _variance(self.variance)
        return {
            "expect": Expect.SUCCESS,
            "seed": seed.hex(),
            "tail": tail_bound(variance),
            "tables": [_table(layer.factor, layer.variance) for layer in _layers(variance)],
            "samples": sample(seed, variance, limited(self.count)).tolist(),
        }


class Inversion(Primitive, frozen=True, tag="inversion"):
    """The value of one table at a threshold: U = threshold number ``threshold`` + ``offset``."""

    variance: str
    threshold: int
    offset: int

    def outcome(self, source: SeededRandomness) -> Document:
        table = GaussianTable.build(_variance(self.variance))
        if not 0 <= self.threshold < len(table.thresholds):
            raise VectorError(f"there is no threshold {self.threshold}")
        uniform = table.thresholds[self.threshold] + self.offset
        if not 0 <= uniform < 1 << THRESHOLD_BITS:
            raise VectorError("U is outside its range")
        head, rest = uniform >> REFINEMENT_BITS, uniform & (1 << REFINEMENT_BITS) - 1
        (value,) = table.values(np.array([head], np.uint64), lambda _place: rest).tolist()
        return {
            "expect": Expect.SUCCESS,
            "seed": source.draw(32).hex(),
            "uniform": uniform.to_bytes(THRESHOLD_BYTES, "big").hex(),
            "table": _table(1, _variance(self.variance)),
            "value": value,
        }


class Noise(Primitive, frozen=True, tag="noise"):
    """One hospital's noise, component by component, and what is removed of it."""

    mode: Literal["at_least", "exact", "local"]
    sensitivity: int
    rho_units: int
    roster: int
    corrupt: int
    min_survivors: int
    shared: int
    survivors: int
    dimension: int

    def outcome(self, source: SeededRandomness) -> Document:
        seed, size = source.draw(32), limited(self.dimension)
        try:
            mechanism = Mechanism.calibrated(
                mode=self.mode,
                sensitivity=self.sensitivity,
                rho=Fraction(self.rho_units, 10**9),
                roster=limited(self.roster),
                corrupt=self.corrupt,
                min_survivors=self.min_survivors,
            )
        except ValueError:
            return {"expect": Expect.OVERFLOW, "seed": seed.hex(), **self._unfit()}
        components = mechanism.components(self.shared)
        seeds = [
            derive(Secret(seed), Label.NOISE, u64(number)).reveal()
            for number in range(len(components))
        ]
        surplus = mechanism.surplus_seeds(seed, self.shared, self.survivors)
        guarantee = mechanism.guarantee(self.dimension)
        return {
            "expect": Expect.SUCCESS,
            "seed": seed.hex(),
            "variance_of_sum": str(mechanism.variance_of_sum),
            "variances": [str(variance) for variance in components],
            "component_seeds": [each.hex() for each in seeds],
            "components": [
                sample(each, variance, size).tolist()
                for each, variance in zip(seeds, components, strict=True)
            ],
            "noise": mechanism.noise(seed, size, self.shared).tolist(),
            "dropped": self.shared - self.survivors,
            "surplus_seeds": [each.hex() for each in surplus],
            "surplus_noise": mechanism.surplus_noise(
                surplus, size, self.shared, self.survivors
            ).tolist(),
            "left": str(mechanism.residual_variance(self.shared, self.survivors)),
            "tail": mechanism.tail(),
            "rho_sum": str(guarantee.rho_sum),
            "rho_own": str(guarantee.rho_own),
            "samples": guarantee.samples,
        }

    def _unfit(self) -> Document:
        s = Fraction(self.sensitivity**2, 2) / Fraction(self.rho_units, 10**9)
        cohort = [self.roster, self.corrupt, self.min_survivors, self.shared, self.survivors]
        unfit = Mechanism(
            self.mode, self.sensitivity, s, self.roster, self.corrupt, self.min_survivors
        )
        return {
            "variances_without_margin": [str(v) for v in unfit.components(self.shared)],
            "cohort": cohort,
            "coordinates": self.dimension,
        }


class Models(Primitive, frozen=True, tag="model"):
    """The first model of ``spec`` and those that ``sums`` make, one after the other."""

    spec: ModelSpec
    sums: list[list[int]]

    def outcome(self, source: SeededRandomness) -> Document:
        limited(self.spec.dimension)
        power, weight = self.spec.update.averaging_power, self.spec.contribution.count_weight
        models = [initial(self.spec)]
        for total in self.sums:
            models.append(apply(models[-1], np.array(total, np.int64), self.spec))
        return {
            "expect": Expect.SUCCESS,
            "seed": source.draw(32).hex(),
            "sensitivity_squared": self.spec.contribution.sensitivity_squared,
            "coordinate_bound": self.spec.contribution.coordinate_bound,
            "second_weight": _float_hex((power + 1) / (power + 2)),
            "counted": [_float_hex(float(total[-1]) / float(weight)) for total in self.sums],
            "sum_digests": [
                vector_digest(Label.SUM, np.array(total, np.int64), Ring(64)).hex()
                for total in self.sums
            ],
            "models": [_model(model) for model in models],
        }


class DecodeModel(Primitive, frozen=True, tag="decode_model"):
    """The bytes of the first model of ``parameters``, with ``put`` written at byte ``at``, decoded.

    ``extra``: bytes appended (or, negative, cut off).
    """

    parameters: list[ParameterSpec]
    at: int
    put: str
    extra: int

    def outcome(self, source: SeededRandomness) -> Document:
        spec = ModelSpec(
            parameters=tuple(self.parameters),
            contribution=ContributionRule(
                scale=1, gradient_bound=1, count_weight=1, max_patients=1
            ),
            update=UpdateRule(learning_rate="1", count_floor=1),
        )
        limited(spec.dimension)
        first, put = canonical_bytes(initial(spec)), bytes.fromhex(self.put)
        if not 0 <= self.at <= len(first) - len(put):
            raise VectorError(f"nothing is written at byte {self.at}")
        data = first[: self.at] + put + first[self.at + len(put) :]
        data = data + bytes(limited(self.extra)) if self.extra >= 0 else data[: self.extra]
        # How far the change reaches, so that it can be told from others with the same bytes.
        where = [self.at, len(put)]
        outcome: Document = {"seed": source.draw(32).hex(), "written": where, "bytes": data.hex()}
        try:
            model = decode(data, spec)
        except DecodeError:
            return {**outcome, "expect": Expect.DECODE_ERROR}
        return {**outcome, "expect": Expect.SUCCESS, "model_hash": model_hash(model).hex()}


def _variance(text: str) -> Fraction:
    """A variance as it is written: in lowest terms."""
    variance = Fraction(text)
    if str(variance) != text or not 0 < variance <= MAX_VARIANCE_IN_A_VECTOR:
        raise VectorError(f"a variance is a positive fraction in lowest terms, not {text}")
    return variance


def _table(factor: int, variance: Fraction) -> Document:
    table = GaussianTable.build(variance)
    thresholds = b"".join(each.to_bytes(THRESHOLD_BYTES, "big") for each in table.thresholds)
    return {
        "factor": factor,
        "variance": str(variance),
        "tail": table.tail,
        "thresholds": hashlib.sha256(thresholds).hexdigest(),
    }


def _model(model: Model) -> Document:
    data = canonical_bytes(model)
    return {"bytes": data.hex(), "hash": model_hash(model).hex()}


def _float_hex(value: float) -> str:
    return struct.pack(">d", value).hex()


ARITHMETIC = (
    RingWidth | Pack | Quantise | Clip | Gaussian | Inversion | Noise | Models | DecodeModel
)
