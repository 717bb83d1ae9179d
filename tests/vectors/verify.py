#!/usr/bin/env python3
"""Checks the test vectors with nothing but Python's standard library: no install, no secagg.

    python3 tests/vectors/verify.py [FILES]

A second implementation of the whole protocol, written from docs/protocol.md and
docs/test-vectors.md: slow and obvious. From each vector it takes `config`, `seed` and the arguments
of `operations`, computes everything else, and compares.

It is no library: nothing here runs in constant time, and no secret is wiped.
"""

import hashlib
import hmac
import json
import math
import re
import struct
import sys
from bisect import bisect_right
from collections import namedtuple
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from functools import cache, lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any


class Refused(Exception):
    """A check of the protocol fails: its id, and who broke it."""

    def __init__(self, check: str, peer: str) -> None:
        super().__init__(f"{check} broken by {peer}")
        self.check, self.peer = check, peer


class Malformed(Exception):
    """Bytes, a text or a number that the protocol does not decode."""


class Unauthentic(Exception):
    """A tag does not verify."""


class Unfit(Exception):
    """A vector that says nothing that could be computed."""


def require(holds: bool, check: str, peer: str) -> None:
    if not holds:
        raise Refused(check, peer)


# === protocol.md, section 2: hashing ==============================================================


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def encode(label: str, *parts: bytes) -> bytes:
    """`label` without its prefix."""
    return b"".join(u64(len(p)) + p for p in (f"secagg/1/{label}".encode(), *parts))


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def digest(label: str, *parts: bytes) -> bytes:
    return sha256(encode(label, *parts))


def ids(clients: Any) -> bytes:
    return b"".join(u64(u) for u in clients)


class Source:
    """Seeded randomness."""

    def __init__(self, seed: bytes) -> None:
        self.key, self.block, self.left = digest("seeded randomness", seed), 0, b""

    def draw(self, size: int) -> bytes:
        if not 0 <= size <= LIMIT:
            raise Unfit(f"a draw of {size} bytes")
        while len(self.left) < size:
            self.left += hmac.digest(self.key, u64(self.block), "sha256")
            self.block += 1
        drawn, self.left = self.left[:size], self.left[size:]
        return drawn

    def fork(self, *parts: bytes) -> "Source":
        return Source(hmac.digest(self.key, encode("seeded randomness fork", *parts), "sha256"))


LIMIT = 2**16
"""Vectors are small: of whatever an operation asks for, no more than this."""


def limited(size: int) -> int:
    if not 0 <= size <= LIMIT:
        raise Unfit(f"a size of {size}")
    return size


# === HKDF-SHA256 (RFC 5869) without salt ==========================================================


def hkdf(secret: bytes, info: bytes, length: int) -> bytes:
    if not 1 <= length <= 255 * 32:
        raise Unfit(f"HKDF of {length} bytes")
    key, block, output = hmac.digest(bytes(32), secret, "sha256"), b"", b""
    counter = 1
    while len(output) < length:
        block = hmac.digest(key, block + info + bytes([counter]), "sha256")
        output += block
        counter += 1
    return output[:length]


def derive(secret: bytes, label: str, *parts: bytes) -> bytes:
    return hkdf(secret, encode(label, *parts), 32)


# === X25519 (RFC 7748) ============================================================================

P = 2**255 - 19
LOW_ORDER = {
    0,
    1,
    P - 1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
}


@cache
def x25519(private: bytes, public: bytes) -> bytes:
    """The Montgomery ladder of section 5."""
    k = int.from_bytes(private, "little")
    k = (k & ~7 & (2**254 - 1)) | 2**254
    x1 = (int.from_bytes(public, "little") % 2**255) % P
    x2, z2, x3, z3 = 1, 0, x1, 1
    for t in range(254, -1, -1):
        bit = k >> t & 1
        if bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
        if bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


def public_of(private: bytes) -> bytes:
    return x25519(private, (9).to_bytes(32, "little"))


def is_canonical(public: bytes) -> bool:
    return int.from_bytes(public, "little") < P


def is_low_order(public: bytes) -> bool:
    return (int.from_bytes(public, "little") % 2**255) % P in LOW_ORDER


# === Ed25519 (RFC 8032, section 5.1) ==============================================================

ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)

Point = tuple[int, int, int, int]


def add(p: Point, q: Point) -> Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(scalar: int, point: Point) -> Point:
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def same(p: Point, q: Point) -> bool:
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0


def recover(y: int, sign: int) -> "Point | None":
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if x2 == 0:
        return None if sign else (0, y, 1, 0)
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * ROOT % P
    if (x * x - x2) % P:
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def decompress(data: bytes) -> "Point | None":
    """None for what is not the canonical encoding of a point."""
    value = int.from_bytes(data, "little")
    y, sign = value % 2**255, value >> 255
    return None if y >= P else recover(y, sign)


def compress(point: Point) -> bytes:
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


BASE = recover(4 * pow(5, P - 2, P) % P, 0) or (0, 1, 1, 0)


def wide(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % ORDER


@cache
def identity(seed: bytes) -> tuple[int, bytes, bytes]:
    """The secret scalar, the prefix and the public key."""
    hashed = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(hashed[:32], "little")
    scalar = (scalar & ~7 & (2**254 - 1)) | 2**254
    return scalar, hashed[32:], compress(multiply(scalar, BASE))


@cache
def sign(seed: bytes, message: bytes) -> bytes:
    scalar, prefix, public = identity(seed)
    r = wide(prefix, message)
    commitment = compress(multiply(r, BASE))
    s = (r + wide(commitment, public, message) * scalar) % ORDER
    return commitment + s.to_bytes(32, "little")


@cache
def verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    """As protocol.md says: cofactorless; no key of low order, nothing that is not canonical."""
    if len(public) != 32 or len(signature) != 64:
        return False
    a, r = decompress(public), decompress(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= ORDER:
        return False
    if same(multiply(8, a), (0, 1, 1, 0)):
        return False
    h = wide(signature[:32], public, message)
    return same(multiply(s, BASE), add(r, multiply(h, a)))


# === XChaCha20-Poly1305 (RFC 8439, draft-irtf-cfrg-xchacha) =======================================


def quarter(s: list[int], a: int, b: int, c: int, d: int) -> None:
    for x, y, z, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[x] = (s[x] + s[y]) % 2**32
        word = s[z] ^ s[x]
        s[z] = (word << bits | word >> 32 - bits) % 2**32


def rounds(state: list[int]) -> list[int]:
    s = list(state)
    for _ in range(10):
        quarter(s, 0, 4, 8, 12)
        quarter(s, 1, 5, 9, 13)
        quarter(s, 2, 6, 10, 14)
        quarter(s, 3, 7, 11, 15)
        quarter(s, 0, 5, 10, 15)
        quarter(s, 1, 6, 11, 12)
        quarter(s, 2, 7, 8, 13)
        quarter(s, 3, 4, 9, 14)
    return s


def chacha_state(key: bytes, rest: bytes) -> list[int]:
    return list(struct.unpack("<16I", b"expand 32-byte k" + key + rest))


def hchacha20(key: bytes, nonce: bytes) -> bytes:
    s = rounds(chacha_state(key, nonce))
    return struct.pack("<8I", *s[:4], *s[12:])


def chacha20(key: bytes, nonce: bytes, counter: int, data: bytes) -> bytes:
    stream = b""
    for block in range(-(-len(data) // 64)):
        state = chacha_state(key, struct.pack("<I", counter + block) + nonce)
        mixed = rounds(state)
        stream += struct.pack("<16I", *((x + y) % 2**32 for x, y in zip(state, mixed)))
    return bytes(x ^ y for x, y in zip(data, stream))


def poly1305(key: bytes, message: bytes) -> bytes:
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    s, total = int.from_bytes(key[16:], "little"), 0
    for at in range(0, len(message), 16):
        total = (total + int.from_bytes(message[at : at + 16] + b"\1", "little")) * r
        total %= 2**130 - 5
    return ((total + s) % 2**128).to_bytes(16, "little")


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 16)


def tag_of(key: bytes, nonce: bytes, associated: bytes, ciphertext: bytes) -> bytes:
    lengths = struct.pack("<QQ", len(associated), len(ciphertext))
    one_time = chacha20(key, nonce, 0, bytes(32))
    return poly1305(one_time, padded(associated) + padded(ciphertext) + lengths)


@cache
def seal(key: bytes, plaintext: bytes, associated: bytes, nonce: bytes = bytes(24)) -> bytes:
    subkey, rest = hchacha20(key, nonce[:16]), bytes(4) + nonce[16:]
    ciphertext = chacha20(subkey, rest, 1, plaintext)
    return ciphertext + tag_of(subkey, rest, associated, ciphertext)


@cache
def unseal(key: bytes, sealed: bytes, associated: bytes, nonce: bytes = bytes(24)) -> bytes:
    subkey, rest = hchacha20(key, nonce[:16]), bytes(4) + nonce[16:]
    ciphertext, tag = sealed[:-16], sealed[-16:]
    if tag != tag_of(subkey, rest, associated, ciphertext):
        raise Unauthentic
    return chacha20(subkey, rest, 1, ciphertext)


# === AES-256 in counter mode (FIPS 197, SP 800-38A) ===============================================


def xtime(a: int) -> int:
    return a << 1 ^ (0x11B if a & 0x80 else 0)


def field_product(a: int, b: int) -> int:
    product = 0
    while b:
        if b & 1:
            product ^= a
        a, b = xtime(a), b >> 1
    return product


def make_sbox() -> list[int]:
    box = []
    for a in range(256):
        inverse = next((b for b in range(256) if field_product(a, b) == 1), 0)
        bits = inverse
        for shift in (1, 2, 3, 4):
            bits ^= inverse << shift | inverse >> 8 - shift
        box.append((bits ^ 0x63) % 256)
    return box


SBOX = make_sbox()
TWICE = [xtime(a) for a in range(256)]


@lru_cache(maxsize=4096)
def round_keys(key: bytes) -> list[bytes]:
    words = [key[i : i + 4] for i in range(0, 32, 4)]
    constant = 1
    while len(words) < 60:
        word = words[-1]
        if len(words) % 8 == 0:
            word = bytes(SBOX[b] for b in word[1:] + word[:1])
            word = bytes([word[0] ^ constant]) + word[1:]
            constant = xtime(constant)
        elif len(words) % 8 == 4:
            word = bytes(SBOX[b] for b in word)
        words.append(bytes(x ^ y for x, y in zip(words[-8], word)))
    return [b"".join(words[i : i + 4]) for i in range(0, 60, 4)]


SHIFTED = [4 * ((column + row) % 4) + row for column in range(4) for row in range(4)]


def aes256(key: bytes, block: bytes) -> bytes:
    keys = round_keys(key)
    state = [x ^ y for x, y in zip(block, keys[0])]
    for number in range(1, 15):
        state = [SBOX[state[i]] for i in SHIFTED]
        if number < 14:
            mixed = []
            for c in range(0, 16, 4):
                a = state[c : c + 4]
                every = a[0] ^ a[1] ^ a[2] ^ a[3]
                mixed += [a[i] ^ every ^ TWICE[a[i] ^ a[(i + 1) % 4]] for i in range(4)]
            state = mixed
        state = [x ^ y for x, y in zip(state, keys[number])]
    return bytes(state)


def keystream(key: bytes, first: int, size: int) -> bytes:
    """`size` bytes from byte `first` on."""
    block, skipped = divmod(first, 16)
    stream = b""
    while len(stream) < skipped + size:
        stream += aes256(key, (block % 2**128).to_bytes(16, "big"))
        block += 1
    return stream[skipped : skipped + size]


# === Shamir, Merkle ===============================================================================

Q = 2**256 + 297


def field_element(draw: Any) -> int:
    while True:
        candidate = int.from_bytes(draw(33), "big")
        if candidate < 255 * Q:
            return candidate % Q


def split(secret: bytes, threshold: int, xs: Any, draw: Any) -> dict[int, bytes]:
    if not 2 <= threshold <= len(xs):
        raise Unfit(f"a threshold of {threshold} for {len(xs)} shares")
    points(xs)
    coefficients = [int.from_bytes(secret, "big")]
    coefficients += [field_element(draw) for _ in range(threshold - 1)]
    return {
        x: (sum(a * pow(x, i, Q) for i, a in enumerate(coefficients)) % Q).to_bytes(33, "big")
        for x in xs
    }


def points(xs: Any) -> None:
    if not xs or len(set(xs)) != len(xs) or not all(1 <= x <= 2**16 for x in xs):
        raise Unfit(f"not the x of shares: {xs}")


def combine(shares: dict[int, bytes]) -> bytes:
    """The value at 0 of the polynomial through the shares. Malformed for what is no secret."""
    points(list(shares))
    values = {x: int.from_bytes(share, "big") for x, share in shares.items()}
    if not all(len(shares[x]) == 33 and value < Q for x, value in values.items()):
        raise Malformed("not a share")
    total = 0
    for x, value in values.items():
        term = value
        for y in values:
            if y != x:
                term = term * y * pow(y - x, -1, Q) % Q
        total += term
    if total % Q >= 2**256:
        raise Malformed("not a secret")
    return (total % Q).to_bytes(32, "big")


def leaf_hash(leaf: bytes) -> bytes:
    return sha256(b"\0" + leaf)


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right)


def merkle_root(leaves: Any) -> bytes:
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(merkle_root(leaves[:k]), merkle_root(leaves[k:]))


def merkle_path(leaves: Any, index: int) -> list[bytes]:
    """RFC 9162, 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = 1 << (len(leaves) - 1).bit_length() - 1
    if index < k:
        return [*merkle_path(leaves[:k], index), merkle_root(leaves[k:])]
    return [*merkle_path(leaves[k:], index - k), merkle_root(leaves[:k])]


def merkle_verifies(root: bytes, leaf: bytes, index: int, size: int, path: Any) -> bool:
    """RFC 9162, 2.1.3.2."""
    if not 0 <= index < size:
        return False
    fn, sn, r = index, size - 1, leaf_hash(leaf)
    for p in path:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == root


# === section 1: ring, words, packing ==============================================================


def ring_bits(bound: int) -> int:
    """The smallest b >= 8 with bound < 2^b / 2."""
    bits = 8
    while bound >= 2**bits // 2:
        bits += 1
    if bits > 64:
        raise Malformed("more than 64 bits")
    return bits


def word_bytes(bits: int) -> int:
    if not 8 <= bits <= 64:
        raise Unfit(f"no ring has {bits} bits")
    return 2 if bits <= 16 else 4 if bits <= 32 else 8


def centred(word: int, bits: int) -> int:
    return word - 2**bits if word >= 2**bits // 2 else word


def prg(seed: bytes, bits: int, count: int, start: int = 0) -> list[int]:
    width = word_bytes(bits)
    stream = keystream(seed, start * width, count * width)
    cut = [stream[i : i + width] for i in range(0, len(stream), width)]
    return [int.from_bytes(each, "little") % 2**bits for each in cut]


def packed_size(count: int, bits: int) -> int:
    return -(-count * bits // 8)


def pack(words: Any, bits: int) -> bytes:
    whole: int = sum(word << i * bits for i, word in enumerate(words))
    return whole.to_bytes(packed_size(len(words), bits), "little")


def unpack(data: bytes, bits: int, count: int) -> list[int]:
    whole = int.from_bytes(data, "little")
    if len(data) != packed_size(count, bits) or whole >> count * bits:
        raise Malformed("not a packed vector")
    return [whole >> i * bits & 2**bits - 1 for i in range(count)]


# === section 5: noise =============================================================================


def root4(v: Fraction) -> int:
    return math.isqrt(math.isqrt(int(v) // 4))


def table_tail(v: Fraction) -> int:
    """t(v): the largest absolute value in the table of v."""
    return math.isqrt(118 * v.numerator // v.denominator)


def layers_of(v: Fraction) -> list[tuple[int, Fraction]]:
    """Factor and variance of each table."""
    if not 0 < v <= 2**40:
        raise Malformed("no such variance")
    if v <= 2**16:
        return [(1, v)]
    k = root4(v)
    return [(1, Fraction(4 * k * k)), (k, v / (k * k) - 4)]


def tail_of(v: Fraction) -> int:
    """T(v): the largest absolute value of a sample."""
    return sum(factor * table_tail(variance) for factor, variance in layers_of(v))


@cache
def thresholds(v: Fraction) -> list[int]:
    size = table_tail(v)
    context = Context(
        prec=110, rounding=ROUND_HALF_EVEN, Emin=MIN_EMIN, Emax=MAX_EMAX, clamp=0, traps=[]
    )
    exponent = context.divide(Decimal(-v.denominator), Decimal(2 * v.numerator))
    q = int(context.multiply(context.exp(exponent), Decimal(2**256)))
    step, m = q * q >> 256, [2**256]
    for _ in range(size):
        m.append(m[-1] * q >> 256)
        q = q * step >> 256
    cumulative = list(accumulate(m[:0:-1] + m))
    total = cumulative.pop()
    return [(each << 192) // total for each in cumulative]


def inverted(v: Fraction, uniform: int) -> int:
    return bisect_right(thresholds(v), uniform) - table_tail(v)


@cache
def sample(seed: bytes, v: Fraction, count: int) -> list[int]:
    values = [0] * count
    for number, (factor, variance) in enumerate(layers_of(v)):
        words = keystream(seed, 16 * 2 * number * 2**64, 8 * count)
        heads = {each >> 128 for each in thresholds(variance)}
        for i in range(count):
            uniform = int.from_bytes(words[8 * i : 8 * i + 8], "little") << 128
            if uniform >> 128 in heads:
                refinement = keystream(seed, 16 * ((2 * number + 1) * 2**64 + i), 16)
                uniform |= int.from_bytes(refinement, "little")
            values[i] += factor * inverted(variance, uniform)
    return values


class Mechanism:
    """`s`: the variance that the released sum must carry from honest hospitals alone."""

    def __init__(self, mode: str, sensitivity: int, rho_units: int, n: int, c: int, floor: int):
        if not 0 <= c < floor <= n:
            raise Malformed("a cohort that cannot be")
        self.mode, self.sensitivity = mode, sensitivity
        self.n, self.c, self.floor = n, c, floor
        self.s = Fraction(0)
        if mode == "none":
            return
        if sensitivity < 1 or rho_units < 1:
            raise Malformed("noise needs a sensitivity and a rho")
        rho = Fraction(rho_units, 10**9)
        self.s = (1 + Fraction(1, 2**30)) * sensitivity**2 / (2 * rho)
        variances = self.components(n) + self.components(floor)
        if min(variances) < 6 or max(variances) > 2**40:
            raise Malformed("a variance out of range")

    def components(self, k2: int) -> list[Fraction]:
        if not self.floor <= k2 <= self.n:
            raise Unfit(f"|U2| = {k2}")
        m = k2 - self.c
        if self.mode == "none":
            return []
        if self.mode == "local":
            return [self.s]
        if self.mode == "at_least":
            return [self.s / (self.floor - self.c)]
        spare = range(1, k2 - self.floor + 1)
        return [self.s / m, *(self.s / ((m - j + 1) * (m - j)) for j in spare)]

    def seeds(self, seed: bytes, k2: int) -> list[bytes]:
        return [derive(seed, "noise", u64(j)) for j in range(len(self.components(k2)))]

    def surplus(self, k2: int, k3: int) -> list[int]:
        """The numbers of the components that are not needed."""
        if not self.floor <= k3 <= k2:
            raise Unfit(f"|U3| = {k3}")
        every = range(len(self.components(k2)))
        return [j for j in every if j > k2 - k3] if self.mode == "exact" else []

    def drawn(self, seeds: Any, variances: Any, d: int) -> list[int]:
        return summed([sample(x, v, d) for x, v in zip(seeds, variances)], d)

    def tail(self) -> int:
        if self.mode != "exact":
            return sum(map(tail_of, self.components(self.n)))

        def g(m: int) -> Fraction:
            return self.s / (m * (m + 1))

        first, last = self.floor - self.c, self.n - self.c
        return max(
            tail_of(self.s / m) + sum(tail_of(g(j)) for j in range(first, m))
            for m in range(first, last + 1)
        )

    def guarantee(self, d: int) -> tuple[Fraction, Fraction, int]:
        """privacy.md, theorems 2 to 4: rho of the sum, rho of a hospital's own vector, samples."""
        added = self.components(self.n)
        honest = (self.n if self.mode == "exact" else self.floor) - self.c
        smallest = min(added)

        def zcdp(variance: Fraction, count: int) -> Fraction:
            bits = min(256, int(smallest * Fraction(14238, 1000)))
            tau = Fraction(10 * (count - 1), 2**bits)
            root = Fraction(math.isqrt(math.ceil(Fraction(d) / variance * 4**32)) + 1, 2**32)
            delta = self.sensitivity
            return (delta**2 / variance + 2 * delta * tau * root + d * tau**2) / 2

        own = zcdp(added[0], len(added))
        return zcdp(honest * added[0], honest * len(added)), own, self.n * len(added) * d


def summed(vectors: Any, d: int) -> list[int]:
    total = [0] * d
    for vector in vectors:
        total = [x + y for x, y in zip(total, vector)]
    return total


# === section 6: the model =========================================================================

DECIMAL = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,12})?")


