"""FHIR R4 resources as an EHR exports them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Resource = dict[str, Any]

CATEGORY = "http://terminology.hl7.org/CodeSystem/condition-category"


def patient(name: str, **changes: Any) -> Resource:
    return {
        "resourceType": "Patient",
        "id": name,
        "birthDate": "1980-05-02",
        "gender": "female",
        **changes,
    }


def concept(text: str, *codings: Resource) -> Resource:
    return {"text": text, "coding": list(codings)} if codings else {"text": text}


def condition(
    name: str, text: str, category: str | None = "encounter-diagnosis", **changes: Any
) -> Resource:
    categories = [{"coding": [{"system": CATEGORY, "code": category}]}] if category else None
    resource = {
        "resourceType": "Condition",
        "subject": {"reference": f"Patient/{name}"},
        "code": concept(text),
        "recordedDate": "2026-01-10",
        **({"category": categories} if categories else {}),
    }
    return resource | changes


def quantity(value: float, unit: str) -> Resource:
    return {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}


def loinc(code: str) -> Resource:
    return {"coding": [{"system": "http://loinc.org", "code": code}]}


def observation(name: str, code: str, value: float, unit: str, **changes: Any) -> Resource:
    return {
        "resourceType": "Observation",
        "status": "final",
        "subject": {"reference": f"Patient/{name}"},
        "code": loinc(code),
        "effectiveDateTime": "2026-01-10T09:00:00+01:00",
        "valueQuantity": quantity(value, unit),
        **changes,
    }


def blood_pressure(name: str, systolic: float, diastolic: float, **changes: Any) -> Resource:
    panel = observation(name, "85354-9", 0, "mm[Hg]", **changes)
    del panel["valueQuantity"]
    return panel | {
        "component": [
            {"code": loinc("8480-6"), "valueQuantity": quantity(systolic, "mm[Hg]")},
            {"code": loinc("8462-4"), "valueQuantity": quantity(diastolic, "mm[Hg]")},
        ]
    }


def bundle(path: Path, *resources: Resource) -> Path:
    """A file with these resources, as a collection."""
    entries = [{"fullUrl": f"urn:uuid:{i}", "resource": each} for i, each in enumerate(resources)]
    path.write_text(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}))
    return path
