from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.enrollment.fingerprint import fingerprint, is_fingerprint

digests = st.binary(min_size=32, max_size=32)
DIGEST = bytes(range(0x10, 0x30))


def test_it_is_the_first_96_bits_in_groups() -> None:
    assert fingerprint(DIGEST) == "1011 1213 1415 1617 1819 1a1b"


@given(digests)
def test_what_is_read_out_is_recognised(digest: bytes) -> None:
    shown = fingerprint(digest)
    assert re.fullmatch(r"([0-9a-f]{4} ){5}[0-9a-f]{4}", shown)
    assert is_fingerprint(shown, digest)


@pytest.mark.parametrize(
    "typed",
    ["101112131415161718191A1B", "1011:1213:1415:1617:1819:1a1b", " 1011-1213 1415 16171819 1a1b "],
)
def test_spacing_and_case_do_not_matter(typed: str) -> None:
    assert is_fingerprint(typed, DIGEST)
    assert is_fingerprint(DIGEST.hex(), DIGEST)


@pytest.mark.parametrize("typed", ["", "1011", "1011 1213 1415 1617 1819 1a1c", DIGEST.hex()[:-2]])
def test_less_or_other_is_not_enough(typed: str) -> None:
    assert not is_fingerprint(typed, DIGEST)