def exact(text: Any) -> Fraction:
    if not isinstance(text, str) or not DECIMAL.fullmatch(text):
        raise Malformed(f"not a decimal: {text}")
    return Fraction(text)


def real(text: str) -> float:
    return float(exact(text))


def dimension_of(spec: Any) -> int:
    sizes: list[int] = [math.prod(p["shape"]) for p in spec["parameters"]]
    return sum(sizes) + 1


def array_names(spec: Any) -> list[tuple[str, Any]]:
    """Name and parameter of each array but `updates`."""
    kinds = ["parameters"]
    if exact(spec["update"]["momentum"]) != 0:
        kinds.append("momentum")
    if spec["update"]["averaging"] != "none":
        kinds.append("average")
    return [(f"{kind}/{p['name']}", p) for kind in kinds for p in spec["parameters"]]


def first_model(spec: Any) -> dict[str, list[float]]:
    model = {}
    for name, p in array_names(spec):
        start = 0.0 if name.startswith("momentum/") else real(p["initial"])
        model[name] = [start] * math.prod(p["shape"])
    return model | {"updates": [0.0]}


def model_bytes(model: Any, spec: Any) -> bytes:
    shapes = {name: p["shape"] for name, p in array_names(spec)} | {"updates": []}
    parts = []
    for name, values in model.items():
        extents = b"".join(map(u64, shapes[name]))
        parts += [name.encode(), b"<f8", extents, struct.pack(f"<{len(values)}d", *values)]
    return encode("model", *parts)


def decode_model(data: bytes, spec: Any) -> None:
    """Malformed unless these are the canonical bytes of a model of `spec`."""
    arrays = list(first_model(spec).values())
    wanted = model_bytes(first_model(spec), spec)
    if len(data) != len(wanted):
        raise Malformed("a model of another length")
    at = end = 8 + len(b"secagg/1/model")
    for values in arrays:
        for _ in ("name", "dtype", "shape"):
            end += 8 + int.from_bytes(wanted[end : end + 8], "big")
        end += 8  # the length of the values
        if data[:at] != wanted[:at] or data[at:end] != wanted[at:end]:
            raise Malformed("another label or array")
        at = end + 8 * len(values)
        if not all(map(math.isfinite, struct.unpack(f"<{len(values)}d", data[end:at]))):
            raise Malformed("not finite")
        wanted, end = data[:at] + wanted[at:], at


def next_model(model: Any, total: Any, spec: Any) -> dict[str, list[float]]:
    """One entry of one array after the other; Python's floats are float64."""
    rule, contribution = spec["update"], spec["contribution"]
    if len(total) != dimension_of(spec):
        raise Unfit("a sum of another dimension")
    momentum, decay = real(rule["momentum"]), real(rule["weight_decay"])
    (updates,) = model["updates"]
    rate = real(rule["learning_rate"]) / (1.0 + real(rule["learning_rate_decay"]) * updates)
    power = float(rule["averaging_power"] + 1)
    weight = power / (updates + power)
    counted = float(total[-1]) / float(contribution["count_weight"])
    divisor = float(contribution["scale"]) * max(counted, float(rule["count_floor"]))
    new: dict[str, list[float]] = {name: [] for name in model}
    left = list(total)
    for p in spec["parameters"]:
        name = p["name"]
        for i, old in enumerate(model[f"parameters/{name}"]):
            v = float(left.pop(0)) / divisor + decay * old
            if momentum:
                v = momentum * model[f"momentum/{name}"][i] + v
                new[f"momentum/{name}"].append(v)
            w = old - rate * v
            new[f"parameters/{name}"].append(w)
            if rule["averaging"] != "none":
                a = model[f"average/{name}"][i]
                new[f"average/{name}"].append(a + (w - a) * weight)
    new["updates"] = [updates + 1.0]
    if not all(math.isfinite(x) for values in new.values() for x in values):
        raise Unfit("a model that is not finite")
    return new


# === section 1: the policy ========================================================================


def integer(low: int, high: int) -> Any:
    return lambda x: type(x) is int and low <= x <= high


def text(pattern: str) -> Any:
    return lambda x: isinstance(x, str) and re.fullmatch(pattern, x) is not None


def one_of(*values: Any) -> Any:
    return lambda x: isinstance(x, str) and x in values


def decimal(low: Any, high: Any) -> Any:
    return lambda x: isinstance(x, str) and low(exact(x)) and high(exact(x))


REQUIRED = object()
HEX = r"[0-9a-f]{64}"
NAME = r"[a-z0-9][a-z0-9-]{0,62}"
MEMBER = {"name": (text(NAME), REQUIRED), "identity_key": (text(HEX), REQUIRED)}
VECTOR = {
    "dimension": (integer(1, 2**53), REQUIRED),
    "max_value": (integer(1, 2**62), REQUIRED),
    "scale": (integer(1, 2**53), 1),
}
NOISE = {
    "mode": (one_of("none", "at_least", "exact", "local"), "none"),
    "unit": (one_of("patient", "hospital"), "patient"),
    "sensitivity": (integer(1, 2**53), 1),
    "rho_units": (integer(0, 2**53), 0),
    "delta": (text(r"0\.[0-9]{1,30}"), "0.00001"),
}
PARAMETER = {
    "name": (text(r"[A-Za-z_][A-Za-z0-9_.]{0,127}"), REQUIRED),
    "shape": (
        lambda x: isinstance(x, list) and len(x) <= 8 and all(map(integer(1, 2**62), x)),
        REQUIRED,
    ),
    "initial": (decimal(lambda x: True, lambda x: True), "0"),
}
CONTRIBUTION = {
    "scale": (integer(1, 2**40), REQUIRED),
    "gradient_bound": (integer(1, 2**40), REQUIRED),
    "count_weight": (integer(1, 2**40), REQUIRED),
    "max_patients": (integer(1, 2**24), REQUIRED),
}
UPDATE = {
    "learning_rate": (decimal(lambda x: x > 0, lambda x: True), REQUIRED),
    "count_floor": (integer(1, 2**32), REQUIRED),
    "learning_rate_decay": (decimal(lambda x: x >= 0, lambda x: True), "0"),
    "momentum": (decimal(lambda x: x >= 0, lambda x: x < 1), "0"),
    "weight_decay": (decimal(lambda x: True, lambda x: True), "0"),
    "averaging": (one_of("none", "polynomial"), "none"),
    "averaging_power": (integer(0, 1024), 0),
}


def completed(document: Any, fields: Any, checked: bool = True) -> dict[str, Any]:
    """`document` with its defaults; Malformed for unknown, missing and unfit fields."""
    if not isinstance(document, dict) or document.keys() - fields.keys():
        raise Malformed("unknown fields, or no object")
    found = {}
    for name, (holds, default) in fields.items():
        value = document.get(name, default)
        if value is REQUIRED or (checked and not holds(value)):
            raise Malformed(f"{name}: {value}")
        found[name] = value
    return found


def anything(_: Any) -> bool:
    return True


POLICY = {
    "schema": (one_of("secagg-policy/1"), "secagg-policy/1"),
    "suite": (one_of("secagg-suite-1"), "secagg-suite-1"),
    "consortium": (text(NAME), REQUIRED),
    "version": (integer(1, 2**53), 1),
    "server_key": (text(HEX), REQUIRED),
    "roster": (lambda x: isinstance(x, list), REQUIRED),
    "corrupt": (integer(0, 2**53), REQUIRED),
    "dropouts": (integer(0, 2**53), REQUIRED),
    "min_survivors": (integer(1, 2**53), REQUIRED),
    "graph": (one_of("complete"), "complete"),
    "vector": (anything, REQUIRED),
    "noise": (anything, {}),
    "model": (anything, None),
    "features": (lambda x: x is None, None),
    "max_charged_attempts": (integer(1, 1000), 3),
    "verification": (one_of("published", "recompute"), "published"),
}


def completed_model(document: Any) -> dict[str, Any]:
    spec = completed(
        document,
        dict.fromkeys(("parameters", "contribution", "update"), (anything, REQUIRED)),
    )
    if not isinstance(spec["parameters"], list):
        raise Malformed("parameters are an array")
    spec["parameters"] = [completed(p, PARAMETER) for p in spec["parameters"]]
    spec["contribution"] = rule = completed(spec["contribution"], CONTRIBUTION)
    spec["update"] = update = completed(spec["update"], UPDATE)
    names = [p["name"] for p in spec["parameters"]]
    pull = exact(update["weight_decay"]) * exact(update["learning_rate"])
    if not (
        1 <= len(names) <= 1024
        and len(set(names)) == len(names)
        and 0 <= pull <= 1
        and coordinate_bound(rule) < 2**62
        and dimension_of(spec) <= 2**26
    ):
        raise Malformed("a model out of bounds")
    return spec


def coordinate_bound(rule: Any) -> int:
    bound: int = rule["max_patients"] * max(rule["gradient_bound"], rule["count_weight"])
    return bound


class Policy:
    """A loaded policy and what follows from it. Malformed for one that breaks a bound."""

    def __init__(self, document: Any) -> None:
        self.document = p = completed(document, POLICY)
        p["roster"] = [completed(member, MEMBER) for member in p["roster"]]
        p["vector"] = completed(p["vector"], VECTOR)
        p["noise"] = completed(p["noise"], NOISE)
        self.model = p["model"]
        if self.model is not None:
            p["model"] = self.model = completed_model(self.model)
        self.n, self.c = len(p["roster"]), p["corrupt"]
        self.t = (self.n + self.c) // 2 + 1
        self.floor, d = p["min_survivors"], p["dropouts"]
        self.names = [member["name"] for member in p["roster"]]
        keys = [member["identity_key"] for member in p["roster"]] + [p["server_key"]]
        self.d, self.max_value = p["vector"]["dimension"], p["vector"]["max_value"]
        noise = p["noise"]
        if not (
            3 <= self.n <= 4096
            and len(set(self.names)) == self.n
            and len(set(keys)) == self.n + 1
            and self.c >= 1
            and self.t <= self.n - d
            and max(self.t, self.c + 2, 3) <= self.floor <= self.n - d
            and self.d <= 2**28
            and (p["verification"] == "published" or self.n * self.d <= 2**26)
            and Fraction(noise["delta"]) > 0
            and (noise["mode"] == "none" or noise["rho_units"] > 0)
        ):
            raise Malformed("a bound of the policy fails")
        if self.model is not None:
            rule = self.model["contribution"]
            squared = rule["gradient_bound"] ** 2 + rule["count_weight"] ** 2
            if not (
                self.d == dimension_of(self.model)
                and p["vector"]["scale"] == rule["scale"]
                and self.max_value >= coordinate_bound(rule)
                and (noise["unit"] == "patient" or rule["max_patients"] == 1)
                and (noise["mode"] == "none" or noise["sensitivity"] ** 2 >= squared)
            ):
                raise Malformed("vector or noise do not fit the model")
        self.mechanism = Mechanism(
            noise["mode"], noise["sensitivity"], noise["rho_units"], self.n, self.c, self.floor
        )
        self.tail = self.mechanism.tail()
        self.bits = ring_bits(self.n * (self.max_value + self.tail))
        self.keys = [bytes.fromhex(keys[-1]), *map(bytes.fromhex, keys[:-1])]
        self.text = canonical(p)
        self.digest = digest("policy", self.text.encode())
        self.members = range(1, self.n + 1)

    def name(self, u: int) -> str:
        return self.names[u - 1] if 1 <= u <= self.n else f"unknown client {u}"


def canonical(document: Any) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


# === section 8: messages ==========================================================================

BYTES_32, BYTES_64 = ("bin", 32, 32), ("bin", 64, 64)
CLIENT, COUNTER = ("int", 1, 4096), ("int", 0, 2**53)
CLIENTS, SEEDS = ("array", CLIENT, 4096), ("array", BYTES_32, 4096)
DATA, REASON = ("bin", 1, 2**20), ("str", 2000)


def struct_of(name: str) -> Any:
    return ("struct", name)


def many(name: str) -> Any:
    return ("array", struct_of(name), 4096)


def maybe(of: Any) -> Any:
    return ("maybe", of)


