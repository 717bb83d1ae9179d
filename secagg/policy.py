"""The consortium's pinned policy: everything a hospital must know before it trusts a message.

Nothing that matters to privacy is ever taken from the server's word: roster, thresholds, graph,
vector, noise and model all stand here, and the digest of this document is part of every session.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated, Final, Literal

import msgspec

from secagg.crypto.hashing import Label, digest
from secagg.errors import DecodeError, LocalMisuse
from secagg.model import ModelSpec
from secagg.privacy.accounting import RHO_UNIT
from secagg.privacy.mechanism import Mechanism, Mode
from secagg.schema import FeatureSchema
from secagg.vector.ring import Ring

SUITE: Final = "secagg-suite-1"
SCHEMA: Final = "secagg-policy/1"
MAX_POLICY_BYTES = 4 * 2**20
MAX_HOSPITALS = 4096
MAX_DIMENSION = 2**28
MAX_RECOMPUTED = 2**26

Hex32 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Magnitude = Annotated[int, msgspec.Meta(ge=1, le=2**62)]
NonNegative = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One hospital of the roster: its name and its long-term Ed25519 key, 64 hex digits."""

    name: Name
    identity_key: Hex32


class VectorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The integer vector x_u of one hospital, before noise.

    ``dimension``: number of coordinates. ``max_value``: bound of ``|x_u[i]|``. ``scale``: how many
    units one real 1.0 is (fixed point); 1 for vectors that are integers already.
    """

    dimension: Positive
    max_value: Magnitude
    scale: Positive = 1


class NoiseSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The noise of one training round.

    ``unit``: what is protected, and clipped as one: a patient's record, or all that a hospital
    brings to a round. ``sensitivity``: L2 norm, in integer coordinates, by which adding or removing
    one unit can change x_u. ``rho_units``: zCDP cost of one released sum, in units of
    ``secagg.privacy.accounting.RHO_UNIT``. ``delta``: the delta at which epsilon is reported, a
    decimal string.
    """

    mode: Mode = "none"
    unit: Literal["patient", "hospital"] = "patient"
    sensitivity: Positive = 1
    rho_units: NonNegative = 0
    delta: Annotated[str, msgspec.Meta(pattern=r"^0\.[0-9]{1,30}$")] = "0.00001"


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A consortium's policy, version ``version``. Build it with :func:`load` or :func:`checked`.

    The client with roster position i (from 0) is written u = i + 1 throughout the protocol: its
    Shamir x coordinate and its place in every ordering.

    ``verification``: what a hospital demands before it signs the model: that the server vouches for
    the sum (``published``), or the masked inputs of U3, to recompute it (``recompute``).
    """

    schema: Literal["secagg-policy/1"] = SCHEMA
    suite: Literal["secagg-suite-1"] = SUITE
    consortium: Name
    version: Positive = 1
    server_key: Hex32
    roster: tuple[Member, ...]
    corrupt: NonNegative
    dropouts: NonNegative
    min_survivors: Positive
    graph: Literal["complete"] = "complete"
    vector: VectorSpec
    noise: NoiseSpec = NoiseSpec()
    model: ModelSpec | None = None
    features: FeatureSchema | None = None
    max_charged_attempts: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 3
    verification: Literal["published", "recompute"] = "published"

    @property
    def n(self) -> int:
        """Roster size."""
        return len(self.roster)

    @property
    def threshold(self) -> int:
        """t: quorum of signatures and threshold of Shamir's sharing, ``floor((n + c) / 2) + 1``.

        ``2t > n + c``: two sets of t answers share an honest hospital, always.
        """
        return (self.n + self.corrupt) // 2 + 1

    @property
    def members(self) -> range:
        """All clients u, ascending."""
        return range(1, self.n + 1)

    @property
    def ring(self) -> Ring:
        """The smallest ring in which the sum of n noised vectors cannot wrap around."""
        return Ring.for_bound(self.n * self.max_coordinate)

    @property
    def max_coordinate(self) -> int:
        """Bound of one coordinate of one hospital's noised vector."""
        return self.vector.max_value + self.mechanism.tail()

    @property
    def mechanism(self) -> Mechanism:
        """The noise mechanism that this policy pins."""
        return Mechanism.calibrated(
            mode=self.noise.mode,
            sensitivity=self.noise.sensitivity,
            rho=Fraction(self.noise.rho_units) * RHO_UNIT,
            roster=self.n,
            corrupt=self.corrupt,
            min_survivors=self.min_survivors,
        )

    def name(self, u: int) -> str:
        """The name of client ``u``; unknown numbers are named as such, for error messages."""
        return self.roster[u - 1].name if 1 <= u <= self.n else f"unknown client {u}"

    def client(self, name: str) -> int:
        """The number u of the hospital called ``name``; raises LocalMisuse if there is none."""
        for u in self.members:
            if self.roster[u - 1].name == name:
                return u
        raise LocalMisuse(f"{name!r} is not on the roster of {self.consortium!r}")

    def identity_key(self, u: int) -> bytes:
        """The pinned Ed25519 public key of client ``u`` (32 bytes)."""
        return bytes.fromhex(self.roster[u - 1].identity_key)

    def canonical(self) -> bytes:
        """The policy's canonical JSON: every field present, keys sorted, no spaces, no floats."""
        return msgspec.json.encode(self, order="sorted")

    def digest(self) -> bytes:
        """``policy_digest``: what every session and certificate is bound to."""
        return digest(Label.POLICY, self.canonical())


