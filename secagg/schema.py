"""The feature schema that a policy pins: how a patient's record becomes a row of numbers.

Every constant here is public. Ranges, centres and defaults come from clinical knowledge and stand
in the policy, so that no statistic of the patients leaves a hospital outside the privacy mechanism.
There are no floats: a policy is hashed as canonical JSON, so each real number is a *decimal*, a
string such as ``"-0.5"``, which every platform reads as the same nearest float64.

The schema is data. Reading a record by it is the work of ``party.training``. A feature's ``path``
says where in the record its value stands: ``age``, ``sex``, ``symptoms``, ``vitals.hr``,
``vitals.bp.systolic``, ``labs.chol``; never the diagnosis, nor who the patient is.

    FeatureSchema            features (one or more columns each), diagnosis (classes to predict)
      NumericFeature         one number: plausible range, public centre, half-range and default
      ChoiceFeature          one term out of few (sex): an indicator column per class
      TermSetFeature         a list of terms (symptoms): an indicator column per class
      Diagnosis              terms -> classes, and the class that takes every other term

All structs refuse unknown fields when decoded, and validate themselves however they are made: a
violated rule raises ``ValueError`` (while decoding ``msgspec.ValidationError``, which is one) that
names the feature and its field.
"""

import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Final

import msgspec

MAX_FEATURES: Final = 4096
MAX_CLASSES: Final = 256
MAX_TERM_LENGTH: Final = 64

_DECIMAL: Final = re.compile(r"-?(0|[1-9][0-9]{0,11})(\.[0-9]{1,12})?")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_PATH: Final = re.compile(r"age|sex|symptoms|(vitals|labs)(\.[a-z][a-z0-9_]{0,63}){1,2}")
_NOT_ALPHANUMERIC: Final = re.compile(r"[\W_]+")


def decimal(text: str) -> Fraction:
    """The exact value of a policy's decimal, such as ``"-12.5"``.

    At most 12 digits on each side of the point, no exponent, no sign but ``-``.
    Raises ``ValueError`` for anything else.
    """
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text!r} is not a decimal: write it like '-12.5', without an exponent")
    return Fraction(text)


@lru_cache(maxsize=MAX_FEATURES)
def real(text: str) -> float:
    """The float64 nearest to a policy's decimal. Raises as ``decimal`` does."""
    return float(decimal(text))


def canonical_term(text: str) -> str:
    """One spelling for a clinical term: ``" Chest-Pain "`` -> ``"chest_pain"``.

    Compatibility forms and case are folded; whatever is no letter or digit becomes one underscore,
    and none at either end. The result may be empty (for ``"--"``).
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _NOT_ALPHANUMERIC.sub("_", unicodedata.normalize("NFKC", folded)).strip("_")


def check_name(what: str, name: str) -> None:
    """Raise ``ValueError`` unless ``name`` is lower-case snake case of at most 64 characters."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{what} {name!r}: use lower-case letters, digits and '_', a letter first")


def _check_place(name: str, path: str) -> None:
    check_name("feature", name)
    if not _PATH.fullmatch(path):
        raise ValueError(
            f"feature {name!r}: path {path!r} is no place of a record's features;"
            " write age, sex, symptoms, vitals.<name>, vitals.bp.systolic or labs.<name>"
        )


def _check_terms(owner: str, terms: tuple[str, ...]) -> None:
    if not 1 <= len(terms) <= MAX_CLASSES:
        raise ValueError(f"{owner}: needs 1 to {MAX_CLASSES} terms, has {len(terms)}")
    for term in terms:
        if not term or term != canonical_term(term) or len(term) > MAX_TERM_LENGTH:
            raise ValueError(
                f"{owner}: term {term!r} is not in canonical spelling;"
                f" write {canonical_term(term)[:MAX_TERM_LENGTH]!r}"
            )
    if len(set(terms)) != len(terms):
        raise ValueError(f"{owner}: the same term twice in {list(terms)}")


_DECIMALS: Final = (
    "minimum",
    "maximum",
    "centre",
    "half_range",
    "default",
    "limit",
    "missing_indicator",
)


class NumericFeature(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="numeric",
):
    """One number of the record; its column is ``(x - centre) / half_range`` within [-limit, limit].

    minimum, maximum: the plausible range, in the record's unit; a number outside is a mistake in
        the record and refuses it.
    centre, half_range: public clinical constants; ``half_range`` is positive.
    default: the public value assumed where the record has none; within the plausible range.
    limit: how many half-ranges from the centre still count; positive.
    missing_indicator: unless it is "0", adds a second column, which holds this value where the
        number is missing and 0 elsewhere.
    """

    name: str
    path: str
    minimum: str
    maximum: str
    centre: str
    half_range: str
    default: str
    limit: str = "1"
    missing_indicator: str = "0"

    def __post_init__(self) -> None:
        _check_place(self.name, self.path)
        owner = f"feature {self.name!r}"
        value = {field: _decimal_of(owner, field, getattr(self, field)) for field in _DECIMALS}
        if value["minimum"] >= value["maximum"]:
            raise ValueError(f"{owner}: minimum {self.minimum} is not below maximum {self.maximum}")
        for field in ("centre", "default"):
            if not value["minimum"] <= value[field] <= value["maximum"]:
                raise ValueError(f"{owner}: {field} lies outside {self.minimum}..{self.maximum}")
        for field in ("half_range", "limit"):
            if value[field] <= 0:
                raise ValueError(f"{owner}: {field} must be positive")

    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        if not self.has_missing_indicator:
            return (self.name,)
        return (self.name, f"{self.name}:missing")

    @property
    def has_missing_indicator(self) -> bool:
        """Whether there is a second column."""
        return real(self.missing_indicator) != 0