FACTS = {
    "policy_digest": BYTES_32,
    "round": COUNTER,
    "attempt": COUNTER,
    "base_model_hash": BYTES_32,
    "server_nonce": BYTES_32,
    "u2_hash": BYTES_32,
    "u3": CLIENTS,
    "sum_digest": BYTES_32,
}
PARTS: dict[str, dict[str, Any]] = {
    "Advertisement": {
        "u": CLIENT,
        "channel_root": BYTES_32,
        "mask_key": BYTES_32,
        "signature": BYTES_64,
    },
    "DeliveredKeys": {
        "advertisement": struct_of("Advertisement"),
        "channel_key": BYTES_32,
        "path": ("array", BYTES_32, 13),
    },
    "EncryptedShares": {
        "v": CLIENT,
        "ciphertext": ("bin", 146, 146),
        "self_mask_commitment": BYTES_32,
        "mask_key_commitment": BYTES_32,
    },
    "OwnShares": {"self_mask_commitment": BYTES_32, "mask_key_commitment": BYTES_32},
    "Dealing": {
        "u": CLIENT,
        "root": BYTES_32,
        "seed_commitment": BYTES_32,
        "signature": BYTES_64,
    },
    "DeliveredShares": {
        "dealing": struct_of("Dealing"),
        "shares": maybe(struct_of("EncryptedShares")),
        "path": ("array", BYTES_32, 13),
    },
    "OpenedShare": {"v": CLIENT, "share": ("bin", 33, 33), "salt": BYTES_32},
    "Signed": {"u": CLIENT, "signature": BYTES_64},
    "PublishedSum": FACTS | {"survivor_signatures": many("Signed"), "server_signature": BYTES_64},
    "Certificate": FACTS | {"model_hash": BYTES_32, "signatures": many("Signed")},
    "Abandonment": {
        "policy_digest": BYTES_32,
        "round": COUNTER,
        "base_model_hash": BYTES_32,
        "signatures": many("Signed"),
    },
    # of a transcript
    "MaskedInputRecord": {"u": CLIENT, "masked_digest": BYTES_32, "signature": BYTES_64},
    "AnswerRecord": {
        "u": CLIENT,
        "shares_digest": BYTES_32,
        "surplus_seeds": SEEDS,
        "signature": BYTES_64,
    },
    "OpenedSecret": {"u": CLIENT, "secret": BYTES_32},
    "Transcript": {
        "schema": ("is", "secagg-transcript/1"),
        "announcement": struct_of("Announcement"),
        "advertisements": many("Advertisement"),
        "dealings": many("Dealing"),
        "masked_inputs": many("MaskedInputRecord"),
        "survivor_signatures": many("Signed"),
        "answers": many("AnswerRecord"),
        "self_mask_seeds": many("OpenedSecret"),
        "mask_keys": many("OpenedSecret"),
        "published": maybe(struct_of("PublishedSum")),
        "total": ("bin", 0, 2**31),
        "certificate": maybe(struct_of("Certificate")),
        "ended": REASON,
    },
}
SESSION = {"session": BYTES_32}
MESSAGES: dict[str, dict[str, Any]] = {
    "Challenge": {"protocol": COUNTER, "policy_digest": BYTES_32, "nonce": BYTES_32},
    "Hello": {
        "u": CLIENT,
        "policy_digest": BYTES_32,
        "model_hash": BYTES_32,
        "entered_round": COUNTER,
        "entered_attempt": COUNTER,
        "certificate": maybe(struct_of("Certificate")),
        "abandonment": maybe(struct_of("Abandonment")),
        "session": maybe(BYTES_32),
        "awaiting": maybe(("str", 32)),
        "signature": BYTES_64,
    },
    "Ready": {"round": COUNTER},
    "GatheringNotice": {"hospitals": COUNTER},
    "ModelRequest": {"model_hash": BYTES_32},
    "Refusal": {"reason": REASON},
    "Announcement": {
        "policy_digest": BYTES_32,
        "round": COUNTER,
        "attempt": COUNTER,
        "base_model_hash": BYTES_32,
        "server_nonce": BYTES_32,
        "signature": BYTES_64,
    },
    "AdvertiseKeys": {
        "policy_digest": BYTES_32,
        "round": COUNTER,
        "attempt": COUNTER,
        "base_model_hash": BYTES_32,
        "session": BYTES_32,
        "channel_keys": SEEDS,
        "advertisement": struct_of("Advertisement"),
    },
    "KeyRoster": SESSION | {"advertised": many("DeliveredKeys")},
    "ShareKeys": SESSION
    | {
        "own": struct_of("OwnShares"),
        "shares": many("EncryptedShares"),
        "seed_commitment": BYTES_32,
        "signature": BYTES_64,
    },
    "ShareDelivery": SESSION | {"delivered": many("DeliveredShares")},
    "Complaint": SESSION
    | {"dealer": CLIENT, "channel_private_key": BYTES_32, "signature": BYTES_64},
    "VectorChunk": SESSION | {"start": COUNTER, "data": DATA},
    "MaskedInputSignature": SESSION | {"masked_digest": BYTES_32, "signature": BYTES_64},
    "SurvivorSet": SESSION | {"u3": CLIENTS},
    "SurvivorSignature": SESSION | {"signature": BYTES_64},
    "SurvivorSignatures": SESSION | {"signatures": many("Signed")},
    "UnmaskingAnswer": SESSION
    | {
        "self_mask_shares": many("OpenedShare"),
        "mask_key_shares": many("OpenedShare"),
        "surplus_seeds": SEEDS,
        "signature": BYTES_64,
    },
    "SumAnnouncement": SESSION | {"published": struct_of("PublishedSum")},
    "TranscriptRequest": {"round": COUNTER},
    "TranscriptStart": {"round": COUNTER, "size": COUNTER},
    "TranscriptChunk": {"round": COUNTER, "start": COUNTER, "data": DATA},
    "MaskedInputChunk": SESSION | {"u": CLIENT, "start": COUNTER, "data": DATA},
    "CertificateShare": SESSION | {"model_hash": BYTES_32, "signature": BYTES_64},
    "CertificateNotice": {"certificate": struct_of("Certificate")},
    "AbandonmentRequest": {"round": COUNTER, "base_model_hash": BYTES_32, "reason": REASON},
    "AbandonmentShare": {"round": COUNTER, "signature": BYTES_64},
    "AbandonmentNotice": {"abandonment": struct_of("Abandonment")},
    "AttemptAborted": SESSION | {"reason": REASON},
    "ModelStart": {"certificate": struct_of("Certificate"), "size": COUNTER},
    "ModelChunk": {"start": COUNTER, "data": DATA},
}
EITHER = {"Refusal", "VectorChunk", "ModelRequest", "ModelStart", "ModelChunk"}
TO_SERVER = EITHER | {
    "Hello",
    "Ready",
    "AdvertiseKeys",
    "ShareKeys",
    "Complaint",
    "MaskedInputSignature",
    "SurvivorSignature",
    "UnmaskingAnswer",
    "CertificateShare",
    "AbandonmentShare",
    "TranscriptRequest",
}
TO_PARTY = EITHER | (MESSAGES.keys() - TO_SERVER)

STRUCTS: dict[str, Any] = {
    name: namedtuple(name, list(fields)) for name, fields in (PARTS | MESSAGES).items()
}


class M:
    """`M.Announcement(...)` and so on."""


for struct_name, struct_type in STRUCTS.items():
    setattr(M, struct_name, struct_type)
make: Any = M


def name_of(value: Any) -> str:
    return type(value).__name__


def plain(value: Any) -> Any:
    """Arrays, integers, strings, bytes and None, as they are encoded."""
    if isinstance(value, (list, tuple)):
        listed = [plain(each) for each in value]
        return [name_of(value), *listed] if name_of(value) in MESSAGES else listed
    return value


def understood(value: Any, kind: Any) -> Any:
    """A value as a field of type `kind`; Malformed if it is none."""
    name, *bounds = kind
    if name == "maybe":
        return None if value is None else understood(value, bounds[0])
    if name == "int":
        if type(value) is int and bounds[0] <= value <= bounds[1]:
            return value
    elif name == "bin":
        if type(value) is bytes and bounds[0] <= len(value) <= bounds[1]:
            return value
    elif name == "str":
        if type(value) is str and len(value) <= bounds[0]:
            return value
    elif name == "is":
        if value == bounds[0]:
            return value
    elif name == "array":
        if type(value) is list and len(value) <= bounds[1]:
            return [understood(each, bounds[0]) for each in value]
    elif bounds[0] in MESSAGES:
        if type(value) is list and value[:1] == [bounds[0]]:
            return structured(value[1:], bounds[0], MESSAGES[bounds[0]])
    elif type(value) is list:
        return structured(value, bounds[0], PARTS[bounds[0]])
    raise Malformed(f"not {kind}")


def structured(values: Any, name: str, fields: Any) -> Any:
    if len(values) != len(fields):
        raise Malformed(f"{name} has {len(fields)} fields")
    return STRUCTS[name](*map(understood, values, fields.values()))


def decoded(data: bytes, accepted: Any) -> Any:
    """The message in `data`, if its name is one of `accepted`."""
    values = unpacked(data)
    if type(values) is not list or not values or type(values[0]) is not str:
        raise Malformed("not an array with a name first")
    if values[0] not in accepted:
        raise Malformed(f"no message is called {values[0]}")
    return understood(values, struct_of(values[0]))


def encoded(value: Any) -> bytes:
    return msgpack(plain(value))


# === msgpack: what messages need of it ============================================================


