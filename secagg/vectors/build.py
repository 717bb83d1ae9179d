"""From what determines a vector to all of it, and so the check of one that is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from secagg.crypto.hashing import u64
from secagg.crypto.randomness import SeededRandomness
from secagg.errors import SecaggError
from secagg.policy import SUITE
from secagg.vectors.arithmetic import ARITHMETIC
from secagg.vectors.cohort import Config
from secagg.vectors.document import SCHEMA, Document, VectorError, differences, read, written
from secagg.vectors.encodings import ENCODINGS
from secagg.vectors.primitives import CRYPTOGRAPHIC
from secagg.vectors.session import AnyOperation, Session

Primitives = CRYPTOGRAPHIC | ARITHMETIC | ENCODINGS

KEYS: Final[tuple[str, ...]] = (
    "schema",
    "suite",
    "kind",
    "comment",
    "checks",
    "config",
    "seed",
    "inputs",
    "operations",
    "attempts",
    "result",
)


_UNUSABLE: Final = (
    SecaggError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
"""What the product's own code raises for a document that says nothing sensible."""


def built(document: Mapping[str, Any]) -> Document:
    """The whole vector, from ``kind``, ``config``, ``seed`` and the operations' arguments alone.

    Only ``comment`` is taken as it is. Raises VectorError if these say nothing that could be
    computed.
    """
    try:
        comment, seed = document["comment"], bytes.fromhex(document["seed"])
        kind = document["kind"]
        if not isinstance(comment, str) or not comment:
            raise VectorError("the comment says nothing")
        if seed.hex() != document["seed"] or not seed:
            raise VectorError("the seed is not lower-case hex")
        if kind not in _KINDS:
            raise VectorError(f"no vector is of kind {kind!r}")
        parts = _KINDS[kind](document["config"], seed, document["operations"])
    except _UNUSABLE as error:
        raise VectorError(f"{type(error).__name__}: {error}") from error
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "suite": SUITE,
        "kind": kind,
        "comment": comment,
        "seed": document["seed"],
        **parts,
    }
    ordered: Document = {str(key): found[key] for key in KEYS if key in found}
    return read(written(ordered))  # as whoever reads the file sees it


def checked(document: Mapping[str, Any]) -> list[str]:
    """Where ``document`` says something else than what is computed from it; empty if nowhere."""
    try:
        expected = built(document)
    except VectorError as error:
        return [str(error)]
    return list(differences(expected, dict(document)))


def _session(config: Any, seed: bytes, listed: Any) -> Document:
    converted = msgspec.convert(config, Config)
    session = Session(converted, seed)
    operations = []
    for item in listed:
        operation = _arguments(item, AnyOperation)
        operations.append(_told(operation, session.perform(operation)))
    cohort = session.cohort
    total = None if cohort.total is None else cohort.total.tolist()
    certificate, abandonment = cohort.certificate, cohort.abandonment
    model = None if cohort.total is None else cohort.next_model(cohort.total)
    return {
        "config": _config(cohort.policy),
        "checks": sorted(session.checks),
        "inputs": {
            "policy": cohort.policy.canonical().decode(),
            "threshold": cohort.policy.threshold,
            "bits": cohort.policy.ring.bits,
            "tail": cohort.policy.mechanism.tail(),
            "identity_seeds": [seed.hex() for seed in cohort.identity_seeds.values()],
            "journal_keys": [key.hex() for key in cohort.journal_keys.values()],
        },
        "operations": operations,
        "attempts": [record.written() for record in session.attempts],
        "result": {
            "survivors": list(cohort.survivors()),
            "sum": total,
            "model": None if model is None else model.hex(),
            "certificate": None
            if certificate is None
            else msgspec.msgpack.encode(certificate).hex(),
            "model_hash": None if certificate is None else certificate.model_hash.hex(),
            "abandonment": None
            if abandonment is None
            else msgspec.msgpack.encode(abandonment).hex(),
        },
    }


def _config(policy: Any) -> Document:
    """What ``Config`` takes from a vector, as it came out."""
    whole = msgspec.to_builtins(policy)
    names = [member["name"] for member in whole["roster"]]
    return {key: names if key == "hospitals" else whole[key] for key in Config.__struct_fields__}


def _arguments(item: Any, kinds: Any) -> Any:
    """The arguments of an operation, out of a JSON object that says what came of it, too."""
    if not isinstance(item, dict):
        raise VectorError(f"an operation is an object, not {item!r}")
    wanted = {kind.__struct_config__.tag: kind for kind in kinds.__args__}
    name = item["operation"]
    if name not in wanted:
        raise VectorError(f"no operation is called {name!r}")
    fields = {"operation", *wanted[name].__struct_encode_fields__}
    return msgspec.convert({key: item[key] for key in item if key in fields}, kinds)


def _told(operation: Any, outcome: Document) -> Document:
    """What was asked for, and then what came of it."""
    asked: Document = msgspec.to_builtins(operation)
    if asked.keys() & outcome.keys():
        raise TypeError(f"{asked['operation']}: an outcome is called as an argument")
    return {**asked, **outcome}


def _primitives(config: Any, seed: bytes, listed: Any) -> Document:
    root = SeededRandomness(seed)
    operations = []
    for place, item in enumerate(listed):
        operation = _arguments(item, Primitives)
        operations.append(_told(operation, operation.outcome(root.fork(u64(place)))))
    if config != {} or not operations:
        raise VectorError("primitives need operations, and no config")
    return {"checks": [], "config": {}, "inputs": {}, "operations": operations, "result": {}}


_KINDS: Final[Mapping[str, Callable[[Any, bytes, Any], Document]]] = {
    "session": _session,
    "primitives": _primitives,
}
