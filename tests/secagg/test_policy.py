"""The loader's bounds, each refused by its own words; and a digest that never changes by itself."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.contribution import ContributionRule
from secagg.crypto.hashing import Label, digest
from secagg.errors import DecodeError, LocalMisuse
from secagg.model import ModelSpec, ParameterSpec, UpdateRule
from secagg.policy import (
    MAX_DIMENSION,
    MAX_HOSPITALS,
    MAX_POLICY_BYTES,
    Member,
    NoiseSpec,
    Policy,
    VectorSpec,
    checked,
    load,
)
from secagg.privacy.accounting import RHO_UNIT
from tests.cohorts import changed, template

NOISE = NoiseSpec(mode="at_least", sensitivity=100, rho_units=int(1 / RHO_UNIT))


def document(policy: Policy | None = None) -> dict[str, Any]:
    """A policy as decoded JSON, to be spoilt."""
    decoded: dict[str, Any] = json.loads((policy or template(4)).canonical())
    return decoded


def loaded(spoilt: dict[str, Any]) -> Policy:
    return load(json.dumps(spoilt).encode())


# --- n, c, d, t and the floor --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "c", "d", "t"), [(3, 1, 0, 3), (4, 1, 1, 3), (5, 1, 1, 4), (10, 2, 3, 7)]
)
def test_the_examples_of_the_protocol(n: int, c: int, d: int, t: int) -> None:
    policy = template(n, corrupt=c, dropouts=d, min_survivors=t)
    assert policy.threshold == t
    assert load(policy.canonical()) == policy
    with pytest.raises(DecodeError, match="t <= n - d"):
        template(n, corrupt=c, dropouts=d + 1, min_survivors=t)


@given(st.integers(3, 60), st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_what_loads_keeps_every_bound_and_what_does_not_breaks_one(
    n: int, c: int, d: int, floor: int
) -> None:
    t = (n + c) // 2 + 1
    holds = c >= 1 and t <= n - d and max(t, c + 2, 3) <= floor <= n - d
    try:
        policy = template(n, corrupt=c, dropouts=d, min_survivors=floor)
    except DecodeError:
        assert not holds
    else:
        assert holds
        assert policy.threshold == t
        # Two quorums share an honest hospital; c and one more never see a survivor alone.
        assert 2 * policy.threshold > n + c
        assert policy.min_survivors - c >= 2


def spoil_name(d: dict[str, Any]) -> None:
    d["roster"][1]["name"] = d["roster"][0]["name"]


def spoil_key(d: dict[str, Any]) -> None:
    d["roster"][1]["identity_key"] = d["roster"][0]["identity_key"]


def servers_key(d: dict[str, Any]) -> None:
    d["server_key"] = d["roster"][0]["identity_key"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(roster=d["roster"][:2]), "3 <= n <= 4096, but the roster has n = 2"),
        (spoil_name, "every hospital's name is listed once"),
        (spoil_key, "every hospital and the server have a key of their own"),
        (servers_key, "every hospital and the server have a key of their own"),
        (lambda d: d.update(corrupt=0), "c >= 1: whoever receives the sum counts as corrupt"),
        (lambda d: d.update(dropouts=2), "t <= n - d, but t = .* = 3 and n - d = 2"),
        (lambda d: d.update(corrupt=3), "t <= n - d, but t = .* = 4 and n - d = 3"),
        (lambda d: d.update(min_survivors=2), "min_survivors = 2, max.* = 3 and n - d = 3"),
        (lambda d: d.update(min_survivors=4), "min_survivors = 4, max.* = 3 and n - d = 3"),
        (lambda d: d["vector"].update(dimension=MAX_DIMENSION + 1), "dimension <= 268435456"),
        (lambda d: d["vector"].update(max_value=2**61), "64 bits"),
        (lambda d: d["noise"].update(delta="0.000"), "delta > 0"),
        (lambda d: d["noise"].update(mode="exact"), "rho_units > 0 in every noise mode but none"),
        (lambda d: d["noise"].update(mode="local", rho_units=10**9), "a larger scale"),
    ],
)
def test_each_bound_is_refused_by_its_own_words(change: Any, words: str) -> None:
    spoilt = document()
    change(spoilt)
    with pytest.raises(DecodeError, match=words) as caught:
        loaded(spoilt)
    assert str(caught.value).startswith("policy 'tests': ")


def test_the_largest_roster_and_one_hospital_more() -> None:
    def roster(n: int) -> tuple[Member, ...]:
        return tuple(Member(f"h{u}", f"{u:064x}") for u in range(1, n + 1))

    largest = changed(
        template(4), roster=roster(MAX_HOSPITALS), dropouts=0, min_survivors=MAX_HOSPITALS
    )
    assert load(checked(largest).canonical()).n == MAX_HOSPITALS
    with pytest.raises(DecodeError, match="the roster has n = 4097"):
        checked(changed(largest, roster=roster(MAX_HOSPITALS + 1), min_survivors=4097))


SPEC = ModelSpec(
    parameters=(ParameterSpec(name="weights", shape=(5,)),),
    contribution=ContributionRule(scale=64, gradient_bound=64, count_weight=16, max_patients=100),
    update=UpdateRule(learning_rate="0.5", count_floor=1),
)


def with_model(noise: NoiseSpec | None = None, **vector: int) -> Policy:
    """A policy that pins SPEC, and a vector of exactly its measures but for ``vector``."""
    measures = {
        "dimension": SPEC.dimension,
        "max_value": SPEC.contribution.coordinate_bound,
        "scale": SPEC.contribution.scale,
    }
    policy = changed(template(4), model=SPEC, noise=noise or NoiseSpec())
    return checked(changed(policy, vector=VectorSpec(**{**measures, **vector})))


def test_a_models_vector_and_noise_fit() -> None:
    assert load(with_model().canonical()).model == SPEC
    enough = NoiseSpec(mode="local", sensitivity=SPEC.contribution.sensitivity, rho_units=10**6)
    assert with_model(enough).noise == enough


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dimension": SPEC.dimension + 1}, f"vector.dimension = {SPEC.dimension}"),
        ({"scale": 65}, "vector.scale = 64"),
        ({"max_value": SPEC.contribution.coordinate_bound - 1}, "vector.max_value >= 6400"),
        (
            {
                "noise": NoiseSpec(
                    mode="local",
                    sensitivity=SPEC.contribution.sensitivity - 1,
                    rho_units=10**6,
                )
            },
            "noise.sensitivity squared >= 4352",
        ),
    ],
)
def test_a_vector_or_a_noise_that_is_not_the_models_is_refused(
    arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(DecodeError, match=words):
        with_model(**arguments)


def test_a_hospital_that_is_the_unit_brings_one_vector() -> None:
    """It is clipped as one: a sum over its patients would have a larger sensitivity."""
    noise = NoiseSpec(unit="hospital")
    with pytest.raises(DecodeError, match=r"max_patients = 1 if noise\.unit is the hospital"):
        with_model(noise)
    rule = msgspec.structs.replace(SPEC.contribution, max_patients=1)
    single = msgspec.structs.replace(SPEC, contribution=rule)
    policy = checked(changed(with_model(), model=single, noise=noise))
    assert load(policy.canonical()).noise.unit == "hospital"
    with pytest.raises(DecodeError, match="one hospital's contribution"):
        checked(
            changed(
                policy,
                noise=NoiseSpec(unit="hospital", mode="local", sensitivity=65, rho_units=10**6),
            )
        )


# --- single fields -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), "secagg-policy/2"),
        (("suite",), "secagg-suite-2"),
        (("graph",), "sparse"),
        (("consortium",), "No Spaces"),
        (("consortium",), ""),
        (("version",), 0),
        (("server_key",), "00" * 31),
        (("server_key",), "AB" * 32),
        (("roster", 0, "name"), "-dash-first"),
        (("roster", 0, "identity_key"), "zz" * 32),
        (("dropouts",), -1),
        (("corrupt",), 1.0),
        (("corrupt",), "1"),
        (("min_survivors",), True),
        (("vector", "dimension"), 0),
        (("vector", "max_value"), 0),
        (("vector", "max_value"), 2**62 + 1),
        (("vector", "scale"), 0),
        (("noise", "mode"), "some"),
        (("noise", "unit"), "country"),
        (("noise", "sensitivity"), 0),
        (("noise", "delta"), "1e-5"),
        (("noise", "delta"), 0.00001),
        (("max_charged_attempts",), 0),
        (("max_charged_attempts",), 1001),
    ],
)
def test_a_field_out_of_its_range_is_named(path: tuple[Any, ...], value: Any) -> None:
    spoilt = document()
    *parents, last = path
    place: Any = spoilt
    for step in parents:
        place = place[step]
    place[last] = value
    with pytest.raises(DecodeError, match=rf"\$\.{path[0]}"):
        loaded(spoilt)


@pytest.mark.parametrize("field", ["roster", "corrupt", "dropouts", "min_survivors", "vector"])
def test_nothing_that_matters_has_a_default(field: str) -> None:
    spoilt = document()
    del spoilt[field]
    with pytest.raises(DecodeError, match=f"missing required field `{field}`"):
        loaded(spoilt)


@pytest.mark.parametrize("place", [(), ("vector",), ("noise",), ("roster", 0)])
def test_unknown_fields_are_refused_wherever_they_stand(place: tuple[Any, ...]) -> None:
    spoilt = document()
    inner: Any = spoilt
    for step in place:
        inner = inner[step]
    inner["surprise"] = 1
    with pytest.raises(DecodeError, match="unknown field `surprise`"):
        loaded(spoilt)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b"\xff", b'{"consortium": "\xff"}', b"[" * 10_000]
)
def test_what_is_no_policy_is_a_decode_error(data: bytes) -> None:
    with pytest.raises(DecodeError, match=r"^policy: "):
        load(data)


def test_a_policy_is_not_read_beyond_its_limit() -> None:
    with pytest.raises(DecodeError, match=f"at most {MAX_POLICY_BYTES} are read"):
        load(b" " * (MAX_POLICY_BYTES + 1))


@given(st.binary(max_size=100))
def test_any_bytes_are_a_decode_error(data: bytes) -> None:
    with pytest.raises(DecodeError):
        load(data)


def test_a_policy_built_in_code_is_held_to_the_same_ranges() -> None:
    for wrong in (
        changed(template(4), dropouts=-1),
        changed(template(4), max_charged_attempts=0),
        changed(template(4), vector=VectorSpec(dimension=0, max_value=1)),
        changed(template(4), consortium="No Spaces"),
    ):
        with pytest.raises(DecodeError):
            checked(wrong)


# --- the digest ----------------------------------------------------------------------------------

FROZEN = (
    b'{"consortium":"tests","corrupt":1,"dropouts":0,"features":null,"graph":"complete",'
    b'"max_charged_attempts":3,"min_survivors":3,"model":null,"noise":{"delta":"0.00001",'
    b'"mode":"none","rho_units":0,"sensitivity":1,"unit":"patient"},"roster":[{"identity_key":"'
    + b"0" * 63 + b'1","name":"hospital-1"},{"identity_key":"' + b"0" * 63
    + b'2","name":"hospital-2"},{"identity_key":"' + b"0" * 63
    + b'3","name":"hospital-3"}],"schema":"secagg-policy/1","server_key":"' + b"0" * 64
    + b'","suite":"secagg-suite-1","vector":{"dimension":3,"max_value":10000,"scale":1},'
    b'"verification":"published","version":1}'
)  # fmt: skip


def test_the_canonical_form_and_its_digest_are_frozen() -> None:
    policy = template(3)
    assert policy.canonical() == FROZEN
    assert policy.digest().hex() == DIGEST
    assert policy.digest() == digest(Label.POLICY, FROZEN)


DIGEST = "ab13e34cbd80ea1f0bb46540d3e6b4652fc00d6a0dc4717e4c6ac6ccfd1dd060"


def test_the_digest_is_of_the_content_not_of_its_spelling() -> None:
    policy = template(4)
    pretty = json.dumps(document(policy), indent=2).encode()
    backwards = json.dumps(dict(reversed(document(policy).items()))).encode()
    assert load(pretty).digest() == load(backwards).digest() == policy.digest()
    shortened = {k: v for k, v in document(policy).items() if k not in ("noise", "graph")}
    assert loaded(shortened).digest() == policy.digest()  # defaults are part of the content


def test_every_field_is_in_the_digest() -> None:
    policy = template(7)
    others = [
        changed(policy, **{field: value})
        for field, value in {
            "consortium": "others",
            "version": 2,
            "server_key": "01" * 32,
            "roster": policy.roster[::-1],
            "corrupt": policy.corrupt + 1,
            "dropouts": policy.dropouts - 1,
            "min_survivors": policy.min_survivors + 1,
            "vector": changed(policy.vector, max_value=policy.vector.max_value + 1),
            "noise": NOISE,
            "max_charged_attempts": 4,
        }.items()
    ]
    digests = {p.digest() for p in (policy, *others)}
    assert len(digests) == len(others) + 1


# --- what it says --------------------------------------------------------------------------------


def test_clients_are_numbered_from_one_in_roster_order() -> None:
    policy = template(4)
    assert list(policy.members) == [1, 2, 3, 4]
    assert [policy.name(u) for u in policy.members] == [m.name for m in policy.roster]
    assert [policy.client(m.name) for m in policy.roster] == [1, 2, 3, 4]
    assert policy.identity_key(3) == bytes.fromhex(policy.roster[2].identity_key)


@pytest.mark.parametrize("u", [0, 5, -1])
def test_a_stranger_has_a_name_for_error_messages(u: int) -> None:
    assert template(4).name(u) == f"unknown client {u}"


def test_a_name_that_is_on_no_roster() -> None:
    with pytest.raises(LocalMisuse, match="'mercy' is not on the roster of 'tests'"):
        template(4).client("mercy")


@given(st.integers(3, 40), st.integers(1, 2**50))
def test_the_ring_is_the_smallest_in_which_no_sum_wraps(n: int, max_value: int) -> None:
    policy = template(n, max_value=max_value)
    assert policy.max_coordinate == max_value
    assert n * max_value < policy.ring.modulus // 2
    assert policy.ring.bits == 8 or n * max_value >= policy.ring.modulus // 4


def test_noise_widens_the_ring_by_its_tail() -> None:
    policy = template(4, noise=NOISE)
    assert policy.max_coordinate == policy.vector.max_value + policy.mechanism.tail()
    assert policy.mechanism.tail() > 0
    assert msgspec.structs.asdict(policy)["noise"] == NOISE
