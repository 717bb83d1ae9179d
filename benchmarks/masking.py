"""``python -m benchmarks.masking``: masks expanded and added, beside what this machine could do.

Two ceilings are measured in the same run, interleaved with the masks themselves: the bare
AES-256-CTR keystream (the best of three buffer sizes, straight from the library) and numpy's
addition of two vectors in place. Seeds are random anew in each run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Annotated, Final

import msgspec
import numpy as np
import typer
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from rich.console import Console
from rich.table import Table

from secagg.cli import Format
from secagg.crypto.randomness import SystemRandomness
from secagg.crypto.secret import Secret
from secagg.vector.masking import Mask, apply_masks
from secagg.vector.packing import pack, unpack
from secagg.vector.ring import Ring, Words

SCHEMA: Final = "secagg-bench-masking/1"
RATIO_GOAL: Final = 0.65
THREADS_GOAL: Final = 1.7

_RANDOMNESS: Final = SystemRandomness()
_RINGS: Final = (Ring(16), Ring(20), Ring(32), Ring(48))
_MASKS: Final = (1, 3, 10, 100)
_BUFFERS: Final = (64 * 1024, 256 * 1024, 1024 * 1024)


class Rates(msgspec.Struct, frozen=True):
    """One ring and number of masks. Rates in bytes of words per second, and what they compare as.

    ``ratio``: masked over keystream, on one thread; ``two_threads``: two threads over one.
    """

    bits: int
    masks: int
    keystream: float
    add: float
    masked: float
    elements: float
    ratio: float
    two_threads: float


class Packing(msgspec.Struct, frozen=True):
    """Rates of packing and unpacking at one width, in bytes of words per second."""

    bits: int
    pack: float
    unpack: float


def rates(coordinates: int, repeats: int) -> list[Rates]:
    """Every ring with every number of masks over one vector of ``coordinates``."""
    with ThreadPoolExecutor(2) as pool:
        return [
            _rates(coordinates, ring, masks, repeats, pool) for ring in _RINGS for masks in _MASKS
        ]


def packing(coordinates: int, repeats: int) -> list[Packing]:
    """A few widths of each word size."""
    rows = []
    for bits in (13, 17, 24, 31, 48):
        ring = Ring(bits)
        words = _random_words(ring, coordinates)
        packed = pack(words, bits)
        packing_time, unpacking_time = _seconds(
            partial(pack, words, bits),
            partial(unpack, packed, bits, coordinates),
            repeats=repeats,
        )
        rows.append(Packing(bits, words.nbytes / packing_time, words.nbytes / unpacking_time))
    return rows


def _rates(coordinates: int, ring: Ring, masks: int, repeats: int, pool: Executor) -> Rates:
    words = _random_words(ring, coordinates)
    other = words.copy()
    applied = [Mask(Secret(_RANDOMNESS.draw(32)), 1) for _ in range(masks)]
    half = coordinates // 2

    def on_two_threads() -> None:
        second = pool.submit(apply_masks, words[half:], applied, ring, half)
        apply_masks(words[:half], applied, ring)
        second.result()

    keystreams = [_keystream(words.nbytes, buffer) for buffer in _BUFFERS]
    masked, two_threads, add, *bare = _seconds(
        partial(apply_masks, words, applied, ring),
        on_two_threads,
        lambda: np.add(words, other, out=words),
        *keystreams,
        repeats=repeats,
    )
    keystream = words.nbytes / min(bare)
    rate = masks * words.nbytes / masked
    return Rates(
        bits=ring.bits,
        masks=masks,
        keystream=keystream,
        add=words.nbytes / add,
        masked=rate,
        elements=masks * coordinates / masked,
        ratio=rate / keystream,
        two_threads=masked / two_threads,
    )


def _keystream(size: int, buffer_size: int) -> Callable[[], object]:
    """Something that makes ``size`` bytes of keystream, ``buffer_size`` at a time."""
    zeros, buffer = memoryview(bytes(buffer_size)), bytearray(buffer_size)
    encryptor = Cipher(AES256(_RANDOMNESS.draw(32)), CTR(bytes(16))).encryptor()

    def run() -> None:
        for begin in range(0, size, buffer_size):
            encryptor.update_into(zeros[: size - begin], buffer)

    return run


def _random_words(ring: Ring, count: int) -> Words:
    words = np.frombuffer(_RANDOMNESS.draw(count * ring.word_bytes), ring.dtype).copy()
    return ring.reduce(words)


def _seconds(*runs: Callable[[], object], repeats: int) -> list[float]:
    """The best time of each, taken in turns so that a busy machine slows all alike."""
    best = [float("inf")] * len(runs)
    for _ in range(repeats):
        for i, run in enumerate(runs):
            start = time.perf_counter()
            run()
            best[i] = min(best[i], time.perf_counter() - start)
    return best


def _masking_table(rows: list[Rates], coordinates: int) -> Table:
    table = Table(title=f"Masks over {coordinates:,} coordinates (GB/s of words)")
    for name in (
        *("bits", "masks", "keystream", "add", "expand + add", "M elements/s"),
        *(f"of keystream (goal {RATIO_GOAL})", f"two threads (goal {THREADS_GOAL}x)"),
    ):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            *(str(row.bits), str(row.masks)),
            *(f"{rate / 1e9:.2f}" for rate in (row.keystream, row.add, row.masked)),
            *(f"{row.elements / 1e6:.0f}", f"{row.ratio:.2f}", f"{row.two_threads:.2f}x"),
        )
    return table


def _packing_table(rows: list[Packing], coordinates: int) -> Table:
    table = Table(title=f"Packing {coordinates:,} coordinates (GB/s of words)")
    for name in ("bits", "pack", "unpack"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(str(row.bits), f"{row.pack / 1e9:.2f}", f"{row.unpack / 1e9:.2f}")
    return table


def masking(
    coordinates: Annotated[int, typer.Option(min=1, help="Length of the vector.")] = 1_000_000,
    repeats: Annotated[int, typer.Option(min=1, help="The best of so many counts.")] = 7,
    output: Annotated[Format, typer.Option("--format", help="text or json.")] = Format.TEXT,
) -> None:
    """Measure mask expansion and packing beside AES-256-CTR and memory on this machine."""
    masked, packed = rates(coordinates, repeats), packing(coordinates, repeats)
    if output is Format.JSON:
        result = {
            "schema": SCHEMA,
            "coordinates": coordinates,
            "masking": masked,
            "packing": packed,
        }
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
        return
    console = Console()
    console.print(_masking_table(masked, coordinates))
    console.print(_packing_table(packed, coordinates))


if __name__ == "__main__":
    typer.run(masking)
