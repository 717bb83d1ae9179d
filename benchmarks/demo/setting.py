"""The consortium on disk: keys, certificates and policy as ``secagg init`` makes them, and data."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmarks.demo.plan import Plan
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
from secagg.policy import NoiseSpec
from server.consortium import Created, Template, create


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
    created = create(
        directory,
        HOSPITALS,
        template(plan.target, plan.rounds),
        consortium="heart-disease",
        rounds=plan.rounds,
        epsilon=plan.target.epsilon if plan.target else "1",
        test_records=True,
    )
    order = np.random.default_rng(plan.seed)
    for name, split in dataset.load().items():
        home = created.hospitals[name].parent
        shuffled = [split.train[i].record for i in order.permutation(len(split.train))]
        _write_records(home / "train.jsonl", shuffled)
        _write_records(home / "test.jsonl", (row.record for row in split.test))
    return created


def _write_records(path: Path, records: Iterable[JsonRecord]) -> None:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