def msgpack(value: Any) -> bytes:
    """The shortest form."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        if -32 <= value < 128:
            return struct.pack("b", value) if value < 0 else bytes([value])
        if value >= 0:
            for tag, size in ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8)):
                if value < 2 ** (8 * size):
                    return bytes([tag]) + value.to_bytes(size, "big")
        for tag, size in ((0xD0, 1), (0xD1, 2), (0xD2, 4), (0xD3, 8)):
            if -(2 ** (8 * size - 1)) <= value < 0:
                return bytes([tag]) + value.to_bytes(size, "big", signed=True)
    if isinstance(value, bytes):
        return length_first(len(value), None, (0xC4, 0xC5, 0xC6)) + value
    if isinstance(value, str):
        data = value.encode()
        return length_first(len(data), (0xA0, 32), (0xD9, 0xDA, 0xDB)) + data
    if isinstance(value, list):
        head = length_first(len(value), (0x90, 16), (None, 0xDC, 0xDD))
        return head + b"".join(map(msgpack, value))
    raise Unfit(f"no msgpack of {value!r}")


def length_first(length: int, short: Any, tags: Any) -> bytes:
    if short is not None and length < short[1]:
        return bytes([short[0] | length])
    for tag, size in zip(tags, (1, 2, 4)):
        if tag is not None and length < 2 ** (8 * size):
            return bytes([tag]) + length.to_bytes(size, "big")
    raise Unfit("too long")


def unpacked(data: bytes) -> Any:
    """The one value in `data`; Malformed if it is none, or if something follows."""
    value, at = value_at(data, 0)
    if at != len(data):
        raise Malformed("trailing bytes")
    return value


def value_at(data: bytes, at: int) -> tuple[Any, int]:
    def number(size: int, signed: bool = False) -> int:
        if at + 1 + size > len(data):
            raise Malformed("truncated")
        return int.from_bytes(data[at + 1 : at + 1 + size], "big", signed=signed)

    def octets(start: int, length: int) -> bytes:
        if start + length > len(data):
            raise Malformed("truncated")
        return data[start : start + length]

    def string(start: int, length: int) -> tuple[str, int]:
        try:
            return octets(start, length).decode(), start + length
        except UnicodeDecodeError:
            raise Malformed("not UTF-8") from None

    def array(start: int, length: int) -> tuple[list[Any], int]:
        found = []
        for _ in range(length):
            value, start = value_at(data, start)
            found.append(value)
        return found, start

    tag = octets(at, 1)[0]
    if tag < 0x80:
        return tag, at + 1
    if tag >= 0xE0:
        return tag - 256, at + 1
    if 0xA0 <= tag < 0xC0:
        return string(at + 1, tag & 31)
    if 0x90 <= tag < 0xA0:
        return array(at + 1, tag & 15)
    if tag == 0xC0:
        return None, at + 1
    if tag in (0xC2, 0xC3):
        return tag == 0xC3, at + 1
    if 0xCC <= tag <= 0xCF:
        size = 1 << tag - 0xCC
        return number(size), at + 1 + size
    if 0xD0 <= tag <= 0xD3:
        size = 1 << tag - 0xD0
        return number(size, signed=True), at + 1 + size
    if 0xC4 <= tag <= 0xC6:
        size = 1 << tag - 0xC4
        start = at + 1 + size
        return octets(start, number(size)), start + number(size)
    if 0xD9 <= tag <= 0xDB:
        size = 1 << tag - 0xD9
        return string(at + 1 + size, number(size))
    if tag in (0xDC, 0xDD):
        size = 2 if tag == 0xDC else 4
        return array(at + 1 + size, number(size))
    raise Malformed(f"no message has a {tag:#x}")


# === test-vectors.md: the kind "primitives" =======================================================


def outcome_of(holds: bool) -> str:
    return "success" if holds else "auth_failure"


def hexes(values: Any) -> list[str]:
    return [value.hex() for value in values]


def flipped(data: bytes, bit: Any) -> bytes:
    """Bit 0 is the least significant one of the last byte."""
    if bit is None:
        return data
    if not 0 <= bit < 8 * len(data):
        raise Unfit(f"{len(data)} bytes have no bit {bit}")
    whole: int = int.from_bytes(data, "big") ^ 1 << bit
    return whole.to_bytes(len(data), "big")


def float_hex(value: float) -> str:
    return struct.pack(">d", value).hex()


def labelled(label: str) -> str:
    """A label without its prefix."""
    if not label.startswith("secagg/1/"):
        raise Unfit(f"not a label of the suite: {label}")
    return label.removeprefix("secagg/1/")


def do_randomness(source: Source, fork: Any, sizes: Any) -> Any:
    child = source.fork(*map(bytes.fromhex, fork))
    return {"expect": "success", "drawn": [child.draw(size).hex() for size in sizes]}


def do_digest(source: Source, label: str, sizes: Any) -> Any:
    parts = [source.draw(size) for size in sizes]
    return {
        "expect": "success",
        "parts": hexes(parts),
        "encoded": encode(labelled(label), *parts).hex(),
        "digest": digest(labelled(label), *parts).hex(),
    }


def do_derive(source: Source, label: str, sizes: Any, length: int) -> Any:
    secret = source.draw(32)
    parts = [source.draw(size) for size in sizes]
    return {
        "expect": "success",
        "secret": secret.hex(),
        "parts": hexes(parts),
        "derived": hkdf(secret, encode(labelled(label), *parts), length).hex(),
    }


def do_agree(source: Source) -> Any:
    one, two = source.draw(32), source.draw(32)
    return {
        "expect": "success",
        "private_keys": hexes([one, two]),
        "public_keys": hexes([public_of(one), public_of(two)]),
        "agreed": x25519(one, public_of(two)).hex(),
    }


def do_public_key(source: Source, u: int, high: int) -> Any:
    if not 0 <= u < 2**255 or high not in (0, 1):
        raise Unfit("no 32 bytes stand for this number")
    private, public = source.draw(32), (u + high * 2**255).to_bytes(32, "little")
    found = {
        "private_key": private.hex(),
        "public_key": public.hex(),
        "canonical": is_canonical(public),
        "low_order": is_low_order(public),
    }
    if is_low_order(public):
        return found | {"expect": "auth_failure"}
    return found | {"expect": "success", "agreed": x25519(private, public).hex()}


def do_sign(source: Source, label: str, sizes: Any, flip: Any, scalar: bool) -> Any:
    seed = source.draw(32)
    parts = [source.draw(size) for size in sizes]
    message = encode(labelled(label), *parts)
    signed = sign(seed, message)
    if scalar:
        s = int.from_bytes(signed[32:], "little") + ORDER
        signed = signed[:32] + s.to_bytes(32, "little")
    shown = flipped(signed + identity(seed)[2], flip)
    return {
        "expect": outcome_of(verifies(shown[64:], shown[:64], message)),
        "seed": seed.hex(),
        "parts": hexes(parts),
        "signature": shown[:64].hex(),
        "public_key": shown[64:].hex(),
    }


def do_seal(source: Source, plaintext_size: int, associated_size: int, flip: Any) -> Any:
    key, nonce = source.draw(32), source.draw(24)
    plaintext, associated = source.draw(plaintext_size), source.draw(associated_size)
    shown = flipped(nonce + associated + seal(key, plaintext, associated, nonce), flip)
    nonce, associated = shown[:24], shown[24 : 24 + associated_size]
    ciphertext = shown[24 + associated_size :]
    found = {
        "key": key.hex(),
        "nonce": nonce.hex(),
        "plaintext": plaintext.hex(),
        "associated": associated.hex(),
        "ciphertext": ciphertext.hex(),
    }
    try:
        opened = unseal(key, ciphertext, associated, nonce)
    except Unauthentic:
        return found | {"expect": "auth_failure"}
    return found | {"expect": "success", "opened": opened.hex()}


def do_prg(source: Source, bits: int, start: int, count: int) -> Any:
    seed, width = source.draw(32), word_bytes(bits)
    if start < 0:
        raise Unfit("a mask begins at word 0")
    return {
        "expect": "success",
        "seed": seed.hex(),
        "first_byte": start * width,
        "keystream": keystream(seed, start * width, limited(count) * width).hex(),
        "words": prg(seed, bits, count, start),
    }


def combined(shares: Any, threshold: int) -> Any:
    try:
        value = combine(shares).hex()
    except Malformed:
        return {"expect": "decode_error"}
    enough = len(shares) >= threshold
    return {"expect": "success" if enough else "below_threshold", "combined": value}


def do_shamir(source: Source, threshold: int, xs: Any, use: Any, add: int) -> Any:
    secret = source.draw(32)
    shares = split(secret, threshold, xs, source.draw)
    used = {x: shares[x] for x in use}
    if len(used) != len(use):
        raise Unfit("a share is used twice")
    if add:
        used[use[0]] = (int.from_bytes(used[use[0]], "big") + add).to_bytes(33, "big")
    return {
        "secret": secret.hex(),
        "shares": hexes(shares.values()),
        "used": hexes(used.values()),
    } | combined(used, threshold)


def do_shamir_value(source: Source, value: int, xs: Any) -> Any:
    slope = int.from_bytes(source.draw(33), "big") % Q
    if not 0 <= value < Q or len(set(xs)) != len(xs):
        raise Unfit("no element of the field, or one x is there twice")
    shares = {x: ((value + slope * x) % Q).to_bytes(33, "big") for x in xs}
    return {"slope": hex(slope), "used": hexes(shares.values())} | combined(shares, 2)


def do_merkle(source: Source, size: int, index: int, flip: Any) -> Any:
    leaves = [source.draw(20) for _ in range(limited(size))]
    if not 0 <= index < size:
        raise Unfit("there is no such leaf")
    path = merkle_path(leaves, index)
    shown = flipped(b"".join([merkle_root(leaves), leaves[index], *path]), flip)
    root, leaf = shown[:32], shown[32:52]
    path = [shown[at : at + 32] for at in range(52, len(shown), 32)]
    return {
        "expect": outcome_of(merkle_verifies(root, leaf, index, size, path)),
        "leaves": hexes(leaves),
        "root": root.hex(),
        "leaf": leaf.hex(),
        "path": hexes(path),
    }


def do_context(source: Source, round: int, attempt: int, u1: Any, u2: Any, u3: Any) -> Any:
    policy, model, nonce = source.draw(32), source.draw(32), source.draw(32)
    session = session_of(policy, round, attempt, model, nonce)
    advertised = [
        make.Advertisement(u, source.draw(32), source.draw(32), source.draw(64)) for u in u1
    ]
    dealings = [make.Dealing(u, source.draw(32), source.draw(32), bytes(64)) for u in u2]
    share, salt, ciphertext, seed = (source.draw(size) for size in (33, 32, 146, 32))
    roster = roster_digest(session, advertised)
    u2_digest = u2_hash(roster, dealings)
    u, v = u1[0], u1[-1]
    opened = make.OpenedShare(v, share, salt)
    answer = make.UnmaskingAnswer(session, [opened], [opened], [seed], bytes(64))
    kinds = ("self mask", "mask key")
    commitments = [share_commitment(roster, u, v, kind, share, salt) for kind in kinds]
    return {
        "expect": "success",
        "policy_digest": policy.hex(),
        "base_model_hash": model.hex(),
        "server_nonce": nonce.hex(),
        "session_id": session.hex(),
        "roster_digest": roster.hex(),
        "u2_hash": u2_digest.hex(),
        "u3_hash": digest("U3", u2_digest, ids(u3)).hex(),
        "channel_leaf": encode("channel key leaf", u64(v), seed).hex(),
        "share_leaf": share_leaf(roster, u, v, ciphertext, commitments[0], salt).hex(),
        "share_commitments": hexes(commitments),
        "seed_commitment": digest("self-mask commitment", roster, u64(u), seed).hex(),
        "ids": ids(u3).hex(),
        "u64": u64(round).hex(),
        "statements": {
            "announcement": encode("announcement", session).hex(),
            "advertisement": encode("advertisement", session, u64(u), seed, salt).hex(),
            "share_keys": encode("share keys", roster, u64(u), seed, salt).hex(),
            "complaint": encode("complaint", roster, u64(u), u64(v), seed).hex(),
            "masked_input": encode("masked input", u2_digest, u64(u), seed).hex(),
            "survivor": encode("survivor", session, u2_digest, u64(u), ids(u3)).hex(),
            "answer": answer_statement(u2_digest, u3, u, answer).hex(),
            "abandonment": encode("abandonment", policy, u64(round), model).hex(),
            "hello": encode("hello", nonce, u64(v), policy, model, u64(round), u64(attempt)).hex(),
        },
    }


def do_ring(source: Source, bound: int) -> Any:
    if bound < 0:
        raise Unfit("a bound is not negative")
    if bound >= 2**63:
        return {
            "expect": "overflow",
            "missing_bits": bound.bit_length() - 63,
            "above": bound - 2**63,
        }
    bits = ring_bits(bound)
    half = 2**bits // 2
    values = [-bound, -half, -1, 0, 1, half - 1, bound]
    return {
        "expect": "success",
        "bits": bits,
        "word_bytes": word_bytes(bits),
        "values": values,
        "words": [value % 2**bits for value in values],
    }


def do_pack(source: Source, bits: int, count: int, flip: Any, extra: int) -> Any:
    word_bytes(bits)
    words = [int.from_bytes(source.draw(8), "big") % 2**bits for _ in range(limited(count))]
    packed = flipped(pack(words, bits)[::-1], flip)[::-1]
    packed = packed + bytes(limited(extra)) if extra >= 0 else packed[:extra]
    found = {"words": words, "packed": packed.hex()}
    try:
        return found | {"expect": "success", "unpacked": unpack(packed, bits, count)}
    except Malformed:
        return found | {"expect": "decode_error"}


def do_quantise(source: Source, values: Any, scale: int) -> Any:
    if not 1 <= scale <= 2**53:
        raise Unfit("no such scale")
    reals = [float(value) for value in values]
    products = [x * float(scale) for x in reals]
    found = {"float64": list(map(float_hex, reals)), "products": list(map(float_hex, products))}
    if not all(-(2.0**63) <= x < 2.0**63 for x in products):
        return found | {"expect": "overflow"}
    return found | {"expect": "success", "integers": [round(x) for x in products]}


def do_clip(source: Source, values: Any, bound: int) -> Any:
    if bound < 0 or not all(-(2**63) <= x < 2**63 for x in values):
        raise Unfit("not 64 bits")
    squared, clipped = sum(x * x for x in values), list(values)
    if squared > bound * bound:
        norm = math.isqrt(squared - 1) + 1
        clipped = [abs(x) * bound // norm * (1 if x > 0 else -1) for x in values]
    return {
        "expect": "success",
        "squared_bound": bound**2,
        "squared_norm": squared,
        "clipped": clipped,
        "clipped_squared_norm": sum(x * x for x in clipped),
    }


def variance_of(text: str) -> Fraction:
    variance = Fraction(text)
    if str(variance) != text or not 0 < variance <= 2**41:
        raise Unfit(f"not a variance in lowest terms: {text}")
    return variance


def table_of(factor: int, variance: Fraction) -> Any:
    if table_tail(variance) >= 2**15:
        raise Unfit("too large for one table")
    listed = b"".join(each.to_bytes(24, "big") for each in thresholds(variance))
    return {
        "factor": factor,
        "variance": str(variance),
        "tail": table_tail(variance),
        "thresholds": sha256(listed).hex(),
    }


def do_gaussian(source: Source, variance: str, count: int) -> Any:
    seed, v = source.draw(32), variance_of(variance)
    return {
        "expect": "success",
        "seed": seed.hex(),
        "tail": tail_of(v),
        "tables": [table_of(factor, each) for factor, each in layers_of(v)],
        "samples": sample(seed, v, limited(count)),
    }


def do_inversion(source: Source, variance: str, threshold: int, offset: int) -> Any:
    v = variance_of(variance)
    if not 0 <= threshold < len(thresholds(v)):
        raise Unfit("there is no such threshold")
    uniform = thresholds(v)[threshold] + offset
    return {
        "expect": "success",
        "seed": source.draw(32).hex(),
        "uniform": uniform.to_bytes(24, "big").hex(),
        "table": table_of(1, v),
        "value": inverted(v, uniform),
    }


def do_noise(
    source: Source,
    mode: str,
    sensitivity: int,
    rho_units: int,
    roster: int,
    corrupt: int,
    min_survivors: int,
    shared: int,
    survivors: int,
    dimension: int,
) -> Any:
    seed, d = source.draw(32), limited(dimension)
    if mode not in ("at_least", "exact", "local"):
        raise Unfit("no such mode")
    try:
        m = Mechanism(mode, sensitivity, rho_units, limited(roster), corrupt, min_survivors)
    except Malformed:
        m = Mechanism("none", sensitivity, rho_units, roster, corrupt, min_survivors)
        m.mode, m.s = mode, Fraction(sensitivity**2, 2) / Fraction(rho_units, 10**9)
        return {
            "expect": "overflow",
            "seed": seed.hex(),
            "variances_without_margin": list(map(str, m.components(shared))),
            "cohort": [roster, corrupt, min_survivors, shared, survivors],
            "coordinates": dimension,
        }
    variances, seeds = m.components(shared), m.seeds(seed, shared)
    surplus = m.surplus(shared, survivors)
    rho_sum, rho_own, samples = m.guarantee(d)
    return {
        "expect": "success",
        "seed": seed.hex(),
        "variance_of_sum": str(m.s),
        "variances": list(map(str, variances)),
        "component_seeds": hexes(seeds),
        "components": [sample(each, v, d) for each, v in zip(seeds, variances)],
        "noise": m.drawn(seeds, variances, d),
        "dropped": shared - survivors,
        "surplus_seeds": hexes(seeds[j] for j in surplus),
        "surplus_noise": m.drawn([seeds[j] for j in surplus], [variances[j] for j in surplus], d),
        "left": str(sum((v for j, v in enumerate(variances) if j not in surplus), Fraction(0))),
        "tail": m.tail(),
        "rho_sum": str(rho_sum),
        "rho_own": str(rho_own),
        "samples": samples,
    }


def do_model(source: Source, spec: Any, sums: Any) -> Any:
    complete(spec, {"parameters", "contribution", "update"})
    spec, rule = completed_model(spec), spec["contribution"]
    limited(dimension_of(spec))
    models = [first_model(spec)]
    for total in sums:
        models.append(next_model(models[-1], total, spec))
    power = spec["update"]["averaging_power"]
    every = [model_bytes(model, spec) for model in models]
    return {
        "expect": "success",
        "seed": source.draw(32).hex(),
        "sensitivity_squared": rule["gradient_bound"] ** 2 + rule["count_weight"] ** 2,
        "coordinate_bound": coordinate_bound(rule),
        "second_weight": float_hex((power + 1) / (power + 2)),
        "counted": [float_hex(float(x[-1]) / float(rule["count_weight"])) for x in sums],
        "sum_digests": hexes(digest("sum", pack([x % 2**64 for x in total], 64)) for total in sums),
        "models": [{"bytes": data.hex(), "hash": sha256(data).hex()} for data in every],
    }


def complete(document: Any, keys: Any) -> None:
    """A vector leaves no field of a spec to its default."""
    if document.keys() != keys:
        raise Unfit(f"fields are missing: {keys - document.keys()}")
    for key, fields in (("contribution", CONTRIBUTION), ("update", UPDATE)):
        if key in document and document[key].keys() != fields.keys():
            raise Unfit(f"fields of {key} are missing")
    for parameter in document["parameters"]:
        if parameter.keys() != PARAMETER.keys():
            raise Unfit("fields of a parameter are missing")


def do_decode_model(source: Source, parameters: Any, at: int, put: str, extra: int) -> Any:
    complete({"parameters": parameters}, {"parameters"})
    spec = completed_model(
        {
            "parameters": parameters,
            "contribution": dict.fromkeys(CONTRIBUTION, 1),
            "update": {"learning_rate": "1", "count_floor": 1},
        }
    )
    limited(dimension_of(spec))
    first, changed = model_bytes(first_model(spec), spec), bytes.fromhex(put)
    if not 0 <= at <= len(first) - len(changed):
        raise Unfit(f"nothing is written at byte {at}")
    data = first[:at] + changed + first[at + len(changed) :]
    data = data + bytes(limited(extra)) if extra >= 0 else data[:extra]
    found = {
        "seed": source.draw(32).hex(),
        "written": [at, len(changed)],
        "bytes": data.hex(),
    }
    try:
        decode_model(data, spec)
    except Malformed:
        return found | {"expect": "decode_error"}
    return found | {"expect": "success", "model_hash": sha256(data).hex()}


def shown(data: bytes) -> Any:
    if len(data) <= 4096:
        return data.hex()
    return {"size": len(data), "sha256": sha256(data).hex()}


def drawn_values(written: Any, source: Source) -> Any:
    if isinstance(written, list):
        return [drawn_values(each, source) for each in written]
    if isinstance(written, dict):
        if written.keys() != {"draw"}:
            raise Unfit("not a value of a message")
        return source.draw(written["draw"])
    return written


def changed_bytes(data: bytes, change: Any) -> bytes:
    name, arguments = change
    if name == "cut" and len(arguments) == 1 and 0 < arguments[0] <= len(data):
        return data[: -arguments[0]]
    if name == "append" and len(arguments) == 1:
        return data + bytes.fromhex(arguments[0])
    if name == "replace" and len(arguments) == 2 and bytes.fromhex(arguments[0]) in data:
        old, new = map(bytes.fromhex, arguments)
        return data.replace(old, new, 1)
    raise Unfit(f"bytes are not changed by {change}")


def do_decode(source: Source, to: str, base: Any, edits: Any, raw: Any) -> Any:
    values = drawn_values(base, source)
    unchanged = sha256(msgpack(values)).hex()
    data = msgpack(edited(values, edits, {}))
    for change in raw:
        data = changed_bytes(data, change)
    found = {"receiver": to, "base_sha256": unchanged, "bytes": shown(data)}
    try:
        message = decoded(data, {"server": TO_SERVER, "party": TO_PARTY}[to])
    except Malformed:
        return found | {"expect": "decode_error"}
    return found | {"expect": "success", "encoded": shown(encoded(message))}


def do_frames(source: Source, sizes: Any, limit: int, piece: int, raw: Any) -> Any:
    stream = b""
    for size in sizes:
        payload = source.draw(size)
        if not 1 <= size <= 4 * 2**20:
            raise Unfit("no frame is empty")
        stream += size.to_bytes(4, "big") + payload
    for change in raw:
        stream = changed_bytes(stream, change)
    if not 1 <= piece <= 2**20:
        raise Unfit("a piece has a byte")
    pieces = [stream[at : at + piece] for at in range(0, len(stream), piece)]
    found = {
        "stream": shown(stream),
        "pieces": list(map(len, pieces)),
        "room_in_the_last": piece * len(pieces) - len(stream),
        "spare": limit - max(sizes),
    }
    read: list[str] = []
    while stream:
        length = int.from_bytes(stream[:4], "big")
        if len(stream) < 4 or not 1 <= length <= limit or len(stream) < 4 + length:
            return found | {"expect": "decode_error", "read": read}
        read.append(stream[4 : 4 + length].hex())
        stream = stream[4 + length :]
    return found | {"expect": "success", "read": read}


CONFIG = (
    "consortium",
    "version",
    "hospitals",
    "corrupt",
    "dropouts",
    "min_survivors",
    "vector",
    "noise",
    "model",
    "max_charged_attempts",
    "verification",
)


def policy_document(config: Any, keys: Any) -> dict[str, Any]:
    """The policy that a config and the keys of server and hospitals make."""
    if config.keys() != set(CONFIG):
        raise Unfit("a config has other fields")
    if config["vector"].keys() != VECTOR.keys() or config["noise"].keys() != NOISE.keys():
        raise Unfit("fields of vector or noise are missing")
    if config["model"] is not None:
        complete(config["model"], {"parameters", "contribution", "update"})
    if len(config["hospitals"]) > 64 or config["vector"]["dimension"] > 4096:
        raise Unfit("vectors are small")
    names, hexed = config["hospitals"], hexes(keys)
    document = {key: value for key, value in config.items() if key != "hospitals"}
    document |= {
        "schema": "secagg-policy/1",
        "suite": "secagg-suite-1",
        "graph": "complete",
        "features": None,
        "server_key": hexed[0],
        "roster": [{"name": x, "identity_key": key} for x, key in zip(names, hexed[1:])],
    }
    copied: dict[str, Any] = json.loads(json.dumps(document))
    return copied


def do_policy(source: Source, config: Any, changes: Any, replace: Any) -> Any:
    keys = [source.draw(32) for _ in range(len(config["hospitals"]) + 1)]
    document: Any = policy_document(config, keys)
    unchanged = digest("policy", canonical(document).encode()).hex()
    for way, *value in changes:
        before, inner = canonical(document), document
        for step in steps(way)[:-1]:
            inner = inner[step]
        if value:
            (inner[way[-1]],) = value
        else:
            del inner[way[-1]]
        if canonical(document) == before:
            raise Unfit("a change changes nothing")
    text = canonical(document)
    for old, new in replace:
        if text.count(old) != 1:
            raise Unfit("what is replaced stands there once")
        text = text.replace(old, new)
    found = {"unchanged_digest": unchanged, "text": text}
    try:
        policy = Policy(json.loads(text))
    except (Malformed, json.JSONDecodeError):
        return found | {"expect": "decode_error"}
    return found | {
        "expect": "success",
        "canonical": policy.text,
        "policy_digest": policy.digest.hex(),
        "threshold": policy.t,
        "bits": policy.bits,
        "tail": policy.tail,
    }


ARGUMENTS = {
    name.removeprefix("do_"): function.__code__.co_varnames[1 : function.__code__.co_argcount]
    for name, function in list(globals().items())
    if name.startswith("do_")
}


def asked(operation: Any, arguments: Any) -> dict[str, Any]:
    """The arguments of an operation; whatever else stands in it is an outcome."""
    found = {name: operation[name] for name in arguments}
    refuse_booleans(found)
    return found


def refuse_booleans(value: Any, name: str = "") -> None:
    """An argument is a number, a text or a list; only one of all is true or false."""
    if isinstance(value, bool) != (name == "scalar"):
        raise Unfit("true and false are no numbers")
    if isinstance(value, dict):
        for key, each in value.items():
            refuse_booleans(each, key)
    if isinstance(value, list):
        for each in value:
            refuse_booleans(each)


def primitives(config: Any, seed: bytes, operations: Any) -> dict[str, Any]:
    if config != {} or not operations:
        raise Unfit("primitives need operations, and no config")
    root, found = Source(seed), []
    for place, operation in enumerate(operations):
        name = operation["operation"]
        arguments = asked(operation, ARGUMENTS[name])
        outcome = globals()[f"do_{name}"](root.fork(u64(place)), **arguments)
        found.append({"operation": name, **arguments, **outcome})
    return {"checks": [], "config": {}, "inputs": {}, "operations": found, "result": {}}


# === edits ========================================================================================


def edited(message: Any, edits: Any, special: Any) -> Any:
    """The values of a message after each edit."""
    root = [message]
    for edit in edits:
        if edit.keys() != {"at", "do", "with"}:
            raise Unfit("an edit has a place, a name and an argument")
        do, argument = edit["do"], edit["with"]
        before = msgpack(root[0])
        parent, place = root, 0
        for step in steps(edit["at"]):
            parent, place = parent[place], step
            if not isinstance(parent, list):
                raise Unfit("a way leads into no array")
        if place == len(parent) and do not in ("drop", "flip", "swap", "repeat"):
            parent.append(None)
        if not 0 <= place < len(parent):
            raise Unfit("a way leads nowhere")
        if do == "put":
            parent[place] = value_of(argument)
        elif do == "insert":
            parent.insert(place, value_of(argument))
        elif do == "drop" and argument is None:
            del parent[place]
        elif do == "flip":
            parent[place] = flipped(parent[place], argument)
        elif do == "swap" and argument >= 0:
            parent[place], parent[argument] = parent[argument], parent[place]
        elif do == "repeat":
            if not 1 <= argument * len(parent[place]) <= 2**21:
                raise Unfit("repeated too often")
            parent[place] = parent[place] * argument
        elif do == "copy":
            found = root[0]
            for step in steps(argument):
                found = found[step]
            parent[place] = found
        elif do in special:
            parent[place] = special[do](root[0], edit["at"], argument)
        else:
            raise Unfit(f"no edit is called {do}")
        if msgpack(root[0]) == before:
            raise Unfit("an edit changes nothing")
    return root[0]


def steps(way: Any) -> Any:
    """Places are counted from the front only."""
    if any(isinstance(step, int) and step < 0 for step in way):
        raise Unfit(f"a way with places before the first: {way}")
    return way


def value_of(written: Any) -> Any:
    if isinstance(written, dict):
        if written.keys() != {"bytes"}:
            raise Unfit("not a value of a message")
        return bytes.fromhex(written["bytes"])
    if isinstance(written, list):
        return [value_of(each) for each in written]
    return written


# === section 3: context ===========================================================================


def session_of(policy: bytes, number: int, attempt: int, model: bytes, nonce: bytes) -> bytes:
    return digest("session", b"secagg-suite-1", policy, u64(number), u64(attempt), model, nonce)


def session_of_facts(f: Any) -> bytes:
    return session_of(f.policy_digest, f.round, f.attempt, f.base_model_hash, f.server_nonce)


def roster_digest(session: bytes, advertisements: Any) -> bytes:
    entries = (
        encode("advertisement", u64(a.u), a.channel_root, a.mask_key, a.signature)
        for a in advertisements
    )
    return digest("roster", session, *entries)


def u2_hash(roster: bytes, dealings: Any) -> bytes:
    entries = (encode("share keys", u64(x.u), x.root, x.seed_commitment) for x in dealings)
    return digest("U2", roster, *entries)


def share_commitment(
    roster: bytes, dealer: int, holder: int, kind: str, share: bytes, salt: bytes
) -> bytes:
    whose = u64(dealer), u64(holder), f"secagg/1/{kind}".encode()
    return digest("share commitment", roster, *whose, share, salt)


def share_leaf(
    roster: bytes, dealer: int, holder: int, ciphertext: bytes, *committed: bytes
) -> bytes:
    sealed = digest("shares", ciphertext)
    return encode("share leaf", roster, u64(dealer), u64(holder), sealed, *committed)


def opened_shares(answer: Any) -> bytes:
    kinds = (("self mask", answer.self_mask_shares), ("mask key", answer.mask_key_shares))
    parts = (encode(kind, u64(x.v), x.share, x.salt) for kind, xs in kinds for x in xs)
    return digest("opened shares", *parts)


def answer_statement(u2: bytes, u3: Any, u: int, answer: Any) -> bytes:
    return answer_of(u2, u3, u, opened_shares(answer), answer.surplus_seeds)


def answer_of(u2: bytes, u3: Any, u: int, shares_digest: bytes, seeds: Any) -> bytes:
    listed = (encode("noise", seed) for seed in seeds)
    return encode("answer", digest("U3", u2, ids(u3)), u64(u), shares_digest, *listed)


def facts_of(f: Any) -> tuple[bytes, ...]:
    return (
        f.policy_digest,
        u64(f.round),
        u64(f.attempt),
        f.base_model_hash,
        f.server_nonce,
        f.u2_hash,
        ids(f.u3),
        f.sum_digest,
    )


# === section 4: the client ========================================================================

Opened = namedtuple("Opened", ["self_mask", "mask_key"])
"""What one holder has of one dealer's two secrets: two OpenedShare."""


