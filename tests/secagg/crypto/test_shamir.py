"""secagg.crypto.shamir: secret sharing over GF(2^256 + 297)."""

import itertools
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.crypto.randomness import SeededRandomness
from secagg.crypto.secret import Secret
from secagg.crypto.shamir import (
    MAX_X,
    SHARE_BYTES,
    Combiner,
    P,
    ShareError,
    check_share,
    combine,
    split,
)

SECRET = Secret(bytes(range(1, 33)))

secrets = st.binary(min_size=32, max_size=32)
point_sets = st.lists(st.integers(1, MAX_X), min_size=2, max_size=40, unique=True)


class ScriptedRandomness:
    """Gives the bytes it was told to, in pieces of the sizes it was told."""

    def __init__(self, *draws: bytes) -> None:
        self.draws = list(draws)

    def draw(self, size: int) -> bytes:
        drawn = self.draws.pop(0)
        assert len(drawn) == size
        return drawn


def element(value: int) -> bytes:
    return value.to_bytes(SHARE_BYTES, "big")


def interpolate(shares: Mapping[int, int], at: int) -> int:
    """Lagrange's formula as it stands in textbooks."""
    total = 0
    for x, value in shares.items():
        for y in shares.keys() - {x}:
            value = value * (at - y) * pow(x - y, -1, P) % P  # noqa: PLW2901
        total += value
    return total % P


def is_probable_prime(n: int) -> bool:
    """Miller and Rabin's test, to the first forty prime bases that matter little for this n."""
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in range(2, 42):
        power = pow(base, odd, n)
        if power not in (1, n - 1) and all(
            (power := power * power % n) != n - 1 for _ in range(twos - 1)
        ):
            return False
    return True


def test_p_is_the_smallest_prime_above_2_to_the_256() -> None:
    primes = [k for k in range(1, 298) if is_probable_prime(2**256 + k)]
    assert primes == [297]
    assert P == 2**256 + 297


@given(secrets, point_sets, st.data())
def test_any_threshold_many_shares_combine(
    secret: bytes, xs: list[int], data: st.DataObject
) -> None:
    threshold = data.draw(st.integers(2, len(xs)))
    shares = split(Secret(secret), threshold, xs, SeededRandomness(secret))
    assert list(shares) == xs
    chosen = data.draw(st.lists(st.sampled_from(xs), min_size=threshold, unique=True))
    assert combine({x: shares[x] for x in chosen}).reveal() == secret


