"""The consortium on disk: keys, certificates and policy as ``secagg init`` makes them, and data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.demo.plan import Plan
from benchmarks.ehr import request_body
from benchmarks.heart_disease import dataset
from benchmarks.heart_disease.dataset import HOSPITALS, JsonRecord
from benchmarks.heart_disease.policy import (
    CORRUPT,
    DROPOUTS,
    MIN_SURVIVORS,
    Target,
    model_spec,
    schema,
)
from secagg.enrollment.key_files import FERNET_KEY
from secagg.policy import NoiseSpec
from server.consortium import Created, create
from server.policy_template import Template

TEST: Final = "test.jsonl"
BATCH: Final = "batch.json"
"""The body of a hospital's first request, in its directory."""


@dataclass(frozen=True, slots=True)
class Posting:
    """How one hospital's EHR reaches round 1: the key that it encrypts with, its ready request."""

    fernet_key_file: Path
    batch_file: Path


def template(target: Target | None, rounds: int) -> Template:
    """The policy of the four hospitals, before it names them, for ``rounds`` equal rounds."""
    spec = model_spec()
    return Template(
        corrupt=CORRUPT,
        dropouts=DROPOUTS,
        min_survivors=MIN_SURVIVORS,
        noise=target.noise(spec, rounds) if target else NoiseSpec(),
        model=spec,
        features=schema(),
    )


def set_up(directory: Path, plan: Plan) -> Created:
    """Make the consortium in ``directory`` (new or empty), and bring each hospital its records.

    Every hospital's own budget is exactly what the planned rounds cost. Raises CommandError.
    """
    created = _create(directory, plan, ehr=False)
    for name, train, test in _records(plan):
        home = created.hospitals[name].parent
        _write_records(home / "train.jsonl", train)
        _write_records(home / TEST, test)
    return created


def set_up_for_posting(directory: Path, plan: Plan) -> tuple[Created, Mapping[str, Posting]]:
    """The same, but nodes wait for what is posted: each hospital's records in a ready request."""
    created = _create(directory, plan, ehr=True)
    postings = {}
    for name, train, test in _records(plan):
        home = created.hospitals[name].parent
        posting = postings[name] = Posting(home / FERNET_KEY, home / BATCH)
        posting.batch_file.write_bytes(request_body(train, posting.fernet_key_file, 1))
        _write_records(home / TEST, test)
    return created, postings


def _create(directory: Path, plan: Plan, *, ehr: bool) -> Created:
    return create(
        directory,
        HOSPITALS,
        template(plan.target, plan.rounds),
        consortium="heart-disease",
        rounds=plan.rounds,
        epsilon=plan.target.epsilon if plan.target else "1",
        test_records=not ehr,
        ehr=ehr,
    )


def _records(plan: Plan) -> Iterator[tuple[str, list[JsonRecord], list[JsonRecord]]]:
    """By hospital: records to train on, in an order by the plan's seed, and to test with."""
    order = np.random.default_rng(plan.seed)
    for name, split in dataset.load().items():
        shuffled = [split.train[i].record for i in order.permutation(len(split.train))]
        yield name, shuffled, [row.record for row in split.test]


def _write_records(path: Path, records: Iterable[JsonRecord]) -> None:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