def ascending(listed: Any) -> bool:
    return all(x < y for x, y in pairwise(listed))


def vector_chunk(session: bytes, words: Any, bits: int) -> Any:
    """The one chunk of a small vector."""
    return make.VectorChunk(session, 0, pack(words, bits))


class Receiver:
    """A vector of d coordinates on its way in; so small that one chunk holds it."""

    def __init__(self, d: int, bits: int, label: str) -> None:
        self.d, self.bits, self.label, self.data = d, bits, label, b""
        self.words: list[int] = []

    def receive(self, chunk: Any, peer: str) -> None:
        require(not self.complete and chunk.start == len(self.words), "CHK-603", peer)
        try:
            self.words = unpack(chunk.data, self.bits, self.d)
        except Malformed:
            raise Refused("CHK-603", peer) from None
        self.data = chunk.data

    @property
    def complete(self) -> bool:
        return len(self.words) == self.d

    def digest(self) -> bytes:
        return digest(self.label, self.data)


class Client:
    """One hospital: what it holds for ever, and `state` with what it holds in this attempt."""

    def __init__(self, u: int, seed: bytes, source: Source, policy: Policy, base: bytes) -> None:
        self.u, self.seed, self.source, self.policy = u, seed, source, policy
        self.name = policy.name(u)
        self.journal_key = source.draw(32)
        self.base = base
        self.batch = 1
        self.entered, self.closed, self.charged = (0, 0), 0, 0
        self.answered: int | None = None
        self.signed_round: int | None = None
        self.abandoning: int | None = None
        self.kept: Any = None  # what the journal has of a signed U3
        self.vector: list[int] = []
        self.reset()

    def reset(self) -> None:
        """Out of any attempt."""
        self.state = ""
        self.sending: list[Any] = []
        self.sum: Any = None

    def sign(self, label: str, *parts: bytes) -> bytes:
        return sign(self.seed, encode(label, *parts))

    def enter(self, state: str, *sending: Any) -> None:
        self.state, self.sending = state, list(sending)

    def handle(self, m: Any, next_hash: Any) -> bool:
        """Take one message of the server; whether there is anything new to send."""
        name = name_of(m)
        special = {
            "Announcement": self.on_announcement,
            "SumAnnouncement": self.on_sum_announcement,
            "AbandonmentRequest": self.on_abandonment_request,
            "AbandonmentNotice": self.on_abandonment_notice,
        }
        if name == "VectorChunk":
            return self.on_sum_chunk(m, next_hash)
        if name == "CertificateNotice":
            self.on_certificate(m.certificate)
            return self.state == "RoundCertified"
        if name in special:
            special[name](m)
            return name == "Announcement"
        steps = {
            ("Advertised", "KeyRoster"): self.on_key_roster,
            ("Shared", "ShareDelivery"): self.on_share_delivery,
            ("Masked", "SurvivorSet"): self.on_survivor_set,
            ("Confirmed", "SurvivorSignatures"): self.on_survivor_signatures,
        }
        require((self.state, name) in steps, "CHK-601", "server")
        require(m.session == self.session, "CHK-602", "server")
        steps[self.state, name](m)
        return True

    # --- 0 AdvertiseKeys ---

    def on_announcement(self, m: Any) -> None:
        p = self.policy
        require(m.policy_digest == p.digest, "CHK-002", "server")
        require(m.base_model_hash == self.base, "CHK-003", "server")
        session = session_of_facts(m)
        signed = verifies(p.keys[0], m.signature, encode("announcement", session))
        require(signed, "CHK-001", "server")
        require(1 <= m.attempt <= 1000, "CHK-006", "server")
        require((m.round, m.attempt) > self.entered, "CHK-004", "server")
        nothing_released = self.answered is None and self.signed_round is None
        is_open = m.round > max(self.closed, self.abandoning or 0) and nothing_released
        require(is_open, "CHK-005", "server")
        require(self.batch <= m.round <= self.batch + 10_000, "CHK-007", "server")
        require(self.charged < p.document["max_charged_attempts"], "CHK-008", "server")
        self.reset()
        self.session, self.entered = session, (m.round, m.attempt)
        self.channel_seed, self.mask_private = self.source.draw(32), self.source.draw(32)
        self.mask_public = public_of(self.mask_private)
        channel_keys = [public_of(self.channel_private(v)) for v in p.members]
        root = merkle_root(channel_leaves(channel_keys))
        stated = session, u64(self.u), root, self.mask_public
        self.advertisement = make.Advertisement(
            self.u, root, self.mask_public, self.sign("advertisement", *stated)
        )
        self.enter(
            "Advertised", make.AdvertiseKeys(*m[:4], session, channel_keys, self.advertisement)
        )

    def channel_private(self, v: int) -> bytes:
        return derive(self.channel_seed, "channel key", u64(v))

    # --- 1 ShareKeys ---

    def on_key_roster(self, m: Any) -> None:
        p, listed = self.policy, [x.advertisement for x in m.advertised]
        u1 = [a.u for a in listed]
        require(ascending(u1) and set(u1) <= set(p.members), "CHK-101", "server")
        require(len(u1) >= p.floor, "CHK-102", "server")
        require(self.advertisement in listed, "CHK-104", "server")
        for a in listed:
            stated = encode("advertisement", self.session, u64(a.u), a.channel_root, a.mask_key)
            require(verifies(p.keys[a.u], a.signature, stated), "CHK-103", "server")
        for x in m.advertised:
            leaf = encode("channel key leaf", u64(self.u), x.channel_key)
            root = x.advertisement.channel_root
            holds = merkle_verifies(root, leaf, self.u - 1, p.n, x.path)
            require(holds, "CHK-108", "server")
        keys = [key for x in m.advertised for key in (x.channel_key, x.advertisement.mask_key)]
        require(all(map(is_canonical, keys)), "CHK-107", "server")
        require(not any(map(is_low_order, keys)), "CHK-106", "server")
        require(len(set(keys)) == len(keys), "CHK-105", "server")
        self.u1, self.keys = u1, {x.advertisement.u: x for x in m.advertised}
        self.roster = roster_digest(self.session, listed)
        self.share()

    def share(self) -> None:
        draw, u, roster = self.source.draw, self.u, self.roster
        self.b = draw(32)
        of_b = split(self.b, self.policy.t, self.u1, draw)
        of_s = split(self.mask_private, self.policy.t, self.u1, draw)
        self.held, self.dealt_keys, self.dealt, leaves = {}, {}, [], []
        for v in self.u1:
            held = Opened(
                make.OpenedShare(u, of_b[v], draw(32)), make.OpenedShare(u, of_s[v], draw(32))
            )
            committed = commitments(roster, v, held)
            ciphertext = b""
            if v == u:
                self.held[u], own = held, make.OwnShares(*committed)
            else:
                private = self.channel_private(v)
                key = channel_key(private, self.keys[v].channel_key, roster, u, v)
                text = held.self_mask.share + held.self_mask.salt
                text += held.mask_key.share + held.mask_key.salt
                ciphertext = seal(key, text, roster + u64(u) + u64(v))
                self.dealt_keys[v] = key
                self.dealt.append(make.EncryptedShares(v, ciphertext, *committed))
            leaves.append(share_leaf(roster, u, v, ciphertext, *committed))
        root = merkle_root(leaves)
        commitment = digest("self-mask commitment", roster, u64(u), self.b)
        signature = self.sign("share keys", roster, u64(u), root, commitment)
        self.dealing = make.Dealing(u, root, commitment, signature)
        self.enter("Shared", make.ShareKeys(self.session, own, self.dealt, commitment, signature))

    # --- 2 MaskedInputCollection ---

    def on_share_delivery(self, m: Any) -> None:
        p, roster = self.policy, self.roster
        u2 = [x.dealing.u for x in m.delivered]
        require(ascending(u2) and set(u2) <= set(self.u1), "CHK-201", "server")
        require(len(u2) >= p.floor, "CHK-202", "server")
        require(self.dealing in [x.dealing for x in m.delivered], "CHK-203", "server")
        for x in m.delivered:
            d, s = x.dealing, x.shares
            stated = encode("share keys", roster, u64(d.u), d.root, d.seed_commitment)
            require(verifies(p.keys[d.u], d.signature, stated), "CHK-204", "server")
            require((s is None) == (d.u == self.u), "CHK-205", "server")
            if s is not None:
                committed = s.self_mask_commitment, s.mask_key_commitment
                leaf = share_leaf(roster, d.u, self.u, s.ciphertext, *committed)
                place, size = self.u1.index(self.u), len(self.u1)
                holds = s.v == self.u and merkle_verifies(d.root, leaf, place, size, x.path)
                require(holds, "CHK-205", "server")
        for x in m.delivered:
            v = x.dealing.u
            if v != self.u:
                private, public = self.channel_private(v), self.keys[v].channel_key
                found = opened(x.shares, private, public, roster, v)
                if isinstance(found, str):
                    self.complain(v, found)
                    return
                self.held[v] = found
        self.u2, self.u2_hash = u2, u2_hash(roster, [x.dealing for x in m.delivered])
        self.mask()

    def complain(self, dealer: int, check: str) -> None:
        private = self.channel_private(dealer)
        signature = self.sign("complaint", self.roster, u64(self.u), u64(dealer), private)
        self.complaint = check, self.policy.name(dealer)
        self.enter("Withdrawn", make.Complaint(self.session, dealer, private, signature))

    def mask(self) -> None:
        p, u = self.policy, self.u
        masks = [(u, 1, derive(self.b, "self mask", self.u2_hash, u64(u)))]
        for v in self.u2:
            if v != u:
                secret = x25519(self.mask_private, self.keys[v].advertisement.mask_key)
                masks.append((v, 1 if v < u else -1, pairwise_seed(secret, self.u2_hash, u, v)))
        self.noise_seed = self.source.draw(32)
        self.variances = p.mechanism.components(len(self.u2))
        self.noise_seeds = p.mechanism.seeds(self.noise_seed, len(self.u2))
        self.noise = p.mechanism.drawn(self.noise_seeds, self.variances, p.d)
        total = summed([self.vector, self.noise], p.d)
        self.masks = {}
        for v, sign_of, seed in masks:
            words = prg(seed, p.bits, p.d)
            total = [x + sign_of * word for x, word in zip(total, words)]
            self.masks[v] = sign_of, seed, words
        chunk = vector_chunk(self.session, [x % 2**p.bits for x in total], p.bits)
        self.masked_digest = digest("masked input", chunk.data)
        signature = self.sign("masked input", self.u2_hash, u64(u), self.masked_digest)
        self.charged += 1
        signed = make.MaskedInputSignature(self.session, self.masked_digest, signature)
        self.enter("Masked", chunk, signed)

    # --- 3 ConsistencyCheck ---

    def on_survivor_set(self, m: Any) -> None:
        u3 = m.u3
        require(ascending(u3) and set(u3) <= set(self.u2), "CHK-301", "server")
        require(len(u3) >= self.policy.floor, "CHK-302", "server")
        require(self.u in u3, "CHK-303", "server")
        surplus = self.policy.mechanism.surplus(len(self.u2), len(u3))
        answer = make.UnmaskingAnswer(
            self.session,
            [self.held[v].self_mask for v in self.u2 if v in u3],
            [self.held[v].mask_key for v in self.u2 if v not in u3],
            [self.noise_seeds[j] for j in surplus],
            bytes(64),
        )
        statement = answer_statement(self.u2_hash, u3, self.u, answer)
        answer = answer._replace(signature=sign(self.seed, statement))
        nonce = self.source.draw(24)
        key = derive(self.journal_key, "journal key", self.u2_hash)
        sealed = nonce + seal(key, encoded(answer), self.u2_hash, nonce)
        stated = self.session, self.u2_hash, u64(self.u), ids(u3)
        signature = self.sign("survivor", *stated)
        self.kept = self.session, self.u2_hash, u3, sealed, signature
        self.restore()

    def restore(self) -> None:
        self.session, self.u2_hash, self.u3, self.sealed, signature = self.kept
        self.enter("Confirmed", make.SurvivorSignature(self.session, signature))

    def unsealed(self, journal_key: bytes) -> Any:
        key = derive(journal_key, "journal key", self.u2_hash)
        data = unseal(key, self.sealed[24:], self.u2_hash, self.sealed[:24])
        return decoded(data, {"UnmaskingAnswer"})

    # --- 4 Unmasking ---

    def on_survivor_signatures(self, m: Any) -> None:
        check_survivors(self.policy, self.session, self.u2_hash, self.u3, m.signatures)
        self.answered = self.entered[0]
        self.enter("Answered", self.unsealed(self.journal_key))

    # --- Certification ---

    def on_sum_announcement(self, m: Any) -> None:
        self.sum = m, Receiver(self.policy.d, self.policy.bits, "sum")

    def on_sum_chunk(self, m: Any, next_hash: Any) -> bool:
        require(self.sum is not None, "CHK-601", "server")
        p, (announcement, receiver) = self.policy, self.sum
        receiver.receive(m, "server")
        f = announcement.published
        require(announcement.session == session_of_facts(f), "CHK-602", "server")
        check_published(p, f)
        current = f.policy_digest == p.digest and f.base_model_hash == self.base
        later = f.round > max(self.closed, self.abandoning or 0)
        require(current and later, "CHK-506", "server")
        require(self.signed_round is None, "CHK-507", "server")
        require(receiver.digest() == f.sum_digest, "CHK-502", "server")
        total = [centred(word, p.bits) for word in receiver.words]
        require(within_bound(p, len(f.u3), total), "CHK-505", "server")
        self.published, self.model_hash = f, next_hash(total)
        self.sum_session = announcement.session
        self.signed_round = f.round
        signature = self.sign("certificate", *facts_of(f), self.model_hash)
        self.enter(
            "SumSigned", make.CertificateShare(announcement.session, self.model_hash, signature)
        )
        return True

    def on_certificate(self, certificate: Any) -> None:
        check_certificate(self.policy, certificate)
        if self.state == "SumSigned":
            ours = self.published.round, self.model_hash
            theirs = certificate.round, certificate.model_hash
            require(ours == theirs, "CHK-509", "server")
            self.enter("RoundCertified")
        if certificate.round > self.closed:
            self.charged = 0
        self.close(certificate.round)

    def on_abandonment_request(self, m: Any) -> None:
        p = self.policy
        noise = p.document["noise"]["mode"] != "none"
        covered = self.answered is None or (self.answered == m.round and noise)
        allowed = (
            self.closed < m.round <= max(self.batch, self.entered[0])
            and self.signed_round is None
            and m.base_model_hash == self.base
            and covered
        )
        require(allowed, "CHK-510", "server")
        self.abandoning = max(m.round, self.abandoning or 0)
        signature = self.sign("abandonment", p.digest, u64(m.round), self.base)
        self.abandonment_share = make.AbandonmentShare(m.round, signature)

    def on_abandonment_notice(self, m: Any) -> None:
        p, a = self.policy, m.abandonment
        signers = [s.u for s in a.signatures]
        stated = encode("abandonment", p.digest, u64(a.round), a.base_model_hash)
        holds = (
            a.policy_digest == p.digest
            and ascending(signers)
            and set(signers) <= set(p.members)
            and len(signers) >= p.t
            and all(verifies(p.keys[s.u], s.signature, stated) for s in a.signatures)
        )
        require(holds, "CHK-511", "server")
        self.close(a.round)

    def close(self, number: int) -> None:
        """A round is certified or abandoned, and with it every earlier one."""
        self.closed = max(self.closed, number)

        def still(other: "int | None") -> "int | None":
            return other if other is not None and other > self.closed else None

        self.answered, self.signed_round = still(self.answered), still(self.signed_round)
        self.abandoning = still(self.abandoning)


