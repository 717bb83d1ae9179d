"""Vectors of kind ``primitives``: hashing, keys, ciphers, shares, trees.

Each operation draws what is random in it from a stream of its own, ``fork(u64(place))`` of the
vector's seed, in the order in which its outcome lists what it has drawn.
"""

from __future__ import annotations

import msgspec
import numpy as np

from secagg import context
from secagg.crypto import merkle, shamir
from secagg.crypto.aead import AuthenticationFailure, open_sealed, seal
from secagg.crypto.hashing import Label, digest, encode, u64
from secagg.crypto.kdf import derive
from secagg.crypto.keys import KeyPair, LowOrderPoint, agree, is_canonical, is_low_order
from secagg.crypto.prg import Keystream
from secagg.crypto.randomness import SeededRandomness
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey, verify
from secagg.vector.masking import Mask, apply_masks
from secagg.vector.ring import Ring
from secagg.vectors.document import Document, Expect, VectorError
from secagg.vectors.edits import flipped
from secagg.wire.messages import Advertisement, Dealing, Hello, OpenedShare, UnmaskingAnswer

MAX_SIZE = 2**16
"""Of whatever an operation may be asked to make."""


class Primitive(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="operation"):
    """Base of the operations that stand for themselves.

    Each has a method ``outcome(source)``: ``expect``, and what was drawn and computed.
    """


def limited(size: int) -> int:
    """``size``, if it is one that vectors may have. Raises VectorError."""
    if not 0 <= size <= MAX_SIZE:
        raise VectorError(f"a size of {size}: vectors are small")
    return size


class Randomness(Primitive, frozen=True, tag="randomness"):
    """Draws of ``sizes`` bytes from ``fork(*fork)``; parts are hex."""

    fork: list[str]
    sizes: list[int]

    def outcome(self, source: SeededRandomness) -> Document:
        child = source.fork(*map(bytes.fromhex, self.fork))
        return {
            "expect": Expect.SUCCESS,
            "drawn": [child.draw(limited(size)).hex() for size in self.sizes],
        }


class Hash(Primitive, frozen=True, tag="digest"):
    """``encode`` and ``digest`` of parts of ``sizes`` bytes, drawn."""

    label: str
    sizes: list[int]

    def outcome(self, source: SeededRandomness) -> Document:
        label, parts = Label(self.label), [source.draw(limited(size)) for size in self.sizes]
        return {
            "expect": Expect.SUCCESS,
            "parts": [part.hex() for part in parts],
            "encoded": encode(label, *parts).hex(),
            "digest": digest(label, *parts).hex(),
        }


class Derive(Primitive, frozen=True, tag="derive"):
    """HKDF of a drawn secret, then drawn parts of ``sizes`` bytes; ``length`` bytes of output."""

    label: str
    sizes: list[int]
    length: int

    def outcome(self, source: SeededRandomness) -> Document:
        secret = source.draw(32)
        parts = [source.draw(limited(size)) for size in self.sizes]
        derived = derive(Secret(secret), Label(self.label), *parts, length=self.length)
        return {
            "expect": Expect.SUCCESS,
            "secret": secret.hex(),
            "parts": [part.hex() for part in parts],
            "derived": derived.reveal().hex(),
        }


class Agree(Primitive, frozen=True, tag="agree"):
    """Two drawn private keys, their public keys, and what both sides agree on."""

    def outcome(self, source: SeededRandomness) -> Document:
        one, two = KeyPair.generate(source), KeyPair.generate(source)
        agreed = agree(one.private, two.public)
        if agreed != agree(two.private, one.public):
            raise VectorError("the two sides disagree")
        return {
            "expect": Expect.SUCCESS,
            "private_keys": [one.private.reveal().hex(), two.private.reveal().hex()],
            "public_keys": [one.public.hex(), two.public.hex()],
            "agreed": agreed.reveal().hex(),
        }


class PublicKey(Primitive, frozen=True, tag="public_key"):
    """Whether ``2^255 * high + u`` is a fit X25519 public key, and what a drawn key makes of it."""

    u: int
    high: int

    def outcome(self, source: SeededRandomness) -> Document:
        value = self.u + (self.high << 255)
        if not 0 <= self.u < 1 << 255 or self.high not in (0, 1):
            raise VectorError("no 32 bytes stand for this number")
        public, private = value.to_bytes(32, "little"), source.draw(32)
        outcome: Document = {
            "private_key": private.hex(),
            "public_key": public.hex(),
            "canonical": is_canonical(public),
            "low_order": is_low_order(public),
        }
        try:
            agreed = agree(Secret(private), public).reveal().hex()
        except LowOrderPoint:
            return {**outcome, "expect": Expect.AUTH_FAILURE}
        return {**outcome, "expect": Expect.SUCCESS, "agreed": agreed}


