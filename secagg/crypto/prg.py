"""The mask generator: the keystream of AES-256-CTR, through cryptography.

Stream of a 32-byte seed: the AES-256 encryptions of the counter blocks 0, 1, 2, ... (16 bytes,
big-endian), one after the other. Word ``i`` of width ``w`` bytes is the little-endian number in
bytes ``[i * w, (i + 1) * w)``. A seed is for one vector, ever.
"""

from __future__ import annotations

from typing import Final, final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from secagg.crypto.secret import Secret

SEED_BYTES: Final = 32

READ_BYTES: Final = 256 * 1024
"""The most that one read gives; a buffer of this size is read at full speed."""

_BLOCK_BYTES: Final = 16

# CTR adds the keystream to its input, so what it makes of zeros is the keystream itself.
_ZEROS: Final = memoryview(bytes(READ_BYTES))


@final
class Keystream:
    """The stream of one seed, from a byte offset on."""

    __slots__ = ("_encryptor",)

    def __init__(self, seed: Secret, offset: int = 0) -> None:
        """Raises ValueError unless the seed has 32 bytes and ``offset >= 0``."""
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a mask seed has {SEED_BYTES} bytes, not {len(seed)}")
        if offset < 0:
            raise ValueError(f"a keystream starts at byte 0, not at {offset}")
        block, skipped = divmod(offset, _BLOCK_BYTES)
        counter = block.to_bytes(_BLOCK_BYTES, "big")
        self._encryptor = Cipher(AES256(seed.reveal()), CTR(counter)).encryptor()
        if skipped:
            self._encryptor.update(_ZEROS[:skipped])

    def read_into(self, buffer: bytearray | memoryview) -> None:
        """Fill ``buffer``, of up to ``READ_BYTES`` bytes, with the next bytes of the stream.

        Releases the interpreter lock meanwhile. Raises ValueError, reading nothing, for a longer
        buffer.
        """
        size = len(buffer)
        if size > READ_BYTES:
            raise ValueError(f"at most {READ_BYTES} bytes are read at once, not {size}")
        self._encryptor.update_into(_ZEROS[:size], buffer)