def channel_leaves(keys: Any) -> list[bytes]:
    return [encode("channel key leaf", u64(v), key) for v, key in enumerate(keys, 1)]


def channel_key(private: bytes, public: bytes, roster: bytes, dealer: int, holder: int) -> bytes:
    return derive(x25519(private, public), "channel", roster, u64(dealer), u64(holder))


def pairwise_seed(secret: bytes, u2: bytes, u: int, v: int) -> bytes:
    return derive(secret, "pairwise seed", u2, u64(min(u, v)), u64(max(u, v)))


def commitments(roster: bytes, holder: int, held: Any) -> tuple[bytes, bytes]:
    b, s = held
    return (
        share_commitment(roster, b.v, holder, "self mask", b.share, b.salt),
        share_commitment(roster, s.v, holder, "mask key", s.share, s.salt),
    )


def opened(shares: Any, private: bytes, public: bytes, roster: bytes, dealer: int) -> Any:
    """What `dealer` dealt to `shares.v`, or the check that it breaks."""
    key = channel_key(private, public, roster, dealer, shares.v)
    try:
        text = unseal(key, shares.ciphertext, roster + u64(dealer) + u64(shares.v))
    except Unauthentic:
        return "CHK-206"
    b = make.OpenedShare(dealer, text[:33], text[33:65])
    s = make.OpenedShare(dealer, text[65:98], text[98:])
    held, committed = Opened(b, s), (shares.self_mask_commitment, shares.mask_key_commitment)
    canonical_shares = max(b.share, s.share) < Q.to_bytes(33, "big")
    return (
        held if canonical_shares and commitments(roster, shares.v, held) == committed else "CHK-207"
    )


def check_survivors(p: Policy, session: bytes, u2: bytes, u3: Any, signatures: Any) -> None:
    signers = [s.u for s in signatures]
    require(ascending(signers) and set(signers) <= set(u3), "CHK-401", "server")
    for s in signatures:
        stated = encode("survivor", session, u2, u64(s.u), ids(u3))
        require(verifies(p.keys[s.u], s.signature, stated), "CHK-402", "server")
    require(len(signers) >= p.t, "CHK-403", "server")


def check_published(p: Policy, f: Any) -> None:
    stated = encode("sum", *facts_of(f))
    require(verifies(p.keys[0], f.server_signature, stated), "CHK-501", "server")
    cohort = ascending(f.u3) and set(f.u3) <= set(p.members) and len(f.u3) >= p.floor
    require(cohort, "CHK-503", "server")
    try:
        check_survivors(p, session_of_facts(f), f.u2_hash, f.u3, f.survivor_signatures)
    except Refused:
        raise Refused("CHK-504", "server") from None


def check_certificate(p: Policy, certificate: Any) -> None:
    signers = [s.u for s in certificate.signatures]
    stated = encode("certificate", *facts_of(certificate), certificate.model_hash)
    holds = (
        certificate.policy_digest == p.digest
        and ascending(signers)
        and set(signers) <= set(p.members)
        and len(signers) >= p.t
        and all(verifies(p.keys[s.u], s.signature, stated) for s in certificate.signatures)
    )
    require(holds, "CHK-508", "server")


def within_bound(p: Policy, survivors: int, total: Any) -> bool:
    bound = survivors * (p.max_value + p.tail)
    return all(-bound <= x <= bound for x in total)


# === section 4: the server ========================================================================

ORDERED = (
    "Advertising",
    "Sharing",
    "Masking",
    "Checking",
    "Unmasking",
    "Unmasked",
    "Certifying",
    "Concluded",
    "Aborted",
)
EXPECTED = {
    "AdvertiseKeys": "Advertising",
    "ShareKeys": "Sharing",
    "MaskedInputSignature": "Masking",
    "Complaint": "Masking",
    "SurvivorSignature": "Checking",
    "UnmaskingAnswer": "Unmasking",
    "CertificateShare": "Certifying",
}


class Server:
    """The coordinator in one attempt. Every mapping is by client, ascending once it is a set."""

    def __init__(self, policy: Policy, seed: bytes, announcement: Any) -> None:
        self.policy, self.seed, self.announcement = policy, seed, announcement
        self.session = session_of_facts(announcement)
        self.state = "Advertising"
        self.advertised: dict[int, Any] = {}
        self.dealt: dict[int, Any] = {}
        self.masked: dict[int, Any] = {}
        self.signatures: dict[int, bytes] = {}
        self.answers: dict[int, Any] = {}
        self.shares: dict[int, Any] = {}
        self.receivers: dict[int, Receiver] = {}
        self.spool: dict[int, list[int]] = {}
        self.omitted: list[int] = []
        self.broken: tuple[str, str] | None = None
        self.overflow = False
        self.unmasked: Any = None
        self.total: Any = None
        self.published: Any = None
        self.certificate: Any = None
        self.remember()

    def sign(self, label: str, *parts: bytes) -> bytes:
        return sign(self.seed, encode(label, *parts))

    def remember(self) -> None:
        """What a transcript of an attempt without a sum is made of."""
        if self.state != "Aborted":
            listed = self.advertised, self.dealt, self.masked, self.signatures, self.answers
            self.last = self.state, *(dict(sorted(each.items())) for each in listed)

    # --- what it sends, and to whom ---

    def awaited(self) -> set[int]:
        return {
            "Advertising": set(self.policy.members) - self.advertised.keys(),
            "Sharing": self.advertised.keys() - self.dealt.keys(),
            "Masking": self.dealt.keys() - self.masked.keys(),
            "Checking": self.masked.keys() - self.signatures.keys(),
            "Unmasking": self.signatures.keys() - self.answers.keys(),
            "Certifying": set(self.policy.members) - self.shares.keys(),
        }.get(self.state, set())

    def pending(self, u: int) -> list[Any]:
        if self.state == "Concluded":
            return [make.CertificateNotice(self.certificate)]
        if u not in self.awaited():
            return []
        session = self.session
        if self.state == "Advertising":
            return [self.announcement]
        if self.state == "Sharing":
            listed = []
            for x in self.advertised.values():
                path = merkle_path(channel_leaves(x.channel_keys), u - 1)
                key = x.channel_keys[u - 1]
                listed.append(make.DeliveredKeys(x.advertisement, key, path))
            return [make.KeyRoster(session, listed)]
        if self.state == "Masking":
            listed = []
            for dealer, (dealing, leaves, _, shares) in self.dealt.items():
                mine, path = None, []
                if dealer != u:
                    mine = shares[u]
                    path = merkle_path(leaves, list(self.advertised).index(u))
                listed.append(make.DeliveredShares(dealing, mine, path))
            return [make.ShareDelivery(session, listed)]
        if self.state == "Checking":
            return [make.SurvivorSet(session, list(self.masked))]
        if self.state == "Unmasking":
            return [make.SurvivorSignatures(session, signed(self.signatures))]
        words = [x % 2**self.policy.bits for x in self.total]
        announced = make.SumAnnouncement(session, self.published)
        return [announced, vector_chunk(session, words, self.policy.bits)]

    # --- what it receives ---

    def handle(self, u: int, m: Any) -> None:
        self.remember()
        name, peer = name_of(m), self.policy.name(u)
        if name == "VectorChunk":
            if u not in self.receivers:
                self.receivers[u] = Receiver(self.policy.d, self.policy.bits, "masked input")
                self.spool[u] = []
            self.receivers[u].receive(m, peer)
            self.spool[u] = self.receivers[u].words
            return
        if name == "MaskedInputSignature":
            whole = u in self.receivers and self.receivers[u].complete
            require(whole, "CHK-603", peer)
        require(getattr(m, "session", self.session) == self.session, "CHK-602", peer)
        now = ORDERED.index(self.state)
        if name == "Complaint" and self.state == "Masking":
            self.judge(u, m, peer)
            return
        if name in EXPECTED and ORDERED.index(EXPECTED[name]) < now:
            return
        require(EXPECTED.get(name) == self.state, "CHK-601", peer)
        collect = {
            "Advertising": self.on_advertise_keys,
            "Sharing": self.on_share_keys,
            "Masking": self.on_masked_input,
            "Checking": self.on_survivor_signature,
            "Unmasking": self.on_answer,
            "Certifying": self.on_certificate_share,
        }
        collect[self.state](u, m, peer)
        if self.state == "Unmasking" and self.policy.mechanism.mode != "exact":
            complete = len(self.answers) >= self.policy.t
        else:
            complete = not self.awaited()
        if complete:
            self.close()

    def on_advertise_keys(self, u: int, m: Any, peer: str) -> None:
        p, a = self.policy, m.advertisement
        require(m[:4] == self.announcement[:4], "CHK-050", peer)
        root = merkle_root(channel_leaves(m.channel_keys))
        stated = encode("advertisement", self.session, u64(u), root, a.mask_key)
        holds = (
            a.u == u
            and len(m.channel_keys) == p.n
            and a.channel_root == root
            and verifies(p.keys[u], a.signature, stated)
        )
        require(holds, "CHK-051", peer)
        keys = [*m.channel_keys, a.mask_key]
        require(all(map(is_canonical, keys)), "CHK-107", peer)
        require(not any(map(is_low_order, keys)), "CHK-106", peer)
        others = [x.advertisement.mask_key for v, x in self.advertised.items() if v != u]
        distinct = len(set(keys)) == len(keys) and a.mask_key not in others
        require(distinct, "CHK-105", peer)
        self.advertised.setdefault(u, m)

    def on_share_keys(self, u: int, m: Any, peer: str) -> None:
        require(u in self.advertised, "CHK-601", peer)
        neighbours = [v for v in self.advertised if v != u]
        require([s.v for s in m.shares] == neighbours, "CHK-150", peer)
        leaves = dealt_leaves(self.roster, u, m)
        root = merkle_root(leaves)
        stated = encode("share keys", self.roster, u64(u), root, m.seed_commitment)
        require(verifies(self.policy.keys[u], m.signature, stated), "CHK-151", peer)
        dealing = make.Dealing(u, root, m.seed_commitment, m.signature)
        self.dealt.setdefault(u, (dealing, leaves, m.own, {s.v: s for s in m.shares}))

    def on_masked_input(self, u: int, m: Any, peer: str) -> None:
        require(u in self.dealt, "CHK-601", peer)
        stated = encode("masked input", self.u2_hash, u64(u), m.masked_digest)
        received = m.masked_digest == self.receivers[u].digest()
        holds = received and verifies(self.policy.keys[u], m.signature, stated)
        require(holds, "CHK-250", peer)
        first = self.masked.setdefault(u, m)
        require(first.masked_digest == m.masked_digest, "CHK-251", peer)

    def judge(self, u: int, m: Any, peer: str) -> None:
        p, dealer = self.policy, m.dealer
        possible = u in self.awaited() and dealer in self.dealt and u in self.dealt[dealer][3]
        require(possible, "CHK-601", peer)
        private = m.channel_private_key
        stated = encode("complaint", self.roster, u64(u), u64(dealer), private)
        public = self.advertised[dealer].channel_keys[u - 1]
        found = opened(self.dealt[dealer][3][u], private, public, self.roster, dealer)
        proven = (
            verifies(p.keys[u], m.signature, stated)
            and public_of(private) == self.advertised[u].channel_keys[dealer - 1]
            and isinstance(found, str)
        )
        require(proven, "CHK-252", peer)
        self.state, self.omitted = "Aborted", [dealer]

    def on_survivor_signature(self, u: int, m: Any, peer: str) -> None:
        stated = encode("survivor", self.session, self.u2_hash, u64(u), ids(self.masked))
        holds = u in self.masked and verifies(self.policy.keys[u], m.signature, stated)
        require(holds, "CHK-350", peer)
        self.signatures[u] = m.signature

    def on_answer(self, u: int, m: Any, peer: str) -> None:
        require(u in self.signatures, "CHK-601", peer)
        statement = answer_statement(self.u2_hash, list(self.masked), u, m)
        require(verifies(self.policy.keys[u], m.signature, statement), "CHK-450", peer)
        surplus = self.policy.mechanism.surplus(len(self.dealt), len(self.masked))
        exactly = (
            [s.v for s in m.self_mask_shares] == list(self.masked)
            and [s.v for s in m.mask_key_shares] == self.dropped()
            and len(m.surplus_seeds) == len(surplus)
        )
        require(exactly, "CHK-451", peer)
        kinds = (("self mask", m.self_mask_shares), ("mask key", m.mask_key_shares))
        for place, (kind, listed) in enumerate(kinds):
            for s in listed:
                committed = share_commitment(self.roster, s.v, u, kind, s.share, s.salt)
                _, _, own, shares = self.dealt[s.v]
                stated = tuple(own) if s.v == u else tuple(shares[u])[2:]
                is_share = s.share < Q.to_bytes(33, "big")
                require(is_share and committed == stated[place], "CHK-452", peer)
        require(self.answers.setdefault(u, m) == m, "CHK-454", peer)

    def on_certificate_share(self, u: int, m: Any, peer: str) -> None:
        stated = encode("certificate", *facts_of(self.published), m.model_hash)
        require(verifies(self.policy.keys[u], m.signature, stated), "CHK-550", peer)
        self.shares[u] = m

    def dropped(self) -> list[int]:
        return [v for v in self.dealt if v not in self.masked]

    # --- how its stages end ---

    def close(self) -> None:
        p = self.policy
        if self.state == "Advertising":
            self.advertised = dict(sorted(self.advertised.items()))
            if self.go_on(len(self.advertised), p.floor, "Sharing"):
                listed = [x.advertisement for x in self.advertised.values()]
                self.roster = roster_digest(self.session, listed)
        elif self.state == "Sharing":
            self.dealt = dict(sorted(self.dealt.items()))
            if self.go_on(len(self.dealt), p.floor, "Masking"):
                self.u2_hash = u2_hash(self.roster, [x[0] for x in self.dealt.values()])
        elif self.state == "Masking":
            self.masked = dict(sorted(self.masked.items()))
            self.go_on(len(self.masked), p.floor, "Checking")
        elif self.state == "Checking":
            self.go_on(len(self.signatures), p.t, "Unmasking")
        elif self.state == "Unmasking" and len(self.answers) >= p.t:
            self.reconstruct()
        elif self.state == "Certifying":
            self.conclude()

    def go_on(self, count: int, floor: int, following: str) -> bool:
        self.state = following if count >= floor else "Aborted"
        return count >= floor

    def reconstruct(self) -> None:
        p, answers = self.policy, sorted(self.answers.items())
        seeds: dict[int, bytes] = {}
        keys: dict[int, bytes] = {}
        for kind, owners, found in (
            (1, list(self.masked), seeds),
            (2, self.dropped(), keys),
        ):
            for place, v in enumerate(owners):
                shares = {u: answer[kind][place].share for u, answer in answers[: p.t]}
                try:
                    found[v] = combine(shares)
                except Malformed:
                    self.cheated(v)
                    return
        for v, seed in seeds.items():
            commitment = digest("self-mask commitment", self.roster, u64(v), seed)
            if commitment != self.dealt[v][0].seed_commitment:
                self.cheated(v)
                return
        for v, private in keys.items():
            if public_of(private) != self.advertised[v].advertisement.mask_key:
                self.cheated(v)
                return
        mask_keys = {u: x.advertisement.mask_key for u, x in self.advertised.items()}
        disclosed = [answer.surplus_seeds for _, answer in answers]
        self.surplus_noise = removed_noise(p, disclosed, len(self.dealt), len(self.masked))
        self.unmasked = seeds, keys
        inputs = [self.spool[u] for u in self.masked]
        total = unmask(p, inputs, seeds, keys, mask_keys, self.u2_hash, self.surplus_noise)
        self.publish(total)

    def cheated(self, dealer: int) -> None:
        self.state, self.omitted = "Aborted", [dealer]
        self.broken = "CHK-453", self.policy.name(dealer)

    def publish(self, total: list[int]) -> None:
        if not within_bound(self.policy, len(self.masked), total):
            self.state, self.overflow = "Aborted", True
            return
        bits = self.policy.bits
        sum_digest = digest("sum", pack([x % 2**bits for x in total], bits))
        published = make.PublishedSum(
            *self.announcement[:5],
            self.u2_hash,
            list(self.masked),
            sum_digest,
            signed(self.signatures),
            b"",
        )
        signature = self.sign("sum", *facts_of(published))
        self.published = published._replace(server_signature=signature)
        self.total, self.state = total, "Certifying"

    def conclude(self) -> None:
        by_hash: dict[bytes, dict[int, bytes]] = {}
        for u, share in self.shares.items():
            by_hash.setdefault(share.model_hash, {})[u] = share.signature
        for model_hash, signatures in by_hash.items():
            if len(signatures) >= self.policy.t:
                facts = tuple(self.published)[:8]
                self.certificate = make.Certificate(*facts, model_hash, signed(signatures))
                self.state = "Concluded"
                return

    # --- its transcript ---

    def transcript(self, ended: str) -> Any:
        last: Any = self.last
        state, advertised, dealt, masked, signatures, answers = last
        if self.total is not None:
            state, ended = "Unmasked", ""
            advertised, dealt, masked = self.advertised, self.dealt, self.masked
            signatures, answers = self.signatures, self.answers
        elif self.state not in ("Unmasking", "Aborted"):
            raise Unfit("this attempt has not ended")
        reached = ORDERED.index(state)
        seeds, keys = self.unmasked if state == "Unmasked" else ({}, {})
        total = b""
        if self.total is not None:
            total = pack([x % 2**self.policy.bits for x in self.total], self.policy.bits)
        return make.Transcript(
            "secagg-transcript/1",
            self.announcement,
            [x.advertisement for x in advertised.values()],
            [x[0] for x in dealt.values()] if reached >= 1 else [],
            [
                make.MaskedInputRecord(u, m.masked_digest, m.signature)
                for u, m in (masked.items() if reached >= 2 else ())
            ],
            signed(signatures) if reached >= 3 else [],
            [
                make.AnswerRecord(u, opened_shares(m), m.surplus_seeds, m.signature)
                for u, m in (sorted(answers.items()) if reached >= 4 else ())
            ],
            [make.OpenedSecret(u, seed) for u, seed in seeds.items()],
            [make.OpenedSecret(u, key) for u, key in keys.items()],
            self.published,
            total,
            self.certificate,
            ended,
        )


