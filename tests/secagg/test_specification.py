"""docs/protocol.md is enough: the protocol written down a second time, by what that page says.

Nothing below but ``recorded`` uses the implementation. Every message that a client sends in a
whole seeded round, with one hospital lost and surplus noise disclosed, comes out the same to the
byte, and so do the sum and the values of the page's example.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from decimal import Context, Decimal
from fractions import Fraction
from functools import cache
from math import isqrt
from pathlib import Path
from typing import Any

import msgspec
import nacl.bindings
import nacl.signing
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from secagg.policy import Member, NoiseSpec, Policy, VectorSpec
from secagg.rounds.r5_certification import Certifying
from secagg.simulate import Cohort
from secagg.wire.codec import encode as wire_bytes
from tests.cohorts import assembled

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
SEED = b"example of docs/protocol.md"
N, C, D, T, FLOOR, DIMENSION, MAX_VALUE, SENSITIVITY = 6, 1, 2, 4, 4, 11, 10_000, 2_000
LOST = 6
STAGES = 5
VECTORS = {u: [(1 if i % 2 else -1) * (100 * u + i) for i in range(DIMENSION)] for u in range(1, 7)}


# --- sections 1 and 2 ----------------------------------------------------------------------------


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def encode(label: str, *parts: bytes) -> bytes:
    return b"".join(u64(len(p)) + p for p in (f"secagg/1/{label}".encode(), *parts))


def digest(label: str, *parts: bytes) -> bytes:
    return hashlib.sha256(encode(label, *parts)).digest()


def derive(secret: bytes, label: str, *parts: bytes) -> bytes:
    return HKDF(SHA256(), 32, None, encode(label, *parts)).derive(secret)


def agreed(private: bytes, public: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).exchange(
        X25519PublicKey.from_public_bytes(public)
    )


def public_of(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def sealed(key: bytes, plaintext: bytes, associated: bytes, nonce: bytes = bytes(24)) -> bytes:
    return nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
        plaintext, associated, nonce, key
    )


def keystream(seed: bytes, block: int, size: int) -> bytes:
    counter = (block % 2**128).to_bytes(16, "big")
    return Cipher(AES256(seed), CTR(counter)).encryptor().update(bytes(size))


def prg(seed: bytes, bits: int) -> list[int]:
    width = next(w for w in (2, 4, 8) if bits <= 8 * w)
    stream = keystream(seed, 0, width * DIMENSION)
    return [
        int.from_bytes(stream[i * width : (i + 1) * width], "little") % 2**bits
        for i in range(DIMENSION)
    ]


def packed(words: Sequence[int], bits: int) -> bytes:
    whole = sum(word << (i * bits) for i, word in enumerate(words))
    return whole.to_bytes(-(-len(words) * bits // 8), "little")


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    halves = merkle_root(leaves[:split]) + merkle_root(leaves[split:])
    return hashlib.sha256(b"\1" + halves).digest()


P = 2**256 + 297


def dealt(secret: bytes, xs: Sequence[int], draw: Callable[[int], bytes]) -> dict[int, bytes]:
    coefficients = [int.from_bytes(secret, "big")]
    while len(coefficients) < T:
        candidate = int.from_bytes(draw(33), "big")
        if candidate < 255 * P:
            coefficients.append(candidate % P)
    return {
        x: (sum(a * x**i for i, a in enumerate(coefficients)) % P).to_bytes(33, "big") for x in xs
    }


class Source:
    """Seeded randomness."""

    def __init__(self, seed: bytes) -> None:
        self.key, self.block, self.left = digest("seeded randomness", seed), 0, b""

    def draw(self, size: int) -> bytes:
        while len(self.left) < size:
            self.left += hmac.digest(self.key, u64(self.block), "sha256")
            self.block += 1
        drawn, self.left = self.left[:size], self.left[size:]
        return drawn

    def fork(self, *parts: bytes) -> Source:
        return Source(hmac.digest(self.key, encode("seeded randomness fork", *parts), "sha256"))


# --- section 5, noise ----------------------------------------------------------------------------

S = Fraction(SENSITIVITY**2, 2) * (1 + Fraction(1, 2**30))  # rho = 1


def components(k2: int) -> list[Fraction]:
    m = k2 - C
    return [S / m, *(S / ((m - j + 1) * (m - j)) for j in range(1, k2 - FLOOR + 1))]


def root4(v: Fraction) -> int:
    return isqrt(isqrt(int(v) // 4))


def bound(v: Fraction) -> int:
    if v <= 2**16:
        return isqrt(118 * v.numerator // v.denominator)
    k = root4(v)
    return bound(Fraction(4 * k * k)) + k * bound(v / k**2 - 4)


def tail() -> int:
    def g(m: int) -> Fraction:
        return S / (m * (m + 1))

    first = FLOOR - C
    return max(
        bound(S / m) + sum(bound(g(j)) for j in range(first, m)) for m in range(first, N - C + 1)
    )


@cache
def table(v: Fraction) -> tuple[int, list[int]]:
    context, size = Context(prec=110), bound(v)
    exponent = context.divide(Decimal(-v.denominator), Decimal(2 * v.numerator))
    ratio = int(context.multiply(context.exp(exponent), Decimal(2**256)))
    step, masses = ratio * ratio >> 256, [2**256]
    for _ in range(size):
        masses.append(masses[-1] * ratio >> 256)
        ratio = ratio * step >> 256
    listed = masses[:0:-1] + masses
    return size, [(sum(listed[: j + 1]) << 192) // sum(listed) for j in range(2 * size)]


def layer(seed: bytes, number: int, v: Fraction, i: int) -> int:
    first = 2 * number * 2**64
    word = keystream(seed, first + i // 2, 16)[8 * (i % 2) :][:8]
    refinement = keystream(seed, first + 2**64 + i, 16)
    uniform = int.from_bytes(word, "little") << 128 | int.from_bytes(refinement, "little")
    size, thresholds = table(v)
    return sum(threshold <= uniform for threshold in thresholds) - size


def sample(seed: bytes, v: Fraction) -> list[int]:
    if v <= 2**16:
        return [layer(seed, 0, v, i) for i in range(DIMENSION)]
    k = root4(v)
    return [
        layer(seed, 0, Fraction(4 * k * k), i) + k * layer(seed, 1, v / k**2 - 4, i)
        for i in range(DIMENSION)
    ]


# --- sections 3 and 4, a whole attempt -----------------------------------------------------------


class Attempt:
    """All that is said in the example, message by message, from the seed alone."""

    def __init__(self) -> None:
        root = Source(SEED)
        self.sources = {u: root.fork(u64(u)) for u in range(N + 1)}
        self.identity = {u: nacl.signing.SigningKey(s.draw(32)) for u, s in self.sources.items()}
        self.journal_key = {u: self.sources[u].draw(32) for u in range(1, N + 1)}
        self.said: dict[tuple[int, str], bytes] = {}
        self.bits = max(8, (N * (MAX_VALUE + tail())).bit_length() + 1)
        self.policy = self._policy()
        nonce, model = self.sources[0].draw(32), digest("model")
        self.facts = [digest("policy", self.policy), u64(1), u64(1), model, nonce]
        self.session = digest("session", b"secagg-suite-1", *self.facts)
        everybody = list(range(1, N + 1))
        self.u3 = [u for u in everybody if u != LOST]
        self._advertise(everybody, model)
        self._share(everybody)
        self._mask(everybody)
        self._confirm_and_answer(everybody)
        total = [sum(column) for column in zip(*self.kept.values(), strict=True)]
        self.sum = [sum(VECTORS[u][i] for u in self.u3) + total[i] for i in range(DIMENSION)]
        words = packed([x % 2**self.bits for x in self.sum], self.bits)
        self.sum_digest = digest("sum", words)
        u3 = b"".join(map(u64, self.u3))
        self.sum_signature = self.sign(0, "sum", *self.facts, self.u2_hash, u3, self.sum_digest)

    def sign(self, u: int, label: str, *parts: bytes) -> bytes:
        return self.identity[u].sign(encode(label, *parts)).signature

    def say(self, u: int, name: str, *fields: Any) -> None:
        message = msgspec.msgpack.encode([name, *fields])
        self.said[u, name] = self.said.get((u, name), b"") + message

    def _policy(self) -> bytes:
        document = {
            "schema": "secagg-policy/1",
            "suite": "secagg-suite-1",
            "consortium": "example",
            "version": 1,
            "server_key": bytes(self.identity[0].verify_key).hex(),
            "roster": [
                {"name": f"hospital-{u}", "identity_key": bytes(self.identity[u].verify_key).hex()}
                for u in range(1, N + 1)
            ],
            "corrupt": C,
            "dropouts": D,
            "min_survivors": FLOOR,
            "graph": "complete",
            "vector": {"dimension": DIMENSION, "max_value": MAX_VALUE, "scale": 1},
            "noise": {
                "mode": "exact",
                "unit": "patient",
                "sensitivity": SENSITIVITY,
                "rho_units": 10**9,
                "delta": "0.00001",
            },
            "model": None,
            "features": None,
            "max_charged_attempts": 3,
            "verification": "published",
        }
        return json.dumps(
            document, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode()

    def _advertise(self, u1: list[int], model: bytes) -> None:
        self.channel, self.mask_key, entries = {}, {}, []
        for u in u1:
            seed, self.mask_key[u] = self.sources[u].draw(32), self.sources[u].draw(32)
            self.channel[u] = {v: derive(seed, "channel key", u64(v)) for v in u1}
            keys = [public_of(self.channel[u][v]) for v in u1]
            leaves = [encode("channel key leaf", u64(v), key) for v, key in enumerate(keys, 1)]
            stated = (merkle_root(leaves), public_of(self.mask_key[u]))
            signature = self.sign(u, "advertisement", self.session, u64(u), *stated)
            self.say(
                u,
                "AdvertiseKeys",
                self.facts[0],
                1,
                1,
                model,
                self.session,
                keys,
                [u, *stated, signature],
            )
            entries.append(encode("advertisement", u64(u), *stated, signature))
        self.roster = digest("roster", self.session, *entries)

    def _share(self, u1: list[int]) -> None:
        entries = []
        self.seed: dict[int, bytes] = {}
        self.held: dict[int, dict[int, list[tuple[bytes, bytes]]]] = {u: {} for u in u1}
        for u in u1:
            draw = self.sources[u].draw
            self.seed[u] = draw(32)
            b, s = dealt(self.seed[u], u1, draw), dealt(self.mask_key[u], u1, draw)
            shares, leaves, own = [], [], []
            for v in u1:
                opened = [(b[v], draw(32)), (s[v], draw(32))]
                self.held[v][u] = opened
                committed = [
                    digest(
                        "share commitment",
                        self.roster,
                        u64(u),
                        u64(v),
                        f"secagg/1/{kind}".encode(),
                        *pair,
                    )
                    for kind, pair in zip(("self mask", "mask key"), opened, strict=True)
                ]
                ciphertext = b""
                if v == u:
                    own = committed
                else:
                    secret = agreed(self.channel[u][v], public_of(self.channel[v][u]))
                    key = derive(secret, "channel", self.roster, u64(u), u64(v))
                    plaintext = b"".join(opened[0] + opened[1])
                    ciphertext = sealed(key, plaintext, self.roster + u64(u) + u64(v))
                    shares.append([v, ciphertext, *committed])
                leaves.append(
                    encode(
                        "share leaf",
                        self.roster,
                        u64(u),
                        u64(v),
                        digest("shares", ciphertext),
                        *committed,
                    )
                )
            stated = (
                merkle_root(leaves),
                digest("self-mask commitment", self.roster, u64(u), self.seed[u]),
            )
            signature = self.sign(u, "share keys", self.roster, u64(u), *stated)
            self.say(u, "ShareKeys", self.session, own, shares, stated[1], signature)
            entries.append(encode("share keys", u64(u), *stated))
        self.u2_hash = digest("U2", self.roster, *entries)

    def _mask(self, u2: list[int]) -> None:
        """``kept``: the noise of each survivor that stays in the sum."""
        self.masked_digest, self.surplus, self.kept = {}, {}, {}
        variances, k = components(len(u2)), len(u2) - len(self.u3)
        for u in self.u3:
            noise_seed = self.sources[u].draw(32)
            seeds = [derive(noise_seed, "noise", u64(j)) for j in range(len(variances))]
            noise = [sample(x, v) for x, v in zip(seeds, variances, strict=True)]
            self.surplus[u] = seeds[k + 1 :]
            self.kept[u] = [sum(column) for column in zip(*noise[: k + 1], strict=True)]
            masked = [x + sum(n) for x, *n in zip(VECTORS[u], *noise, strict=True)]
            masks = [(1, derive(self.seed[u], "self mask", self.u2_hash, u64(u)))]
            for v in u2:
                if v != u:
                    secret = agreed(self.mask_key[u], public_of(self.mask_key[v]))
                    pair = u64(min(u, v)), u64(max(u, v))
                    seed = derive(secret, "pairwise seed", self.u2_hash, *pair)
                    masks.append((1 if v < u else -1, seed))
            for sign, seed in masks:
                masked = [y + sign * p for y, p in zip(masked, prg(seed, self.bits), strict=True)]
            data = packed([y % 2**self.bits for y in masked], self.bits)
            self.masked_digest[u] = digest("masked input", data)
            signature = self.sign(u, "masked input", self.u2_hash, u64(u), self.masked_digest[u])
            self.say(u, "VectorChunk", self.session, 0, data)
            self.say(u, "MaskedInputSignature", self.session, self.masked_digest[u], signature)

    def _confirm_and_answer(self, u2: list[int]) -> None:
        u3 = b"".join(map(u64, self.u3))
        self.u3_hash = digest("U3", self.u2_hash, u3)
        for u in self.u3:
            opened: list[list[Any]] = [
                [[v, *self.held[u][v][0]] for v in self.u3],
                [[v, *self.held[u][v][1]] for v in u2 if v not in self.u3],
            ]
            parts = [
                encode(kind, u64(v), share, salt)
                for kind, listed in zip(("self mask", "mask key"), opened, strict=True)
                for v, share, salt in listed
            ]
            seeds = [encode("noise", seed) for seed in self.surplus[u]]
            shares = digest("opened shares", *parts)
            signature = self.sign(u, "answer", self.u3_hash, u64(u), shares, *seeds)
            answer = (self.session, *opened, self.surplus[u], signature)
            self.say(u, "UnmaskingAnswer", *answer)
            survivor = self.sign(u, "survivor", self.session, self.u2_hash, u64(u), u3)
            self.say(u, "SurvivorSignature", self.session, survivor)


@pytest.fixture(scope="module")
def attempt() -> Attempt:
    return Attempt()


# --- the implementation --------------------------------------------------------------------------


def recorded() -> tuple[Cohort, dict[tuple[int, str], bytes]]:
    """The same attempt by the implementation: the cohort, and what each client said."""
    roster = tuple(Member(f"hospital-{u}", f"{u:064x}") for u in range(1, N + 1))
    cohort = assembled(
        Policy(
            consortium="example",
            server_key="00" * 32,
            roster=roster,
            corrupt=C,
            dropouts=D,
            min_survivors=FLOOR,
            vector=VectorSpec(dimension=DIMENSION, max_value=MAX_VALUE),
            noise=NoiseSpec(mode="exact", sensitivity=SENSITIVITY, rho_units=10**9),
        ),
        SEED,
    )
    cohort.open({u: np.array(vector, np.int64) for u, vector in VECTORS.items()})
    said: dict[tuple[int, str], bytes] = {}
    recipients = frozenset(cohort.policy.members)
    for _ in range(STAGES):
        following: frozenset[int] = frozenset()
        for u in sorted(recipients):
            for message in list(cohort.to_client(u)):
                for reply in list(cohort.deliver(u, message)):
                    name = type(reply).__name__
                    if u == LOST and name not in ("AdvertiseKeys", "ShareKeys"):
                        continue
                    said[u, name] = said.get((u, name), b"") + wire_bytes(reply)
                    following |= cohort.collect(u, reply)
        recipients = following or cohort.server.close()
    assert isinstance(cohort.server.state, Certifying)
    return cohort, said


def test_every_message_is_the_one_that_the_page_describes(attempt: Attempt) -> None:
    cohort, said = recorded()
    assert cohort.policy.canonical() == attempt.policy
    assert cohort.policy.ring.bits == attempt.bits
    assert said.keys() == attempt.said.keys()
    for key, message in said.items():
        assert message == attempt.said[key], key
    state = cohort.server.state
    assert isinstance(state, Certifying)
    assert cohort.total is not None
    assert cohort.total.tolist() == attempt.sum
    assert state.published.sum_digest == attempt.sum_digest
    assert state.published.server_signature == attempt.sum_signature


def test_the_examples_values_are_those_of_the_page(attempt: Attempt) -> None:
    values = {
        "policy_digest": attempt.facts[0],
        "server_nonce": attempt.facts[4],
        "session_id": attempt.session,
        "roster_digest": attempt.roster,
        "u2_hash": attempt.u2_hash,
        "u3_hash": attempt.u3_hash,
        "masked_digest of client 1": attempt.masked_digest[1],
        "sum_digest": attempt.sum_digest,
    }
    for name, value in values.items():
        assert f"| {name} | `{value.hex()}` |" in PAGE, f"| {name} | `{value.hex()}` |"
    assert f"| tail | {tail()} |" in PAGE
    assert f"| b | {attempt.bits} |" in PAGE
    assert f"| sum | {', '.join(map(str, attempt.sum))} |" in PAGE, attempt.sum