@given(secrets, point_sets)
def test_shares_lie_on_one_polynomial_of_the_right_degree(secret: bytes, xs: list[int]) -> None:
    threshold = max(2, len(xs) // 2)
    shares = split(Secret(secret), threshold, xs, SeededRandomness(b"degree"))
    values = {x: int.from_bytes(share, "big") for x, share in shares.items()}
    basis = dict(itertools.islice(values.items(), threshold))
    assert all(interpolate(basis, x) == value for x, value in values.items())
    fewer = dict(itertools.islice(values.items(), threshold - 1))
    assert interpolate(fewer, 0) != int.from_bytes(secret, "big")


@given(secrets, secrets)
def test_fewer_shares_than_the_threshold_fit_every_secret(secret: bytes, other: bytes) -> None:
    """The coefficients that explain t - 1 shares by another secret are field elements too."""
    xs = [1, 2, 3, 4]
    shares = split(Secret(secret), 3, xs, SeededRandomness(b"hiding"))
    seen = {x: int.from_bytes(shares[x], "big") for x in (2, 4)}
    explained = {0: int.from_bytes(other, "big")} | seen
    a0 = explained[0]
    # a0 + a1 x + a2 x^2 through the three points, by divided differences.
    slope_2 = (explained[2] - a0) * pow(2, -1, P)
    slope_4 = (explained[4] - explained[2]) * pow(2, -1, P)
    a2 = (slope_4 - slope_2) * pow(4, -1, P) % P
    a1 = (slope_2 - 2 * a2) % P
    forged = split(Secret(other), 3, xs, ScriptedRandomness(element(a1), element(a2)))
    assert {x: forged[x] for x in (2, 4)} == {x: shares[x] for x in (2, 4)}


def test_a_share_is_the_polynomial_at_x() -> None:
    """secret + 5 x + 7 x^2, by hand."""
    secret = Secret(element(1000)[1:])
    shares = split(secret, 3, [1, 2, 10, MAX_X], ScriptedRandomness(element(5), element(7)))
    assert {x: int.from_bytes(share, "big") for x, share in shares.items()} == {
        1: 1012,
        2: 1038,
        10: 1750,
        MAX_X: 1000 + 5 * 2**16 + 7 * 2**32,
    }


def test_the_largest_values_are_reduced() -> None:
    secret = Secret(b"\xff" * 32)
    shares = split(secret, 2, [1, MAX_X], ScriptedRandomness(element(P - 1)))
    assert int.from_bytes(shares[1], "big") == 2**256 - 2
    assert int.from_bytes(shares[MAX_X], "big") == (2**256 - 1 - 2**16) % P
    assert combine(shares) == secret


def test_a_long_polynomial_is_evaluated_exactly() -> None:
    xs = [1, 2, 3, MAX_X - 1, MAX_X, *range(100, 160)]
    draws = [SeededRandomness(b"long").fork(bytes([i])).draw(31) for i in range(49)]
    shares = split(SECRET, 50, xs, ScriptedRandomness(*(b"\0\0" + draw for draw in draws)))
    coefficients = [int.from_bytes(octets, "big") for octets in (SECRET.reveal(), *draws)]
    for x in xs:
        value = sum(a * x**power for power, a in enumerate(coefficients)) % P
        assert shares[x] == element(value)


def test_coefficients_are_drawn_by_rejection_and_so_without_bias() -> None:
    """33 bytes at or above 255 p are drawn again; below, they are taken modulo p."""
    assert 255 * P < 2**264 < 256 * P
    shares = split(
        SECRET, 2, [1, 2], ScriptedRandomness(b"\xff" * 33, element(255 * P), element(254 * P + 3))
    )
    assert int.from_bytes(shares[1], "big") == int.from_bytes(SECRET.reveal(), "big") + 3
    largest = split(SECRET, 2, [1, 2], ScriptedRandomness(element(255 * P - 1)))
    assert int.from_bytes(largest[1], "big") == int.from_bytes(SECRET.reveal(), "big") - 1


@pytest.mark.parametrize("threshold", [-1, 0, 1, 4])
def test_a_threshold_that_protects_nothing_or_nobody_reaches_is_refused(threshold: int) -> None:
    with pytest.raises(ValueError, match="threshold must be 2 to 3"):
        split(SECRET, threshold, [1, 2, 3], SeededRandomness(b""))


@pytest.mark.parametrize("xs", [[0, 1, 2], [-1, 1, 2], [1, 2, MAX_X + 1], [1, 2, 1]])
def test_points_that_disclose_the_secret_or_repeat_are_refused(xs: Sequence[int]) -> None:
    with pytest.raises(ShareError, match="evaluation point"):
        split(SECRET, 2, xs, SeededRandomness(b""))
    with pytest.raises(ShareError, match="evaluation point"):
        Combiner(xs)


@pytest.mark.parametrize("length", [1, 31, 33])
def test_a_secret_of_the_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="secret has 32 bytes"):
        split(Secret(bytes(length)), 2, [1, 2], SeededRandomness(b""))


def test_a_reconstructed_value_of_2_to_the_256_is_a_violation() -> None:
    for value in (2**256, P - 1):
        shares = {x: element((value + 5 * x) % P) for x in (1, 2)}
        with pytest.raises(ShareError, match="2\\^256 or more"):
            combine(shares)
    assert combine({x: element(2**256 - 1 + 5 * x) for x in (1, 2)}).reveal() == b"\xff" * 32


@pytest.mark.parametrize("share", [element(P), b"\xff" * 33, bytes(32), bytes(34), b""])
def test_a_share_that_is_no_field_element_is_refused_by_the_x_it_came_for(share: bytes) -> None:
    with pytest.raises(ShareError, match="share at x = 2"):
        combine({1: bytes(33), 2: share})
    with pytest.raises(ShareError, match="share at x = 2"):
        check_share(2, share)


def test_the_largest_field_element_is_a_share() -> None:
    check_share(2, element(P - 1))


def test_a_wrong_share_gives_a_wrong_secret() -> None:
    shares = split(SECRET, 3, [1, 2, 3, 4], SeededRandomness(b"wrong"))
    shares[3] = element((int.from_bytes(shares[3], "big") + 1) % P)
    assert combine({x: shares[x] for x in (1, 2, 4)}) == SECRET
    assert combine({x: shares[x] for x in (1, 2, 3)}) != SECRET


def test_no_shares_at_all_are_refused() -> None:
    with pytest.raises(ShareError, match="no evaluation points"):
        combine({})


def test_a_combiner_serves_many_secrets_of_its_own_points_only() -> None:
    combiner = Combiner([3, 9, 17])
    for number in range(5):
        secret = Secret(bytes([number + 1]) * 32)
        shares = split(secret, 3, [17, 3, 9, 4], SeededRandomness(bytes([number])))
        assert combiner.combine({x: shares[x] for x in (17, 9, 3)}) == secret
        for others in ((3, 9), (3, 9, 4), (3, 9, 17, 4)):
            with pytest.raises(ShareError, match="not those of the points"):
                combiner.combine({x: shares[x] for x in others})


def test_the_shares_never_change() -> None:
    shares = split(SECRET, 2, [1, 2], SeededRandomness(b"vector"))
    assert shares[2].hex() == "005ea3e913eb5144d779e906bbf63667eb668bfd68bf97a20eb073f496a2ad0a31"