def signed(signatures: Any) -> list[Any]:
    return [make.Signed(u, signature) for u, signature in sorted(signatures.items())]


def dealt_leaves(roster: bytes, dealer: int, m: Any) -> list[bytes]:
    """The leaves of a dealing, ascending by holder."""
    leaves = {dealer: share_leaf(roster, dealer, dealer, b"", *m.own)}
    for s in m.shares:
        committed = s.self_mask_commitment, s.mask_key_commitment
        leaves[s.v] = share_leaf(roster, dealer, s.v, s.ciphertext, *committed)
    return [leaves[v] for v in sorted(leaves)]


def removed_noise(p: Policy, disclosed: Any, k2: int, k3: int) -> list[int]:
    variances = p.mechanism.components(k2)
    left = [variances[j] for j in p.mechanism.surplus(k2, k3)]
    return summed([p.mechanism.drawn(seeds, left, p.d) for seeds in disclosed], p.d)


def unmask(
    p: Policy, inputs: Any, seeds: Any, keys: Any, mask_keys: Any, u2: bytes, noise: Any
) -> list[int]:
    """The sum of U3, out of its masked inputs."""
    total = summed(inputs, p.d)
    for u, seed in seeds.items():
        words = prg(derive(seed, "self mask", u2, u64(u)), p.bits, p.d)
        total = [x - word for x, word in zip(total, words)]
    for v, private in keys.items():
        for u in seeds:
            seed = pairwise_seed(x25519(private, mask_keys[u]), u2, u, v)
            added = 1 if v < u else -1
            total = [x - added * word for x, word in zip(total, prg(seed, p.bits, p.d))]
    centred_total = [centred(x % 2**p.bits, p.bits) for x in total]
    return [x - y for x, y in zip(centred_total, noise)]


# === "Transcripts" ================================================================================


def verify_transcript(t: Any, p: Policy, masked_inputs: Any) -> str:
    """How far the attempt got. `masked_inputs`: packed, by client."""
    a, server = t.announcement, "server"
    require(a.policy_digest == p.digest, "CHK-002", server)
    session = session_of_facts(a)
    stated = encode("announcement", session)
    require(verifies(p.keys[0], a.signature, stated), "CHK-001", server)
    u1 = [x.u for x in t.advertisements]
    require(ascending(u1) and set(u1) <= set(p.members), "CHK-101", server)
    for x in t.advertisements:
        stated = encode("advertisement", session, u64(x.u), x.channel_root, x.mask_key)
        require(verifies(p.keys[x.u], x.signature, stated), "CHK-103", server)
    if t.dealings:
        keys = [x.mask_key for x in t.advertisements]
        require(len(u1) >= p.floor, "CHK-102", server)
        require(all(map(is_canonical, keys)), "CHK-107", server)
        require(not any(map(is_low_order, keys)), "CHK-106", server)
        require(len(set(keys)) == len(keys), "CHK-105", server)
    roster = roster_digest(session, t.advertisements)
    u2 = [x.u for x in t.dealings]
    require(ascending(u2) and set(u2) <= set(u1), "CHK-201", server)
    for x in t.dealings:
        stated = encode("share keys", roster, u64(x.u), x.root, x.seed_commitment)
        require(verifies(p.keys[x.u], x.signature, stated), "CHK-204", server)
    require(not t.masked_inputs or len(u2) >= p.floor, "CHK-202", server)
    u2_digest, u3 = u2_hash(roster, t.dealings), [x.u for x in t.masked_inputs]
    require(ascending(u3) and set(u3) <= set(u2), "CHK-301", server)
    for x in t.masked_inputs:
        stated = encode("masked input", u2_digest, u64(x.u), x.masked_digest)
        require(verifies(p.keys[x.u], x.signature, stated), "CHK-250", p.name(x.u))
    require(not t.survivor_signatures or len(u3) >= p.floor, "CHK-302", server)
    if t.answers or t.published is not None:
        check_survivors(p, session, u2_digest, u3, t.survivor_signatures)
    u4 = [x.u for x in t.survivor_signatures]
    require(ascending(u4) and set(u4) <= set(u3), "CHK-401", server)
    for x in t.survivor_signatures:
        stated = encode("survivor", session, u2_digest, u64(x.u), ids(u3))
        require(verifies(p.keys[x.u], x.signature, stated), "CHK-402", server)
    u5 = [x.u for x in t.answers]
    require(ascending(u5) and set(u5) <= set(u4), "CHK-513", server)
    for x in t.answers:
        statement = answer_of(u2_digest, u3, x.u, x.shares_digest, x.surplus_seeds)
        require(verifies(p.keys[x.u], x.signature, statement), "CHK-450", p.name(x.u))
        due = len(p.mechanism.surplus(len(u2), len(u3)))
        require(len(x.surplus_seeds) == due, "CHK-451", p.name(x.u))
    seeds = {x.u: x.secret for x in t.self_mask_seeds}
    opened_keys = {x.u: x.secret for x in t.mask_keys}
    if t.self_mask_seeds or t.mask_keys or t.published is not None:
        dropped = [v for v in u2 if v not in u3]
        owners = [x.u for x in t.self_mask_seeds], [x.u for x in t.mask_keys]
        require(owners == (u3, dropped), "CHK-513", server)
        committed = {x.u: x.seed_commitment for x in t.dealings}
        mask_keys = {x.u: x.mask_key for x in t.advertisements}
        for v, seed in seeds.items():
            held = digest("self-mask commitment", roster, u64(v), seed)
            require(held == committed[v], "CHK-453", server)
        for v, private in opened_keys.items():
            require(public_of(private) == mask_keys[v], "CHK-453", server)
    f = t.published
    if f is None:
        reason = t.certificate is None and not t.total and t.ended
        require(bool(reason), "CHK-513", server)
        return "aborted"
    require(not t.ended, "CHK-513", server)
    check_published(p, f)
    ours = session, u2_digest, u3
    require((session_of_facts(f), f.u2_hash, f.u3) == ours, "CHK-506", server)
    require(len(u5) >= p.t, "CHK-513", server)
    try:
        total = [centred(word, p.bits) for word in unpack(t.total, p.bits, p.d)]
    except Malformed:
        raise Refused("CHK-502", server) from None
    require(digest("sum", t.total) == f.sum_digest, "CHK-502", server)
    require(within_bound(p, len(u3), total), "CHK-505", server)
    if t.certificate is not None:
        c = t.certificate
        check_certificate(p, c)
        same_sum = (session_of_facts(c), c.u2_hash, c.u3) == ours and c.sum_digest == f.sum_digest
        require(same_sum, "CHK-508", server)
    inputs = []
    for x in t.masked_inputs:
        data = masked_inputs[x.u]
        require(digest("masked input", data) == x.masked_digest, "CHK-250", p.name(x.u))
        inputs.append(unpack(data, p.bits, p.d))
    noise = removed_noise(p, [x.surplus_seeds for x in t.answers], len(u2), len(u3))
    again = unmask(p, inputs, seeds, opened_keys, mask_keys, u2_digest, noise)
    packed = pack([x % 2**p.bits for x in again], p.bits)
    require(digest("sum", packed) == f.sum_digest, "CHK-512", server)
    return "published" if t.certificate is None else "certified"


# === test-vectors.md: the kind "session" ==========================================================