class Sign(Primitive, frozen=True, tag="sign"):
    """A signature over drawn parts; ``flip``: a bit of signature || public key, None for none.

    ``scalar``: the group's order is added to the signature's second half, which is then not
    canonical.
    """

    label: str
    sizes: list[int]
    flip: int | None
    scalar: bool

    def outcome(self, source: SeededRandomness) -> Document:
        seed = source.draw(32)
        label, parts = Label(self.label), [source.draw(limited(size)) for size in self.sizes]
        key = IdentityKey(Secret(seed))
        signed = key.sign(label, *parts)
        if self.scalar:
            order = (1 << 252) + 27742317777372353535851937790883648493
            scalar = int.from_bytes(signed[32:], "little") + order
            signed = signed[:32] + scalar.to_bytes(32, "little")
        shown = signed + key.public
        if self.flip is not None:
            shown = flipped(shown, self.flip)
        holds = verify(shown[64:], shown[:64], label, *parts)
        return {
            "expect": Expect.SUCCESS if holds else Expect.AUTH_FAILURE,
            "seed": seed.hex(),
            "parts": [part.hex() for part in parts],
            "signature": shown[:64].hex(),
            "public_key": shown[64:].hex(),
        }


class Seal(Primitive, frozen=True, tag="seal"):
    """A sealed plaintext and its opening; ``flip``: a bit of nonce || associated || ciphertext."""

    plaintext_size: int
    associated_size: int
    flip: int | None

    def outcome(self, source: SeededRandomness) -> Document:
        key, nonce = source.draw(32), source.draw(24)
        plain = source.draw(limited(self.plaintext_size))
        associated = source.draw(limited(self.associated_size))
        shown = nonce + associated + seal(Secret(key), plain, associated, nonce)
        if self.flip is not None:
            shown = flipped(shown, self.flip)
        end = 24 + len(associated)
        outcome: Document = {
            "key": key.hex(),
            "nonce": shown[:24].hex(),
            "plaintext": plain.hex(),
            "associated": shown[24:end].hex(),
            "ciphertext": shown[end:].hex(),
        }
        try:
            opened = open_sealed(Secret(key), shown[end:], shown[24:end], shown[:24])
        except AuthenticationFailure:
            return {**outcome, "expect": Expect.AUTH_FAILURE}
        return {**outcome, "expect": Expect.SUCCESS, "opened": opened.hex()}


class Prg(Primitive, frozen=True, tag="prg"):
    """Words ``start`` .. ``start + count - 1`` of a drawn seed's mask in the ring of ``bits``."""

    bits: int
    start: int
    count: int

    def outcome(self, source: SeededRandomness) -> Document:
        seed, ring = Secret(source.draw(32)), Ring(self.bits)
        words = np.zeros(limited(self.count), ring.dtype)
        apply_masks(words, [Mask(seed, 1)], ring, self.start)
        stream = bytearray(words.nbytes)
        Keystream(seed, self.start * ring.word_bytes).read_into(stream)
        return {
            "expect": Expect.SUCCESS,
            "seed": seed.reveal().hex(),
            "first_byte": self.start * ring.word_bytes,
            "keystream": stream.hex(),
            "words": words.tolist(),
        }


class Split(Primitive, frozen=True, tag="shamir"):
    """A drawn secret dealt to ``xs`` and put together from ``use``.

    ``add``: to the share at the first of ``use`` this is added, as integers of 33 bytes.
    """

    threshold: int
    xs: list[int]
    use: list[int]
    add: int

    def outcome(self, source: SeededRandomness) -> Document:
        secret = source.draw(32)
        limited(len(self.xs) * self.threshold)
        shares = shamir.split(Secret(secret), self.threshold, self.xs, source)
        used = {x: shares[x] for x in self.use}
        if len(used) != len(self.use):
            raise VectorError("a share is used twice")
        if self.add:
            changed = int.from_bytes(used[self.use[0]], "big") + self.add
            used[self.use[0]] = changed.to_bytes(33, "big")
        outcome: Document = {
            "secret": secret.hex(),
            "shares": [share.hex() for share in shares.values()],
            "used": [share.hex() for share in used.values()],
        }
        return {**outcome, **_combined(used, self.threshold)}


class SharedValue(Primitive, frozen=True, tag="shamir_value"):
    """Shares at ``xs`` of the line through ``value`` at 0 with a drawn slope (2^264 reduced)."""

    value: int
    xs: list[int]

    def outcome(self, source: SeededRandomness) -> Document:
        slope = int.from_bytes(source.draw(33), "big") % shamir.P
        if not 0 <= self.value < shamir.P or len(set(self.xs)) != len(self.xs):
            raise VectorError("the value is no element of the field, or one x is there twice")
        shares = {x: ((self.value + slope * x) % shamir.P).to_bytes(33, "big") for x in self.xs}
        return {
            "slope": hex(slope),
            "used": [share.hex() for share in shares.values()],
            **_combined(shares, 2),
        }


