"""The mask generator: the keystream of AES-256-CTR, through cryptography.

Stream of a 32-byte seed: the AES-256 encryptions of the counter blocks 0, 1, 2, ... (16 bytes,
big-endian), one after the other. Word ``i`` of width ``w`` bytes is the little-endian number in
bytes ``[i * w, (i + 1) * w)``. One seed must serve one vector only.
"""

from __future__ import annotations

from typing import Final, final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from secagg.crypto.secret import Secret

SEED_BYTES: Final = 32
_BLOCK_BYTES: Final = 16


@final
class Keystream:
    """The stream of one seed, from a byte offset on."""

    __slots__ = ("_encryptor",)

    def __init__(self, seed: Secret, offset: int = 0) -> None:
        """Raises ValueError unless the seed has 32 bytes and ``offset >= 0``."""
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a mask seed has {SEED_BYTES} bytes, not {len(seed)}")
        if offset < 0:
            raise ValueError(f"a keystream starts at byte 0, not {offset}")
        block, within = divmod(offset, _BLOCK_BYTES)
        counter = block.to_bytes(_BLOCK_BYTES, "big")
        self._encryptor = Cipher(AES256(seed.reveal()), CTR(counter)).encryptor()
        self._encryptor.update(bytes(within))

    def read_into(self, zeros: bytes | memoryview, buffer: bytearray | memoryview) -> None:
        """Write the next ``len(zeros)`` bytes of the stream to the front of ``buffer``.

        ``zeros`` is the caller's constant all-zero block (CTR adds the keystream to it), kept by
        the caller because it is reused; ``buffer`` is at least as long. Releases the
        interpreter lock.
        """
        self._encryptor.update_into(zeros, buffer)