class Session:
    """Everybody in one vector, and what its operations do."""

    def __init__(self, config: Any, seed: bytes) -> None:
        self.root = Source(seed)
        everybody = range(len(config["hospitals"]) + 1)
        sources = [self.root.fork(u64(u)) for u in everybody]
        self.seeds = [source.draw(32) for source in sources]
        document = policy_document(config, [identity(each)[2] for each in self.seeds])
        self.policy = p = Policy(document)
        if p.document["verification"] != "published":
            raise Unfit("sessions are of policies that do not recompute")
        self.source = sources[0]
        self.model = None if p.model is None else first_model(p.model)
        self.base = digest("model") if self.model is None else self.hash_of(self.model)
        self.clients = {u: Client(u, self.seeds[u], sources[u], p, self.base) for u in p.members}
        self.attempts: list[Any] = []
        self.checks: set[str] = set()
        self.log: list[Any] = []
        self.certificate: Any = None
        self.abandonment: Any = None
        self.server: Any = None
        self.abandoners: dict[int, bytes] = {}
        self.pending_total: Any = None

    def hash_of(self, model: Any) -> bytes:
        return sha256(model_bytes(model, self.policy.model))

    def next_bytes(self, total: Any) -> Any:
        if self.model is None:
            return None
        return model_bytes(next_model(self.model, total, self.policy.model), self.policy.model)

    def next_hash(self, total: Any) -> bytes:
        data = self.next_bytes(total)
        if data is not None:
            return sha256(data)
        return digest("model", self.base, struct.pack(f"<{len(total)}q", *total))

    # --- operations ---

    def perform(self, name: str, arguments: Any) -> Any:
        if not self.attempts and name != "open":
            raise Unfit("a session begins with the operation open")
        self.log.append([])
        outcome = getattr(self, f"do_{name}")(*arguments)
        if self.log[-1]:
            outcome["messages"] = [
                {"from": x, "to": y, "bytes": data.hex()} for x, y, data in self.log[-1]
            ]
        self.observe()
        return outcome

    def do_open(self, round: int, attempt: int) -> Any:
        p = self.policy
        if self.certificate is not None:
            self.base = self.certificate.model_hash
            if self.model is not None and self.pending_total is not None:
                self.model = next_model(self.model, self.pending_total, p.model)
        self.pending_total = None
        nonce = self.source.draw(32)
        session = session_of(p.digest, round, attempt, self.base, nonce)
        signature = sign(self.seeds[0], encode("announcement", session))
        announcement = make.Announcement(p.digest, round, attempt, self.base, nonce, signature)
        self.server = Server(p, self.seeds[0], announcement)
        for client in self.clients.values():
            client.reset()
            client.base = self.base
            source = self.root.fork(b"vector", u64(client.u), u64(round))
            drawn = [int.from_bytes(source.draw(8), "big") for _ in range(p.d)]
            client.vector = [x % (2 * p.max_value + 1) - p.max_value for x in drawn]
        self.heard: set[tuple[int, str]] = set()
        self.attempts.append(
            {
                "round": round,
                "attempt": attempt,
                "context": {
                    "policy_digest": p.digest.hex(),
                    "base_model_hash": self.base.hex(),
                    "server_nonce": nonce.hex(),
                    "session_id": session.hex(),
                },
                "sets": {},
                "clients": {},
                "unmasked": None,
                "state": "",
            }
        )
        return {"expect": "success"}

    def do_exchange(self, absent: Any) -> Any:
        server, stage = self.server, self.server.state
        self.listed(absent)
        if not all(server.pending(u) for u in absent):
            raise Unfit("only who is waited for can be absent")
        answers = []
        for u, client in self.clients.items():
            if u not in absent:
                if (u, stage) not in self.heard:
                    self.deliver_pending(u)
                if u in server.awaited():
                    answers += [(u, answer) for answer in client.sending]
        for u, answer in answers:
            self.log[-1].append((u, 0, encoded(answer)))
            server.handle(u, answer)
        if server.state == stage:
            server.remember()
            server.close()
        return {"stage": stage} | self.ending(stage)

    def do_deliver(self, to: int) -> Any:
        self.client(to)
        self.deliver_pending(to)
        return {"expect": "success", "receiver": self.policy.name(to)}

    def do_message(self, sender: int, receiver: int, base: Any, edits: Any) -> Any:
        client = self.client(sender or receiver)
        if min(sender, receiver) != 0:
            raise Unfit("a message goes from a client to the server, or back")
        values = self.base_of(sender, receiver, base)
        data = msgpack(edited(values, edits, self.special(sender)))
        self.log[-1].append((sender, receiver, data))
        outcome = {"receiver": self.policy.name(receiver) if receiver else "server"}
        replies = []
        try:
            message = decoded(data, TO_PARTY if sender == 0 else TO_SERVER)
            if receiver:
                replies = self.hand(client.u, message)
                outcome["expect"] = "success"
            elif name_of(message) == "AbandonmentShare":
                self.on_abandonment_share(client.u, message)
                outcome |= self.ending("")
            else:
                self.server.handle(client.u, message)
                outcome |= self.ending("")
        except Malformed:
            outcome["expect"] = "decode_error"
        except Refused as refused:
            outcome |= self.violation(refused)
        self.log[-1] += [(client.u, 0, encoded(reply)) for reply in replies]
        if receiver and client.state == "Withdrawn":
            check, blamed = client.complaint
            outcome |= self.violation(Refused(check, blamed))
        return outcome

    def do_sum(self, to: int, edits: Any, chunk_edits: Any) -> Any:
        client = self.client(to)
        pending = self.server.pending(to)
        if len(pending) != 2:
            raise Unfit("the server has no sum to send")
        outcome = {"receiver": client.name, "expect": "success"}
        replies, heard = [], set(self.heard)
        try:
            for message, changes in zip(pending, (edits, chunk_edits)):
                data = msgpack(edited(plain(message), changes, self.special(0)))
                self.log[-1].append((0, to, data))
                replies = self.hand(to, decoded(data, TO_PARTY))
        except Refused as refused:
            self.heard = heard
            outcome |= self.violation(refused)
        self.log[-1] += [(to, 0, encoded(reply)) for reply in replies]
        return outcome

    def do_misdeal(self, client: int) -> Any:
        found = self.client(client)
        if found.state != "Advertised":
            raise Unfit("this client is not about to share keys")
        found.mask_private = found.source.draw(32)
        return {"expect": "success", "client_name": found.name}

    def do_restart(self, client: int) -> Any:
        found = self.client(client)
        found.reset()
        if found.kept is not None and found.kept[0] == self.server.session:
            found.restore()
        return {"expect": "success", "client_name": found.name, "state": found.state or None}

    def do_reconnect(self, client: int) -> Any:
        found = self.client(client)
        self.server.receivers.pop(client, None)
        return {"expect": "success", "client_name": found.name}

    def do_unseal(self, client: int, key_of: int) -> Any:
        found, other = self.client(client), self.client(key_of)
        if found.state != "Confirmed":
            raise Unfit("this client has no sealed answer")
        outcome = {"client_name": found.name, "key_of_name": other.name}
        try:
            answer = found.unsealed(other.journal_key)
        except Unauthentic:
            return outcome | {"expect": "auth_failure"}
        return outcome | {"expect": "success", "answer": encoded(answer).hex()}

    def do_abandon(self, round: int, absent: Any) -> Any:
        self.listed(absent)
        self.abandoners = {}
        request = make.AbandonmentRequest(round, self.base, "vector")
        refusals, present = {}, [u for u in self.clients if u not in absent]
        for u in present:
            self.log[-1].append((0, u, encoded(request)))
            try:
                self.clients[u].on_abandonment_request(request)
            except Refused as refused:
                refusals[str(u)] = self.violation(refused)["check"]
                continue
            share = self.clients[u].abandonment_share
            self.log[-1].append((u, 0, encoded(share)))
            self.on_abandonment_share(u, share)
        self.abandonment = None
        if len(self.abandoners) < self.policy.t:
            return {"refused": refusals, "expect": "below_threshold"}
        self.abandonment = make.Abandonment(
            self.policy.digest, round, self.base, signed(self.abandoners)
        )
        notice = make.AbandonmentNotice(self.abandonment)
        for u in present:
            self.log[-1].append((0, u, encoded(notice)))
            self.clients[u].on_abandonment_notice(notice)
        return {"refused": refusals, "expect": "success"}

    def do_transcript(self, edits: Any) -> Any:
        values = plain(self.server.transcript("vector"))
        data = msgpack(edited(values, edits, self.special(0)))
        outcome = {"bytes": data.hex(), "digest": digest("transcript", data).hex()}
        bits = self.policy.bits
        inputs = {u: pack(words, bits) for u, words in self.server.spool.items() if words}
        try:
            transcript = understood(unpacked(data), struct_of("Transcript"))
            if encoded(transcript) != data:
                raise Malformed("not the canonical bytes")
            found = verify_transcript(transcript, self.policy, inputs)
        except Malformed:
            return outcome | {"expect": "decode_error"}
        except Refused as refused:
            return outcome | self.violation(refused)
        return outcome | {"expect": "success", "outcome": found}

    # --- what they share ---

    def client(self, u: int) -> Client:
        if u not in self.clients:
            raise Unfit(f"there is no client {u}")
        return self.clients[u]

    def listed(self, clients: Any) -> None:
        if clients != sorted(set(clients)) or not set(clients) <= self.clients.keys():
            raise Unfit("clients are listed once, ascending")

    def violation(self, refused: Refused) -> dict[str, str]:
        self.checks.add(refused.check)
        return {"expect": "violation", "check": refused.check, "blames": refused.peer}

    def on_abandonment_share(self, u: int, m: Any) -> None:
        stated = encode("abandonment", self.policy.digest, u64(m.round), self.base)
        holds = verifies(self.policy.keys[u], m.signature, stated)
        require(holds, "CHK-551", self.policy.name(u))
        self.abandoners[u] = m.signature

    def deliver_pending(self, u: int) -> None:
        for message in self.server.pending(u):
            self.log[-1].append((0, u, encoded(message)))
            self.hand(u, message)

    def hand(self, u: int, message: Any) -> list[Any]:
        client = self.clients[u]
        news = client.handle(message, self.next_hash)
        self.heard.add((u, self.server.state))
        self.record(client)
        if name_of(message) == "AbandonmentRequest":
            return [client.abandonment_share]
        return client.sending if news else []

    def ending(self, stage: str) -> dict[str, Any]:
        server = self.server
        if server.state == "Concluded":
            self.certificate = server.certificate
        if server.total is not None:
            self.pending_total = server.total
        if server.state == stage and stage in ("Unmasking", "Certifying"):
            return {"expect": "below_threshold"}
        if server.state != "Aborted":
            return {"expect": "success"}
        if server.omitted:
            outcome = {"expect": "violation", "omitted": server.omitted}
            if server.broken is not None:
                outcome |= self.violation(Refused(*server.broken))
            return outcome
        return {"expect": "overflow" if server.overflow else "below_threshold"}

    def base_of(self, sender: int, receiver: int, base: Any) -> Any:
        if base is None:
            return []
        if len(base) == 1:
            waiting = self.clients[sender].sending if sender else self.server.pending(receiver)
            (place,) = base
            if not 0 <= place < len(waiting):
                raise Unfit("so many messages are not pending")
            return plain(waiting[place])
        number, place = base
        if not 0 <= number < len(self.log) - 1 or not 0 <= place < len(self.log[number]):
            raise Unfit("no such message was sent")
        x, y, data = self.log[number][place]
        if (x, y) != (sender, receiver):
            raise Unfit("an earlier message had another sender or receiver")
        return unpacked(data)

    # --- edits that need keys or context ---

    def special(self, sender: int) -> Any:
        p = self.policy

        def session(_: Any, __: Any, nothing: Any) -> Any:
            if nothing is not None:
                raise Unfit("no argument")
            return self.server.session

        def masked_digest(_: Any, __: Any, nothing: Any) -> Any:
            if nothing is not None or sender not in self.server.receivers:
                raise Unfit("no argument, and a masked input")
            return self.server.receivers[sender].digest()

        def packed(_: Any, __: Any, values: Any) -> bytes:
            if not all(-(2**p.bits) // 2 <= x < 2**p.bits // 2 for x in values):
                raise Unfit("outside the ring")
            return pack([x % 2**p.bits for x in values], p.bits)

        def sum_digest(_: Any, __: Any, values: Any) -> bytes:
            return digest("sum", packed(_, __, values))

        def channel_private_key(_: Any, __: Any, pair: Any) -> bytes:
            u, peer = pair
            return self.client(u).channel_private(peer)

        return {
            "session": session,
            "masked_digest": masked_digest,
            "packed": packed,
            "sum_digest": sum_digest,
            "channel_private_key": channel_private_key,
            "sign": self.forged_signature,
        }

    def forged_signature(self, whole: Any, at: Any, by: int) -> bytes:
        if not 0 <= by <= self.policy.n:
            raise Unfit(f"there is no client {by}")
        around = whole
        for step in at[:-1]:
            around = around[step]
        return sign(self.seeds[by], self.statement(whole, around, by))

    def statement(self, whole: Any, around: Any, by: int) -> bytes:
        """What is signed at this place of a message of this name."""
        server, name = self.server, whole[0]
        if name == "Announcement":
            return encode("announcement", session_of(*whole[1:6]))
        if name in ("AdvertiseKeys", "KeyRoster"):
            u, root, mask_key = around[:3]
            return encode("advertisement", server.session, u64(u), root, mask_key)
        if name == "ShareKeys":
            m = understood(whole, struct_of(name))
            root = merkle_root(dealt_leaves(server.roster, by, m))
            return encode("share keys", server.roster, u64(by), root, m.seed_commitment)
        if name == "Complaint":
            return encode("complaint", server.roster, u64(by), u64(whole[2]), whole[3])
        if name == "MaskedInputSignature":
            return encode("masked input", server.u2_hash, u64(by), whole[2])
        if name == "UnmaskingAnswer":
            m = understood(whole, struct_of(name))
            return answer_statement(server.u2_hash, list(server.masked), by, m)
        if name in ("SumAnnouncement", "secagg-transcript/1"):
            return encode("sum", *facts_of(understood(around, struct_of("PublishedSum"))))
        if name == "CertificateNotice":
            certificate = understood(whole[1], struct_of("Certificate"))
            return encode("certificate", *facts_of(certificate), certificate.model_hash)
        raise Unfit(f"no forger signs a {name}")

    # --- what is written down ---

    def record(self, client: Client) -> None:
        """What a client holds in the state that it has entered."""
        kept = self.attempts[-1]["clients"].setdefault(str(client.u), {})
        writers: dict[str, Any] = {
            "Advertised": self.advertised,
            "Shared": self.shared,
            "Masked": self.masked,
            "Confirmed": self.confirmed,
            "Answered": self.answered,
            "SumSigned": lambda c: {
                "model_hash": c.model_hash.hex(),
                "signature": c.sending[0].signature.hex(),
            },
            "RoundCertified": lambda c: {"model_hash": c.model_hash.hex()},
        }
        keys = {"SumSigned": "signed", "RoundCertified": "certified"}
        if client.state in writers:
            key = keys.get(client.state, client.state.lower())
            if kept.get("state") != client.state:
                kept[key] = writers[client.state](client)
            kept["state"] = client.state

    def advertised(self, c: Client) -> Any:
        privates = [c.channel_private(v) for v in self.policy.members]
        return {
            "vector": c.vector,
            "channel_seed": c.channel_seed.hex(),
            "channel_private_keys": hexes(privates),
            "channel_public_keys": hexes(map(public_of, privates)),
            "channel_root": c.advertisement.channel_root.hex(),
            "mask_private_key": c.mask_private.hex(),
            "mask_public_key": c.mask_public.hex(),
            "signature": c.advertisement.signature.hex(),
        }

    def shared(self, c: Client) -> Any:
        return {
            "self_mask_seed": c.b.hex(),
            "own": held_shares(c.held[c.u]),
            "dealt": {
                str(s.v): {
                    "key": c.dealt_keys[s.v].hex(),
                    "ciphertext": s.ciphertext.hex(),
                    "self_mask_commitment": s.self_mask_commitment.hex(),
                    "mask_key_commitment": s.mask_key_commitment.hex(),
                }
                for s in c.dealt
            },
            "root": c.dealing.root.hex(),
            "seed_commitment": c.dealing.seed_commitment.hex(),
            "signature": c.dealing.signature.hex(),
        }

    def masked(self, c: Client) -> Any:
        width, d = word_bytes(self.policy.bits), self.policy.d

        def mask(v: int) -> Any:
            sign_of, seed, words = c.masks[v]
            return {
                "sign": sign_of,
                "seed": seed.hex(),
                "first": words[0],
                "last": words[-1],
                "digest": sha256(b"".join(x.to_bytes(width, "little") for x in words)).hex(),
            }

        return {
            "held": {str(v): held_shares(c.held[v]) for v in c.u2},
            "noise_seed": c.noise_seed.hex(),
            "noise_components": [
                {"variance": str(v), "seed": seed.hex(), "samples": sample(seed, v, d)}
                for seed, v in zip(c.noise_seeds, c.variances)
            ],
            "noise": c.noise,
            "self_mask": mask(c.u),
            "pairwise_masks": {str(v): mask(v) for v in c.u2 if v != c.u},
            "masked_digest": c.masked_digest.hex(),
            "signature": c.sending[1].signature.hex(),
        }

    def confirmed(self, c: Client) -> Any:
        return {
            "u3": list(c.u3),
            "sealed_answer": c.sealed.hex(),
            "signature": c.sending[0].signature.hex(),
        }

    def answered(self, c: Client) -> Any:
        (answer,) = c.sending
        return {
            "self_mask_shares": [s.v for s in answer.self_mask_shares],
            "mask_key_shares": [s.v for s in answer.mask_key_shares],
            "surplus_seeds": hexes(answer.surplus_seeds),
            "signature": answer.signature.hex(),
        }

    def observe(self) -> None:
        """What the server knows after an operation."""
        server, found = self.server, self.attempts[-1]
        sets, context, state = found["sets"], found["context"], server.state
        found["state"] = state
        if state == "Sharing":
            sets["u1"] = list(server.advertised)
        if state in ("Sharing", "Masking", "Checking", "Unmasking"):
            context["roster_digest"] = server.roster.hex()
        if state == "Masking":
            sets["u2"] = list(server.dealt)
        if state in ("Masking", "Checking", "Unmasking"):
            context["u2_hash"] = server.u2_hash.hex()
        if state in ("Checking", "Unmasking") or server.unmasked is not None:
            sets["u3"] = list(server.masked)
            context["u3_hash"] = digest("U3", server.u2_hash, ids(server.masked)).hex()
        if state == "Unmasking" or server.unmasked is not None:
            sets["u4"] = sorted(server.signatures)
        if server.unmasked is not None and found["unmasked"] is None:
            seeds, keys = server.unmasked
            sets["u5"] = sorted(server.answers)
            found["unmasked"] = {
                "self_mask_seeds": {str(u): seed.hex() for u, seed in seeds.items()},
                "mask_keys": {str(u): key.hex() for u, key in keys.items()},
                "surplus_noise": server.surplus_noise,
            }
        if state == "Certifying":
            context["sum_digest"] = server.published.sum_digest.hex()


def held_shares(held: Any) -> Any:
    return {
        kind: {"share": opened_share.share.hex(), "salt": opened_share.salt.hex()}
        for kind, opened_share in zip(("self_mask", "mask_key"), held)
    }


OPERATIONS = {
    "open": ("round", "attempt"),
    "exchange": ("absent",),
    "deliver": ("to",),
    "message": ("from", "to", "base", "edits"),
    "sum": ("to", "edits", "chunk_edits"),
    "misdeal": ("client",),
    "restart": ("client",),
    "reconnect": ("client",),
    "unseal": ("client", "key_of"),
    "abandon": ("round", "absent"),
    "transcript": ("edits",),
}


def session(config: Any, seed: bytes, operations: Any) -> dict[str, Any]:
    refuse_booleans(config)
    run, found = Session(config, seed), []
    for operation in operations:
        name = operation["operation"]
        arguments = asked(operation, OPERATIONS[name])
        outcome = run.perform(name, list(arguments.values()))
        found.append({"operation": name, **arguments, **outcome})
    server, p = run.server, run.policy
    total = server.total
    model = None if total is None else run.next_bytes(total)
    certificate, abandonment = run.certificate, run.abandonment
    document = p.document
    return {
        "checks": sorted(run.checks),
        "config": {key: p.names if key == "hospitals" else document[key] for key in CONFIG},
        "inputs": {
            "policy": p.text,
            "threshold": p.t,
            "bits": p.bits,
            "tail": p.tail,
            "identity_seeds": hexes(run.seeds),
            "journal_keys": hexes(client.journal_key for client in run.clients.values()),
        },
        "operations": found,
        "attempts": run.attempts,
        "result": {
            "survivors": [] if total is None else list(server.masked),
            "sum": total,
            "model": None if model is None else model.hex(),
            "certificate": None if certificate is None else encoded(certificate).hex(),
            "model_hash": None if certificate is None else certificate.model_hash.hex(),
            "abandonment": None if abandonment is None else encoded(abandonment).hex(),
        },
    }


# === files ========================================================================================


def distinct(pairs: Any) -> Any:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unfit("an object has one key twice")
    return found


def no_float(text: str) -> Any:
    raise Unfit(f"vectors have no floats, but there is {text}")


def read(data: bytes) -> Any:
    return json.loads(
        data, object_pairs_hook=distinct, parse_float=no_float, parse_constant=no_float
    )


def differences(computed: Any, found: Any, where: str = "$") -> list[str]:
    if type(computed) is not type(found):
        return [f"{where}: {found!r:.80}, computed {computed!r:.80}"]
    if isinstance(computed, dict):
        listed = []
        for key in sorted(computed.keys() | found.keys()):
            if key not in computed or key not in found:
                listed.append(f"{where}.{key}: {'unknown' if key in found else 'missing'}")
            else:
                listed += differences(computed[key], found[key], f"{where}.{key}")
        return listed
    if isinstance(computed, list) and len(computed) == len(found):
        listed = []
        for place, (x, y) in enumerate(zip(computed, found)):
            listed += differences(x, y, f"{where}[{place}]")
        return listed
    return [] if computed == found else [f"{where}: {found!r:.80}, computed {computed!r:.80}"]


def computed(document: Any) -> Any:
    """The whole vector, from what determines it."""
    comment, seed, kind = document["comment"], bytes.fromhex(document["seed"]), document["kind"]
    if not isinstance(comment, str) or not comment or seed.hex() != document["seed"] or not seed:
        raise Unfit("a comment and a seed in lower-case hex")
    kinds = {"session": session, "primitives": primitives}
    if kind not in kinds:
        raise Unfit(f"no vector is of kind {kind}")
    return {
        "schema": "secagg-vector/1",
        "suite": "secagg-suite-1",
        "kind": kind,
        "comment": comment,
        "seed": document["seed"],
        **kinds[kind](document["config"], seed, document["operations"]),
    }


UNUSABLE = (
    Unfit,
    Malformed,
    Refused,
    Unauthentic,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    RecursionError,
    ZeroDivisionError,
)
"""What a document that says nothing sensible may lead to."""


def checked(document: Any) -> list[str]:
    """Where a vector says something else than what is computed from it."""
    try:
        return differences(json.loads(json.dumps(computed(document))), document)
    except UNUSABLE as error:
        return [f"{type(error).__name__}: {error}"]


def main(arguments: list[str]) -> int:
    files = [Path(each) for each in arguments] or sorted(Path(__file__).parent.glob("*.json"))
    failed = 0
    for file in files:
        try:
            found = checked(read(file.read_bytes()))
        except (Unfit, ValueError, OSError) as error:
            found = [str(error)]
        if found:
            failed += 1
            print(f"{file}: {len(found)} differences", *found[:5], sep="\n  ")
    print(f"{len(files) - failed} of {len(files)} vectors hold")
    return 1 if failed or not files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