def _combined(shares: dict[int, bytes], threshold: int) -> Document:
    """What shares make: fewer than the threshold make a value that has nothing to say."""
    try:
        value = shamir.combine(shares).reveal().hex()
    except shamir.ShareError:
        return {"expect": Expect.DECODE_ERROR}
    enough = len(shares) >= threshold
    return {"expect": Expect.SUCCESS if enough else Expect.BELOW_THRESHOLD, "combined": value}


class Tree(Primitive, frozen=True, tag="merkle"):
    """A tree over ``size`` drawn leaves of 20 bytes and the path of leaf ``index``.

    ``flip``: a bit of root || leaf || path, None for none.
    """

    size: int
    index: int
    flip: int | None

    def outcome(self, source: SeededRandomness) -> Document:
        leaves = [source.draw(20) for _ in range(limited(self.size))]
        tree = merkle.Tree(leaves)
        shown = b"".join([tree.root, leaves[self.index], *tree.path(self.index)])
        if self.flip is not None:
            shown = flipped(shown, self.flip)
        root, leaf, siblings = shown[:32], shown[32:52], shown[52:]
        path = [siblings[at : at + 32] for at in range(0, len(siblings), 32)]
        holds = merkle.verify(root, leaf, self.index, self.size, path)
        return {
            "expect": Expect.SUCCESS if holds else Expect.AUTH_FAILURE,
            "leaves": [each.hex() for each in leaves],
            "root": root.hex(),
            "leaf": leaf.hex(),
            "path": [each.hex() for each in path],
        }


class Context(Primitive, frozen=True, tag="context"):
    """The digests and statements of one attempt over drawn values: the encodings, one by one.

    Drawn, in order: policy digest, base model hash, nonce, then for each of ``u1`` channel root,
    mask key and signature (64), then for each of ``u2`` root and seed commitment, then a share
    (33), a salt, a ciphertext (146), a seed.
    """

    round: int
    attempt: int
    u1: list[int]
    u2: list[int]
    u3: list[int]

    def outcome(self, source: SeededRandomness) -> Document:
        policy, model, nonce = (source.draw(32) for _ in range(3))
        session = context.Attempt(policy, self.round, self.attempt, model, nonce).session
        advertised = [
            Advertisement(u, source.draw(32), source.draw(32), source.draw(64)) for u in self.u1
        ]
        dealings = [Dealing(u, source.draw(32), source.draw(32), bytes(64)) for u in self.u2]
        share, salt, ciphertext, seed = (source.draw(size) for size in (33, 32, 146, 32))
        roster = context.roster_digest(session, advertised)
        u2_hash = context.u2_hash(roster, dealings)
        u, v = self.u1[0], self.u1[-1]
        committed = context.share_commitment(roster, u, v, Label.SELF_MASK, share, salt)
        opened = OpenedShare(v, share, salt)
        answer = UnmaskingAnswer(session, (opened,), (opened,), (seed,), bytes(64))
        entered = (self.round, self.attempt)
        hello = Hello(v, policy, model, *entered, None, None, None, None, bytes(64))
        statements: dict[str, context.Statement] = {
            "announcement": (Label.ANNOUNCEMENT, session),
            "advertisement": context.advertisement(session, u, seed, salt),
            "share_keys": context.share_keys(roster, u, seed, salt),
            "complaint": context.complaint(roster, u, v, seed),
            "masked_input": context.masked_input(u2_hash, u, seed),
            "survivor": context.survivor(session, u2_hash, u, self.u3),
            "answer": context.answer(u2_hash, self.u3, u, answer),
            "abandonment": context.abandonment(policy, self.round, model),
            "hello": context.hello(nonce, hello),
        }
        return {
            "expect": Expect.SUCCESS,
            "policy_digest": policy.hex(),
            "base_model_hash": model.hex(),
            "server_nonce": nonce.hex(),
            "session_id": session.hex(),
            "roster_digest": roster.hex(),
            "u2_hash": u2_hash.hex(),
            "u3_hash": context.u3_hash(u2_hash, self.u3).hex(),
            "channel_leaf": context.channel_leaf(v, seed).hex(),
            "share_leaf": context.share_leaf(roster, u, v, ciphertext, committed, salt).hex(),
            "share_commitments": [
                committed.hex(),
                context.share_commitment(roster, u, v, Label.MASK_KEY, share, salt).hex(),
            ],
            "seed_commitment": context.seed_commitment(roster, u, seed).hex(),
            "ids": context.clients(self.u3).hex(),
            "u64": u64(self.round).hex(),
            "statements": {
                name: encode(label, *parts).hex() for name, (label, *parts) in statements.items()
            },
        }


CRYPTOGRAPHIC = (
    Randomness | Hash | Derive | Agree | PublicKey | Sign | Seal | Prg | Split | SharedValue
    | Tree | Context
)  # fmt: skip
