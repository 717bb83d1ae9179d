"""FHIR R4 resources as patients' records: Patient, Condition and Observation.

    record        from
    patient_id    Patient.id
    age           Patient.birthDate, in whole years; a month or day that is not given counts as 1
    sex           Patient.gender
    symptoms      Conditions, not ended, that the policy names as symptoms
    diagnosis     the newest other Condition that is an encounter-diagnosis, or of no category
    vitals, labs  the newest Observation of each kind that ``measurements`` knows

A patient without a diagnosis is left out, for a record needs one. Conditions that were refuted or
entered in error, and Observations that are not final, do not count.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any, Final, TypeVar

from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.condition import Condition
from fhir.resources.R4B.observation import Observation
from fhir.resources.R4B.patient import Patient
from fhir.resources.R4B.reference import Reference
from pydantic import ValidationError

from party.schedule.measurements import ElementError, measured
from secagg.schema import FeatureSchema, TermSetFeature, canonical_term

_DIAGNOSIS: Final = "encounter-diagnosis"
_NO_FINDING: Final = frozenset({"refuted", "entered-in-error"})
_ENDED: Final = frozenset({"inactive", "remission", "resolved"})
_FINAL: Final = frozenset({"final", "amended", "corrected"})
#: What SNOMED CT's full names end in: "Pneumonia (disorder)".
_SEMANTIC_TAG: Final = re.compile(r"\s*\([^()]*\)\s*\Z")
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)

T = TypeVar("T", Patient, Condition, Observation)


class ResourceError(ValueError):
    """A resource cannot be read. The text names its place and the element, never a value."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The terms that the policy knows, in canonical spelling."""

    symptoms: Collection[str]
    diagnoses: Collection[str]

    @classmethod
    def of(cls, schema: FeatureSchema) -> Vocabulary:
        """Those of the schema's symptoms and of its diagnosis classes."""
        return cls(
            {
                term
                for feature in schema.features
                if isinstance(feature, TermSetFeature) and feature.path == "symptoms"
                for term in feature.classes + feature.baseline
            },
            {term for each in schema.diagnosis.classes for term in each.terms},
        )


@dataclass(slots=True)
class _Person:
    """One patient's record in the making; what is newer takes the place of what is older."""

    patient: Patient
    symptoms: list[str] = field(default_factory=list)
    diagnosis: tuple[datetime, bool, str] | None = None
    measurements: dict[str, tuple[datetime, float]] = field(default_factory=dict)

    def add_condition(self, condition: Condition, vocabulary: Vocabulary) -> None:
        """A symptom, a diagnosis, or neither."""
        terms = tuple(_terms(condition.code))
        if not terms or _is(condition.verificationStatus, _NO_FINDING):
            return
        symptom = _known(terms, vocabulary.symptoms)
        if symptom is not None:
            ended = _is(condition.clinicalStatus, _ENDED) or condition.abatementDateTime is not None
            if not ended and symptom not in self.symptoms:
                self.symptoms.append(symptom)
            return
        if condition.category and not any(_is(each, {_DIAGNOSIS}) for each in condition.category):
            return
        known = _known(terms, vocabulary.diagnoses)
        when = _instant(condition.recordedDate or condition.onsetDateTime)
        if self.diagnosis is None or (when, known is not None) > self.diagnosis[:2]:
            self.diagnosis = (when, known is not None, known or terms[0])

    def add_observation(self, observation: Observation) -> None:
        """Its measurements, unless newer ones are here. Raises ElementError."""
        if observation.status not in _FINAL:
            return
        period = observation.effectivePeriod
        when = _instant(
            observation.effectiveDateTime
            or observation.effectiveInstant
            or (period and (period.end or period.start))
            or observation.issued
        )
        for path, value in measured(observation):
            if path not in self.measurements or when >= self.measurements[path][0]:
                self.measurements[path] = (when, value)

    def record(self, on: date) -> dict[str, Any] | None:
        """The record as of the day ``on``; None without a diagnosis."""
        if self.diagnosis is None:
            return None
        record: dict[str, Any] = {"patient_id": self.patient.id}
        if self.patient.birthDate is not None:
            record["age"] = _age(self.patient.birthDate, on)
        if self.patient.gender is not None:
            record["sex"] = self.patient.gender
        record["symptoms"] = self.symptoms
        for path, (_, value) in sorted(self.measurements.items()):
            *parents, last = path.split(".")
            place = record
            for each in parents:
                place = place.setdefault(each, {})
            place[last] = value
        return record | {"diagnosis": self.diagnosis[2]}


