"""From records to rows of numbers, by the schema that the policy pins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from party.training.records import Record, RecordError
from secagg.schema import (
    ChoiceFeature,
    Feature,
    FeatureSchema,
    NumericFeature,
    TermSetFeature,
    canonical_term,
    real,
)


@dataclass(frozen=True, slots=True, repr=False)
class Batch:
    """Patients as numbers, one row each, every patient once.

    features: float64, (patients, schema.feature_count). classes: int64, (patients,), indices into
    ``schema.class_names``.
    """

    features: NDArray[np.float64]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.classes)


def read_batch(records: Sequence[Record], schema: FeatureSchema) -> Batch:
    """The rows of ``records``, in their order.

    One patient may stand in a batch once: twice would double what that patient can change.
    Raises ``RecordError`` for the first record that does not fit, or that repeats a patient.
    """
    seen: set[str] = set()
    features = np.zeros((len(records), schema.feature_count))
    classes = np.zeros(len(records), dtype=np.int64)
    for position, record in enumerate(records):
        if record.patient_id in seen:
            raise RecordError(
                "patient_id",
                "the same patient stands in this batch twice; send one record per patient",
                position=position,
                patient_id=record.patient_id,
            )
        seen.add(record.patient_id)
        try:
            features[position] = feature_vector(record, schema)
        except RecordError as error:
            raise RecordError(
                error.field, error.problem, position=position, patient_id=record.patient_id
            ) from None
        classes[position] = schema.diagnosis.class_of(record.diagnosis)
    return Batch(features, classes)


def feature_vector(record: Record, schema: FeatureSchema) -> NDArray[np.float64]:
    """The ``schema.feature_count`` columns of one record.

    Raises ``RecordError`` for a value of the wrong type or outside its plausible range.
    """
    columns: list[float] = []
    for feature in schema.features:
        columns += _columns(feature, _value_at(record, feature.path))
    return np.array(columns)


def _value_at(record: Record, path: str) -> object:
    root, *keys = path.split(".")
    value: object = getattr(record, root)
    for depth, key in enumerate(keys):
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise RecordError(".".join([root, *keys[:depth]]), "is not an object")
        value = value.get(key)
    return value


def _columns(feature: Feature, value: object) -> list[float]:
    match feature:
        case NumericFeature():
            return _numeric(feature, value)
        case ChoiceFeature():
            return _choice(feature, value)
        case TermSetFeature():
            return _term_set(feature, value)


def _numeric(feature: NumericFeature, value: object) -> list[float]:
    number = real(feature.default)
    missing = value is None or value == ""
    if not missing:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RecordError(feature.path, "is not a number")
        if not real(feature.minimum) <= value <= real(feature.maximum):
            raise RecordError(
                feature.path, f"is outside {feature.minimum} to {feature.maximum}; check the unit"
            )
        number = float(value)
    limit = real(feature.limit)
    scaled = (number - real(feature.centre)) / real(feature.half_range)
    column = min(max(scaled, -limit), limit)
    if not feature.has_missing_indicator:
        return [column]
    return [column, real(feature.missing_indicator) if missing else 0.0]


def _choice(feature: ChoiceFeature, value: object) -> list[float]:
    if isinstance(value, float) or not isinstance(value, str | int | None):
        raise RecordError(feature.path, "is not a term (a string, a boolean or an integer)")
    term = canonical_term(str(value)) if value is not None else ""
    return _indicators(feature, {term or feature.default})


def _term_set(feature: TermSetFeature, value: object) -> list[float]:
    terms = [] if value is None else value
    if not isinstance(terms, list | tuple) or not all(isinstance(each, str) for each in terms):
        raise RecordError(feature.path, "is not a list of strings")
    return _indicators(feature, {canonical_term(each) for each in terms})


def _indicators(feature: ChoiceFeature | TermSetFeature, terms: set[str]) -> list[float]:
    on, off = real(feature.on), real(feature.off)
    columns = [on if each in terms else off for each in feature.classes]
    if feature.other:
        unknown = terms.difference(feature.classes, feature.baseline, {""})
        columns.append(on if unknown else 0.0)
    return columns