class ChoiceFeature(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="choice",
):
    """One term out of few: a column per class, ``on`` in the one the record names, else ``off``.

    The record's value may be a string, a boolean (the terms ``true`` and ``false``) or an integer.
    A class named in ``baseline`` is known but has no column: all columns are ``off``.
    other: adds a last column: ``on`` for a term that is neither class nor baseline, else 0.
    default: the class or baseline term assumed where the record has none; "" leaves all ``off``.
    """

    name: str
    path: str
    classes: tuple[str, ...]
    baseline: tuple[str, ...] = ()
    other: bool = False
    default: str = ""
    on: str = "1"
    off: str = "0"

    def __post_init__(self) -> None:
        owner = _check_indicators(self)
        if self.default and self.default not in self.classes + self.baseline:
            raise ValueError(f"{owner}: default {self.default!r} is no class or baseline")

    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return _indicator_columns(self.name, self.classes, self.other)


class TermSetFeature(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    tag="terms",
):
    """A list of terms: a column per class, ``on`` where the list has the term, else ``off``.

    A missing list is the empty one. Terms in ``baseline`` are known and have no column.
    other: adds a last column: ``on`` where a term is neither class nor baseline, else 0.
    """

    name: str
    path: str
    classes: tuple[str, ...]
    baseline: tuple[str, ...] = ()
    other: bool = True
    on: str = "1"
    off: str = "0"

    def __post_init__(self) -> None:
        _check_indicators(self)

    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return _indicator_columns(self.name, self.classes, self.other)


Feature = NumericFeature | ChoiceFeature | TermSetFeature


class DiagnosisClass(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One class to predict, and the record's terms that mean it (canonical spelling)."""

    name: str
    terms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name("diagnosis class", self.name)
        if self.terms:
            _check_terms(f"diagnosis class {self.name!r}", self.terms)


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is predicted. Every term of a record falls into exactly one class.

    classes: two or more; the first is the reference class, whose logit is fixed at 0.
    other: name of the class that takes a term which no class lists. With two classes this is a
        binary mapping ("heart disease" against the rest); with more, usually a class ``other``.
    """

    classes: tuple[DiagnosisClass, ...]
    other: str

    def __post_init__(self) -> None:
        names = [each.name for each in self.classes]
        if not 2 <= len(names) <= MAX_CLASSES:
            raise ValueError(f"diagnosis: needs 2 to {MAX_CLASSES} classes, has {len(names)}")
        if len(set(names)) != len(names):
            raise ValueError(f"diagnosis: the same class twice in {names}")
        if self.other not in names:
            raise ValueError(f"diagnosis: other {self.other!r} is not one of the classes {names}")
        terms = [term for each in self.classes for term in each.terms]
        if len(set(terms)) != len(terms):
            raise ValueError("diagnosis: one term stands in two classes")

    def class_of(self, term: str) -> int:
        """Index of the class that a record's term (in any spelling) falls into."""
        wanted = canonical_term(term)
        for index, each in enumerate(self.classes):
            if wanted in each.terms:
                return index
        return next(i for i, each in enumerate(self.classes) if each.name == self.other)


class FeatureSchema(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The features in column order, and the diagnosis. Feature names are distinct."""

    features: tuple[Feature, ...]
    diagnosis: Diagnosis

    def __post_init__(self) -> None:
        if not self.features:
            raise ValueError("schema: needs at least one feature")
        seen: set[str] = set()
        for feature in self.features:
            if feature.name in seen:
                raise ValueError(f"schema: two features are named {feature.name!r}")
            seen.add(feature.name)
        if self.feature_count > MAX_FEATURES:
            raise ValueError(f"schema: {self.feature_count} columns, at most {MAX_FEATURES}")

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Column names in order: ``age``, ``chol:missing``, ``sex=female``, ``symptoms=other``."""
        return tuple(self._columns())

    @property
    def feature_count(self) -> int:
        """Number of columns of a feature vector; the intercept is the model's and not counted."""
        return sum(1 for _ in self._columns())

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the diagnosis classes; the first is the reference class."""
        return tuple(each.name for each in self.diagnosis.classes)

    @property
    def class_count(self) -> int:
        """Number of diagnosis classes, at least 2."""
        return len(self.diagnosis.classes)

    def _columns(self) -> Iterator[str]:
        for feature in self.features:
            yield from feature.columns()


def _decimal_of(owner: str, field: str, text: str) -> Fraction:
    try:
        return decimal(text)
    except ValueError as error:
        raise ValueError(f"{owner}: {field}: {error}") from None


def _check_indicators(feature: "ChoiceFeature | TermSetFeature") -> str:
    _check_place(feature.name, feature.path)
    owner = f"feature {feature.name!r}"
    if not feature.classes:
        raise ValueError(f"{owner}: needs at least one class")
    _check_terms(owner, feature.classes + feature.baseline)
    if feature.other and "other" in feature.classes:
        raise ValueError(f"{owner}: 'other' is the name of the last column, not of a class")
    if _decimal_of(owner, "on", feature.on) == _decimal_of(owner, "off", feature.off):
        raise ValueError(f"{owner}: on and off are the same value")
    return owner


def _indicator_columns(name: str, classes: tuple[str, ...], other: bool) -> tuple[str, ...]:
    known = tuple(f"{name}={each}" for each in classes)
    return (*known, f"{name}=other") if other else known