@dataclass(frozen=True, slots=True)
class Found:
    """``records``: one of each patient with a diagnosis, in the bundle's order, as JSON objects.
    ``left_out``: how many patients have none.
    """

    records: Sequence[Mapping[str, Any]] = field(repr=False)
    left_out: int


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of a bundle. ``position``: of its entry, from 0. ``url``: its fullUrl."""

    position: int
    url: str | None
    content: Mapping[str, Any] = field(repr=False)


def read_records(resources: Sequence[Resource], vocabulary: Vocabulary, on: date) -> Found:
    """The records that ``resources`` hold, as of the day ``on``. Other kinds are not read.

    What belongs to a patient who is not among them is left out. Raises ResourceError.
    """
    people: list[_Person] = []
    references: dict[str, _Person] = {}
    for each in resources:
        if each.content.get("resourceType") == "Patient":
            person = _Person(_validated(Patient, each))
            if person.patient.id is None:
                raise ResourceError(f"entry {each.position} (Patient), id: is missing")
            reference = f"Patient/{person.patient.id}"
            if reference in references:
                raise ResourceError(f"entry {each.position} (Patient), id: stands here twice")
            people.append(person)
            references[reference] = person
            if each.url is not None:
                references[each.url] = person
    for each in resources:
        match each.content.get("resourceType"):
            case "Condition":
                condition = _validated(Condition, each)
                subject = _subject(condition.subject, references)
                if subject is not None:
                    subject.add_condition(condition, vocabulary)
            case "Observation":
                observation = _validated(Observation, each)
                subject = _subject(observation.subject, references)
                if subject is not None:
                    with _placed(each):
                        subject.add_observation(observation)
            case _:
                pass
    records = [record for person in people if (record := person.record(on)) is not None]
    return Found(records, len(people) - len(records))


def _validated(kind: type[T], resource: Resource) -> T:
    try:
        return kind.model_validate(resource.content)
    except RecursionError:
        raise ResourceError(
            f"entry {resource.position} ({kind.__name__}): is nested too deeply"
        ) from None
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        # What FHIR does not know has a name of its sender's making; it is not repeated.
        unknown = problem["type"] == "extra_forbidden"
        place = ".".join(map(str, problem["loc"][: -1 if unknown else None]))
        raise ResourceError(
            f"entry {resource.position} ({kind.__name__}){place and f', {place}'}: is not as FHIR "
            f"R4 has it ({problem['type']})"
        ) from None


@contextmanager
def _placed(resource: Resource) -> Iterator[None]:
    """Say in which entry an element could not be read."""
    try:
        yield
    except ElementError as error:
        kind = resource.content["resourceType"]
        raise ResourceError(f"entry {resource.position} ({kind}), {error}") from None


def _subject(reference: Reference | None, people: Mapping[str, _Person]) -> _Person | None:
    """Whom a relative, absolute or urn reference means; a version of it means the same."""
    if reference is None or reference.reference is None:
        return None
    target = reference.reference.partition("/_history/")[0]
    return people.get(target) or people.get("/".join(target.split("/")[-2:]))


def _terms(code: CodeableConcept | None) -> Iterator[str]:
    """What a condition is called, the sender's own words first, codes last."""
    if code is None:
        return
    codings = code.coding or ()
    for text in (code.text, *(each.display for each in codings), *(each.code for each in codings)):
        if text is not None and (term := _SEMANTIC_TAG.sub("", text).strip()):
            yield term


def _known(terms: Iterable[str], vocabulary: Collection[str]) -> str | None:
    return next((term for term in terms if canonical_term(term) in vocabulary), None)


def _is(concept: CodeableConcept | None, codes: Collection[str]) -> bool:
    return concept is not None and any(each.code in codes for each in concept.coding or ())


def _instant(when: datetime | date | str | None) -> datetime:
    """A moment to order by: of what is not given, the first."""
    if isinstance(when, str):
        when = _day(when)
    if isinstance(when, datetime):
        return when if when.tzinfo else when.replace(tzinfo=UTC)
    return _EARLIEST if when is None else datetime.combine(when, time.min, UTC)


def _day(text: str) -> date:
    """Of what FHIR allows and Python's dates do not: a year, a year and a month, a leap second."""
    year, month, day = [*map(int, text[:10].split("-")), 1, 1][:3]
    return date(year, month, day)


def _age(birth: date | str, on: date) -> int:
    born = _day(birth) if isinstance(birth, str) else birth
    return on.year - born.year - ((on.month, on.day) < (born.month, born.day))
