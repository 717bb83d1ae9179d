"""Shamir's secret sharing of 32-byte secrets over the field of p = 2^256 + 297 elements.

p is the smallest prime above 2^256, so every 32-byte string, read big-endian, is a field element;
a share needs 33 bytes. The field arithmetic is Python's integers: its timing is not constant, and
is seen by nobody but the machine that holds the secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from operator import mul
from typing import Final, final

from secagg.crypto.randomness import Randomness
from secagg.crypto.secret import Secret

P: Final = (1 << 256) + 297
SECRET_BYTES: Final = 32
SHARE_BYTES: Final = 33
MAX_X: Final = 1 << 16
MIN_THRESHOLD: Final = 2

_LARGEST_MULTIPLE: Final = P * ((1 << 8 * SHARE_BYTES) // P)


class ShareError(ValueError):
    """Shares or evaluation points that no honest dealer makes."""


def split(
    secret: Secret, threshold: int, xs: Sequence[int], randomness: Randomness
) -> dict[int, bytes]:
    """One 33-byte big-endian share for each x: the value at x of a random polynomial.

    The polynomial has degree ``threshold - 1``; its constant term is the secret, its further
    coefficients a_1, a_2, ... are uniform below p: each is the first draw of 33 bytes, read
    big-endian, that lies below 255 * p (the largest multiple of p under 2^264), modulo p.

    Raises ValueError unless the secret has 32 bytes, ``2 <= threshold <= len(xs)`` and the x are
    distinct within 1 .. 2^16 (ShareError for the x).
    """
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a shared secret has {SECRET_BYTES} bytes, not {len(secret)}")
    if not MIN_THRESHOLD <= threshold <= len(xs):
        raise ValueError(f"the threshold must be 2 to {len(xs)} (one share per x), not {threshold}")
    _check_points(xs)
    descending = [_draw_element(randomness) for _ in range(threshold - 1)][::-1]
    descending.append(int.from_bytes(secret.reveal(), "big"))
    runs = _runs(descending)
    return {x: _evaluate(runs, x).to_bytes(SHARE_BYTES, "big") for x in xs}


def combine(shares: Mapping[int, bytes]) -> Secret:
    """The secret whose shares these are, if there are at least as many as the threshold.

    All the shares given are used. With fewer than the threshold, or with a wrong one among them,
    the result is some other value: whoever calls checks it against the dealer's commitment.
    Raises ShareError as :class:`Combiner` does.
    """
    return Combiner(list(shares)).combine(shares)


@final
class Combiner:
    """Lagrange interpolation at 0 for one set of x, its coefficients computed once."""

    __slots__ = ("_coefficients",)

    def __init__(self, xs: Sequence[int]) -> None:
        """Takes O(len(xs)^2). Raises ShareError unless the x are distinct within 1 .. 2^16."""
        _check_points(xs)
        # Coefficient of x: the product over the others y of y / (y - x), which is the product of
        # all the x divided by x * product of (y - x).
        numerator = _product(xs)
        inverses = _inverses([_product([x, *(y - x for y in xs if y != x)]) for x in xs])
        self._coefficients = {
            x: numerator * inverse % P for x, inverse in zip(xs, inverses, strict=True)
        }

    def combine(self, shares: Mapping[int, bytes]) -> Secret:
        """The value at 0 of the polynomial through these shares, 32 bytes, big-endian.

        Raises ShareError unless there is exactly one share for each x of this combiner, each of
        33 bytes and below p, and the value is below 2^256.
        """
        if shares.keys() != self._coefficients.keys():
            raise ShareError("the shares given are not those of the points of this combiner")
        elements = [_element(x, shares[x]) for x in self._coefficients]
        value = sum(map(mul, self._coefficients.values(), elements)) % P
        if value >> 8 * SECRET_BYTES:
            raise ShareError("the shares reconstruct a value of 2^256 or more: not a secret")
        return Secret(value.to_bytes(SECRET_BYTES, "big"))


def check_share(x: int, share: bytes) -> None:
    """Raise ShareError unless ``share`` is canonical: 33 bytes, below p. ``x`` names it."""
    _element(x, share)


def _element(x: int, share: bytes) -> int:
    if len(share) != SHARE_BYTES:
        raise ShareError(f"the share at x = {x} has {len(share)} bytes, not {SHARE_BYTES}")
    element = int.from_bytes(share, "big")
    if element >= P:
        raise ShareError(f"the share at x = {x} is not an element of the field")
    return element


def _check_points(xs: Sequence[int]) -> None:
    if not xs:
        raise ShareError("there are no evaluation points")
    for x in xs:
        if not 1 <= x <= MAX_X:
            raise ShareError(f"the evaluation point {x} is outside 1 .. {MAX_X}")
    if len(set(xs)) != len(xs):
        raise ShareError("an evaluation point occurs twice")


def _draw_element(randomness: Randomness) -> int:
    while True:
        candidate = int.from_bytes(randomness.draw(SHARE_BYTES), "big")
        if candidate < _LARGEST_MULTIPLE:
            return candidate % P


def _evaluate(descending: Sequence[Sequence[int]], x: int) -> int:
    """Horner's rule, highest coefficient first, reducing once for each run of coefficients."""
    value = 0
    for run in descending:
        for coefficient in run:
            value = value * x + coefficient
        value %= P
    return value


def _product(factors: Sequence[int]) -> int:
    """The product modulo p of factors of at most 17 bits and a sign."""
    value = 1
    for run in _runs(factors):
        value = value * prod(run) % P
    return value


def _runs(elements: Sequence[int]) -> list[Sequence[int]]:
    """The elements in runs of 16: with factors of 17 bits, products stay below 600 bits, and
    reducing those once costs less than sixteen reductions."""
    return [elements[start : start + 16] for start in range(0, len(elements), 16)]


def _inverses(elements: Sequence[int]) -> list[int]:
    """The inverses modulo p of nonzero elements, with one inversion (Montgomery's trick)."""
    prefixes = [1]
    for element in elements:
        prefixes.append(prefixes[-1] * element % P)
    inverse = pow(prefixes.pop(), -1, P)
    descending: list[int] = []
    for element, prefix in zip(reversed(elements), reversed(prefixes), strict=True):
        descending.append(inverse * prefix % P)
        inverse = inverse * element % P
    return descending[::-1]
