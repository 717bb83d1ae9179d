"""Policies without their people: in files of the user's, or one of those that come along."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal

import msgspec

from secagg.cli import CommandError, ExitCode
from secagg.errors import DecodeError
from secagg.model import ModelSpec
from secagg.policy import SCHEMA, SUITE, Member, NoiseSpec, Policy, VectorSpec, checked
from secagg.schema import FeatureSchema

_SHIPPED: Final = files("server") / "templates"
_SUFFIX: Final = ".json"


class Template(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A policy without its people: everything but ``consortium``, ``server_key`` and ``roster``.

    Thresholds left out follow from the number n of hospitals: ``corrupt`` is n // 5, at least 1;
    ``min_survivors`` the least that the policy allows; ``dropouts`` all the others. A ``vector``
    left out is the one that the model's contributions need. ``features`` may be left out if
    ``noise.unit`` is hospital, for then nodes read no records.
    """

    schema: Literal["secagg-policy/1"] = SCHEMA
    suite: Literal["secagg-suite-1"] = SUITE
    version: int = 1
    corrupt: int | None = None
    dropouts: int | None = None
    min_survivors: int | None = None
    graph: Literal["complete"] = "complete"
    vector: VectorSpec | None = None
    noise: NoiseSpec
    model: ModelSpec
    features: FeatureSchema | None = None
    max_charged_attempts: int = 3
    verification: Literal["published", "recompute"] = "published"

    @property
    def record_features(self) -> FeatureSchema:
        """How records are read. Raises LookupError in a template for updates alone."""
        if self.features is None:
            raise LookupError("this template is for policies whose nodes read no records")
        return self.features

    def policy(self, consortium: str, server_key: bytes, roster: Mapping[str, bytes]) -> Policy:
        """The policy of these people, checked; ``roster``: public identity keys by name, in order.

        Raises DecodeError saying which bound failed.
        """
        if self.features is None and self.noise.unit == "patient":
            raise DecodeError("features are missing: nodes need them to read patients' records")
        n = len(roster)
        corrupt = max(1, n // 5) if self.corrupt is None else self.corrupt
        threshold = (n + corrupt) // 2 + 1
        least = max(threshold, corrupt + 2, 3)
        survivors = least if self.min_survivors is None else self.min_survivors
        dropouts = max(n - survivors, 0) if self.dropouts is None else self.dropouts
        rule = self.model.contribution
        needed = VectorSpec(self.model.dimension, rule.coordinate_bound, rule.scale)
        return checked(
            Policy(
                schema=self.schema,
                suite=self.suite,
                consortium=consortium,
                version=self.version,
                server_key=server_key.hex(),
                roster=tuple(Member(name, key.hex()) for name, key in roster.items()),
                corrupt=corrupt,
                dropouts=dropouts,
                min_survivors=survivors,
                graph=self.graph,
                vector=self.vector or needed,
                noise=self.noise,
                model=self.model,
                features=self.features,
                max_charged_attempts=self.max_charged_attempts,
                verification=self.verification,
            )
        )


def shipped() -> list[str]:
    """The names of the templates that come along, such as ``heart-disease``."""
    return sorted(
        entry.name.removesuffix(_SUFFIX).replace("_", "-")
        for entry in _SHIPPED.iterdir()
        if entry.name.endswith(_SUFFIX)
    )


def find_template(name: str) -> Template:
    """The template that comes along under ``name``, or else the one in the file ``name``.

    Raises CommandError.
    """
    if name in shipped():
        return _decoded((_SHIPPED / (name.replace("-", "_") + _SUFFIX)).read_bytes(), name)
    return read_template(Path(name))


def read_template(path: Path) -> Template:
    """The template in the JSON file ``path``. Raises CommandError naming the field that is wrong.

    A policy.json without consortium, server_key and roster is one.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unusable(str(path), error) from None
    return _decoded(data, str(path))


def _decoded(data: bytes, name: str) -> Template:
    try:
        return msgspec.json.decode(data, type=Template)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unusable(name, error) from None


def _unusable(name: str, error: Exception) -> CommandError:
    return CommandError(
        f"The policy template {name} cannot be used: {error}.",
        f"It is a policy as JSON, without consortium, server_key and roster; or one of those that "
        f"come along: {', '.join(shipped())}.",
        ExitCode.USAGE,
    )
