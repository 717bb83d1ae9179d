"""The ring Z / 2^b in which vectors are masked and summed, and its words in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

Words: TypeAlias = NDArray[np.unsignedinteger]
"""One word per coordinate: uint16, uint32 or uint64, little-endian, below the modulus."""

Integers: TypeAlias = NDArray[np.int64]
"""One integer per coordinate."""

MIN_BITS: Final = 8
MAX_BITS: Final = 64


def word_dtype(bits: int) -> np.dtype[np.unsignedinteger]:
    """The smallest of uint16, uint32 and uint64, little-endian, that holds ``bits`` bits."""
    for width, code in ((16, "<u2"), (32, "<u4"), (64, "<u8")):
        if bits <= width:
            return np.dtype(code)
    raise ValueError(f"a word has at most {MAX_BITS} bits, not {bits}")


@final
@dataclass(frozen=True, slots=True)
class Ring:
    """The integers modulo R = 2^bits, ``8 <= bits <= 64``."""

    bits: int

    def __post_init__(self) -> None:
        if not MIN_BITS <= self.bits <= MAX_BITS:
            raise ValueError(f"a ring has {MIN_BITS} to {MAX_BITS} bits, not {self.bits}")

    @classmethod
    def for_bound(cls, bound: int) -> Self:
        """The smallest ring in which every integer of magnitude ``<= bound`` is told apart.

        That is ``bound < R / 2``. Raises ValueError when 64 bits are not enough.
        """
        if bound < 0:
            raise ValueError(f"a bound on magnitudes is not negative: {bound}")
        if bound.bit_length() >= MAX_BITS:
            raise ValueError(
                "sums of this size need more than 64 bits; lower the scale, the clipping bound "
                "or the number of hospitals"
            )
        return cls(max(MIN_BITS, bound.bit_length() + 1))

    @property
    def modulus(self) -> int:
        """R."""
        return 1 << self.bits

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """Of the words: the smallest of uint16, uint32 and uint64, little-endian."""
        return word_dtype(self.bits)

    @property
    def word_bytes(self) -> int:
        """Length of a word in memory: 2, 4 or 8."""
        return self.dtype.itemsize

    def encode(self, values: Integers) -> Words:
        """The words congruent to ``values`` modulo R.

        Raises ValueError when a value is outside [-R/2, R/2), where it could not be read back.
        """
        half = self.modulus // 2
        if values.size and not (-half <= int(values.min()) and int(values.max()) < half):
            raise ValueError(f"a value does not fit a ring of {self.bits} bits")
        words: Words = values.astype(self.dtype)
        return self.reduce(words)

    def decode(self, words: Words) -> Integers:
        """The integers in [-R/2, R/2) congruent to ``words``; ValueError for another dtype."""
        if words.dtype != self.dtype:
            raise ValueError(f"words of this ring are {self.dtype}, not {words.dtype}")
        # Bring the top bit of the ring into the sign bit; shifting back extends the sign.
        unused = 8 * self.word_bytes - self.bits
        signed = (words << unused).view(np.dtype(f"i{self.word_bytes}"))
        signed >>= unused
        return signed.astype(np.int64)

    def reduce(self, words: Words) -> Words:
        """Reduce ``words``, of this ring's dtype, modulo R in place; returns them."""
        if self.bits < 8 * self.word_bytes:
            words &= words.dtype.type(self.modulus - 1)
        return words