def load(data: bytes) -> Policy:
    """Decode a policy from JSON and check it; raises DecodeError naming the field or bound."""
    if len(data) > MAX_POLICY_BYTES:
        raise DecodeError(f"policy of {len(data)} bytes; at most {MAX_POLICY_BYTES} are read")
    try:
        policy = msgspec.json.decode(data, type=Policy)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"policy: {error}") from None
    return checked(policy)


def checked(policy: Policy) -> Policy:
    """Return ``policy`` if it keeps every bound; raises DecodeError saying which one failed."""
    try:
        msgspec.convert(msgspec.to_builtins(policy), type=Policy)  # the ranges of single fields
    except msgspec.ValidationError as error:
        raise DecodeError(f"policy {policy.consortium!r}: {error}") from None
    n, c, d, t = policy.n, policy.corrupt, policy.dropouts, policy.threshold
    floor = max(t, c + 2, 3)
    names = [member.name for member in policy.roster]
    keys = [member.identity_key for member in policy.roster] + [policy.server_key]
    bounds = (
        (3 <= n <= MAX_HOSPITALS, f"3 <= n <= {MAX_HOSPITALS}, but the roster has n = {n}"),
        (len(set(names)) == n, "every hospital's name is listed once"),
        (len(set(keys)) == n + 1, "every hospital and the server have a key of their own"),
        (c >= 1, "c >= 1: whoever receives the sum counts as corrupt, and every hospital does"),
        (t <= n - d, f"t <= n - d, but t = (n + c) // 2 + 1 = {t} and n - d = {n - d}"),
        (
            floor <= policy.min_survivors <= n - d,
            f"max(t, c + 2, 3) <= min_survivors <= n - d, but min_survivors = "
            f"{policy.min_survivors}, max(t, c + 2, 3) = {floor} and n - d = {n - d}",
        ),
        (policy.vector.dimension <= MAX_DIMENSION, f"dimension <= {MAX_DIMENSION}"),
        (
            policy.verification != "recompute" or n * policy.vector.dimension <= MAX_RECOMPUTED,
            f"n * dimension <= {MAX_RECOMPUTED} with verification = recompute: every hospital "
            f"downloads all masked inputs",
        ),
        (
            re.fullmatch(r"0\.0*", policy.noise.delta) is None,
            "delta > 0: a decimal string such as 0.00001",
        ),
        (
            policy.noise.mode == "none" or policy.noise.rho_units > 0,
            "rho_units > 0 in every noise mode but none",
        ),
    )
    for holds, statement in bounds:
        if not holds:
            raise DecodeError(f"policy {policy.consortium!r}: required is {statement}")
    if policy.model is not None:
        _check_model(policy, policy.model)
    try:
        ring = policy.ring
    except ValueError as error:
        raise DecodeError(f"policy {policy.consortium!r}: {error}") from None
    # The proof that the sum cannot wrap: n hospitals, each within max_coordinate, stay below R/2.
    if not n * policy.max_coordinate < ring.modulus // 2:
        raise DecodeError(f"policy {policy.consortium!r}: n * (max_value + tail) < R / 2 fails")
    return policy


def _check_model(policy: Policy, model: ModelSpec) -> None:
    """The vector and the noise must be at least what the model's contributions need."""
    rule = model.contribution
    bounds = (
        (
            policy.vector.dimension == model.dimension,
            f"vector.dimension = {model.dimension}, the model's coordinates",
        ),
        (policy.vector.scale == rule.scale, f"vector.scale = {rule.scale}, the contribution's"),
        (
            policy.vector.max_value >= rule.coordinate_bound,
            f"vector.max_value >= {rule.coordinate_bound}, max_patients times the clipping bound",
        ),
        (
            policy.noise.unit == "patient" or rule.max_patients == 1,
            "max_patients = 1 if noise.unit is the hospital, which brings one clipped vector",
        ),
        (
            policy.noise.mode == "none" or policy.noise.sensitivity**2 >= rule.sensitivity_squared,
            f"noise.sensitivity squared >= {rule.sensitivity_squared}, one {policy.noise.unit}'s "
            f"contribution",
        ),
    )
    for holds, statement in bounds:
        if not holds:
            raise DecodeError(f"policy {policy.consortium!r}: required is {statement}")
