"""Discrete Gaussian samples from a 32-byte seed, the same to the bit on every machine.

N_Z(0, v) gives the integer x probability proportional to ``exp(-x^2 / (2 v))`` (Canonne, Kamath,
Steinke 2020). Small variances are drawn by inversion of one table; larger ones as ``x + k z``
of two small ones, whose law is N_Z(0, v) up to a factor within 1 +- 2^-110 (docs/privacy.md,
"The sampler"). The running time depends on the values drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, partial
from math import isqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from secagg.crypto.prg import SEED_BYTES, Keystream
from secagg.crypto.secret import Secret
from secagg.privacy.gaussian_table import REFINEMENT_BITS, WORD_BITS, GaussianTable, tail

MAX_VARIANCE: Final = 2**40
TOTAL_VARIATION_PER_SAMPLE: Final = Fraction(1, 2**83)
"""Distance of one sample's law from N_Z(0, v), if the keystream were uniform."""

# Up to here one table is used; beyond it, two of a standard deviation below 1,500 each.
_ONE_TABLE_VARIANCE: Final = 2**16
_CHUNK: Final = 2**13
_WORD_BYTES: Final = WORD_BITS // 8
_REFINEMENT_BYTES: Final = REFINEMENT_BITS // 8
_STREAM_BYTES: Final = 2**64 * 16


@dataclass(frozen=True, slots=True)
class _Layer:
    """One independent table of a sample: its values are multiplied by ``factor``."""

    factor: int
    variance: Fraction


def sample(seed: bytes, variance: Fraction | int, size: int) -> NDArray[np.int64]:
    """``size`` samples of N_Z(0, ``variance``), each within ``tail_bound(variance)`` of 0.

    ``seed``: 32 bytes, secret, used for nothing else. ``0 < variance <= 2^40``. The first m
    samples do not depend on ``size``. Raises ValueError outside these ranges.
    """
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a noise seed has {SEED_BYTES} bytes, got {len(seed)}")
    if size < 0:
        raise ValueError(f"size must not be negative, got {size}")
    out = np.zeros(size, dtype=np.int64)
    key = Secret(seed)
    for number, layer in enumerate(_layers(_checked(variance))):
        table = _table(layer.variance)
        for start, words in _words(key, number, size):
            values = table.values(words, partial(_refinement, key, number, start))
            out[start : start + words.size] += values * np.int64(layer.factor)
    return out


def tail_bound(variance: Fraction | int) -> int:
    """The largest absolute value that ``sample`` can return, about 10.9 standard deviations."""
    return sum(layer.factor * tail(layer.variance) for layer in _layers(_checked(variance)))


def _checked(variance: Fraction | int) -> Fraction:
    if not 0 < variance <= MAX_VARIANCE:
        raise ValueError(f"required is 0 < variance <= 2^40, got {variance}")
    return Fraction(variance)


def _layers(variance: Fraction) -> tuple[_Layer, ...]:
    """The tables whose weighted sum has ``variance``: one, or two of about the same size.

    Two: v = 4 k^2 + k^2 (v / k^2 - 4), so that v1 v2 / (v1 + k^2 v2) >= 3.96 >= 3.
    """
    if variance <= _ONE_TABLE_VARIANCE:
        return (_Layer(1, variance),)
    k = isqrt(isqrt(int(variance) // 4))
    return _Layer(1, Fraction(4 * k * k)), _Layer(k, variance / (k * k) - 4)


@lru_cache(maxsize=64)
def _table(variance: Fraction) -> GaussianTable:
    return GaussianTable.build(variance)


def _words(key: Secret, layer: int, size: int) -> Iterator[tuple[int, NDArray[np.uint64]]]:
    """The ``size`` words of a layer in chunks, each with the index of its first word.

    A chunk is overwritten by the next.
    """
    stream = Keystream(key, 2 * layer * _STREAM_BYTES)
    buffer = bytearray(_CHUNK * _WORD_BYTES)
    words = np.frombuffer(buffer, dtype="<u8")
    for start in range(0, size, _CHUNK):
        count = min(_CHUNK, size - start)
        stream.read_into(memoryview(buffer)[: count * _WORD_BYTES])
        yield start, words[:count]


def _refinement(key: Secret, layer: int, start: int, index: int) -> int:
    """The 128 bits that follow word ``start + index`` of a layer: a block of the next stream."""
    offset = (2 * layer + 1) * _STREAM_BYTES + (start + index) * _REFINEMENT_BYTES
    block = bytearray(_REFINEMENT_BYTES)
    Keystream(key, offset).read_into(block)
    return int.from_bytes(block, "little")
