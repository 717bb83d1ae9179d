"""secagg.crypto.randomness: attack 10, weak randomness; and a stream that anyone can re-derive."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.crypto.randomness import Randomness, SeededRandomness, SystemRandomness


def documented_key(seed: bytes) -> bytes:
    """The key of the docstring's rule, by the standard library alone."""
    label = b"secagg/1/seeded randomness"
    lengths = [len(item).to_bytes(8, "big") for item in (label, seed)]
    return hashlib.sha256(lengths[0] + label + lengths[1] + seed).digest()


def documented_stream(seed: bytes, size: int) -> bytes:
    key = documented_key(seed)
    blocks = (hmac.digest(key, i.to_bytes(8, "big"), "sha256") for i in range(size // 32 + 1))
    return b"".join(blocks)[:size]


@given(st.binary(max_size=100), st.lists(st.integers(0, 100), max_size=8))
def test_draws_follow_the_documented_stream(seed: bytes, sizes: list[int]) -> None:
    randomness = SeededRandomness(seed)
    drawn = [randomness.draw(size) for size in sizes]
    assert [len(piece) for piece in drawn] == sizes
    assert b"".join(drawn) == documented_stream(seed, sum(sizes))


@given(st.binary(max_size=40), st.lists(st.binary(max_size=10), max_size=3), st.integers(0, 70))
def test_fork_follows_its_rule_whatever_was_drawn(
    seed: bytes, parts: list[bytes], drawn: int
) -> None:
    message = b"".join(
        len(item).to_bytes(8, "big") + item for item in (b"secagg/1/seeded randomness fork", *parts)
    )
    child_seed = hmac.digest(documented_key(seed), message, "sha256")
    parent = SeededRandomness(seed)
    parent.draw(drawn)
    assert parent.fork(*parts).draw(50) == documented_stream(child_seed, 50)


def test_the_stream_never_changes() -> None:
    stream = SeededRandomness(b"seed")
    assert stream.draw(16).hex() == "80ff01c76b84062fe76bda78f50166ec"
    assert stream.fork(b"north").draw(16).hex() == "769202aa3669e0ccf1131ba2d4dd4938"


def test_streams_of_different_seeds_and_forks_differ() -> None:
    root = SeededRandomness(b"a")
    streams = [
        root,
        SeededRandomness(b"a\0"),
        SeededRandomness(b""),
        root.fork(),
        root.fork(b""),
        root.fork(b"ab"),
        root.fork(b"a", b"b"),
    ]
    assert len({stream.draw(16) for stream in streams}) == len(streams)


def test_the_system_gives_fresh_bytes_of_the_size_asked_for() -> None:
    system = SystemRandomness()
    assert [len(system.draw(size)) for size in (0, 1, 32, 1000)] == [0, 1, 32, 1000]
    assert len({system.draw(32) for _ in range(100)}) == 100


@pytest.mark.parametrize("source", [SystemRandomness(), SeededRandomness(b"")])
def test_a_negative_size_is_refused(source: Randomness) -> None:
    with pytest.raises(ValueError, match="-1 bytes"):
        source.draw(-1)
