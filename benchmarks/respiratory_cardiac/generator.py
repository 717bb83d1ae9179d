"""Invented patients, for trying things out and for measuring time; never for clinical conclusions.

A diagnosis is drawn by the hospital's mix, then everything else by the diagnosis's ``PROFILES``:
each symptom on its own, each number from a normal distribution (laboratory values: a log-normal
one), cut to what is plausible. The figures are rough textbook pictures written down for this
purpose. No data set of patients stands behind them, and ids begin with ``SYNTHETIC``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import log
from typing import Any, Final

import numpy as np

from server.policy_template import Template, find_template

JsonRecord = dict[str, Any]


class Hospital(StrEnum):
    """Four invented hospitals, each with a mix of diagnoses of its own."""

    NORTH = "north"
    EAST = "east"
    SOUTH = "south"
    WEST = "west"


HOSPITALS: Final = tuple(Hospital)

_BACKGROUND: Final = 0.06
"""Probability of a symptom that does not belong to the diagnosis."""

_MISSING: Final = {
    **dict.fromkeys(("systolic", "diastolic", "hr"), 0.05),
    **dict.fromkeys(("temp", "spo2", "rr", "wbc"), 0.2),
    **dict.fromkeys(("crp", "troponin", "bnp"), 0.5),
}
"""Probability that nobody measured it."""

_SYMPTOMS: Final = (
    *("fever", "cough", "sputum", "shortness of breath", "wheezing", "sore throat"),
    *("runny nose", "fatigue", "chest pain", "palpitations", "leg swelling", "dizziness"),
    *("headache", "back pain"),  # not listed in the template: other
)

_Number = tuple[float, float]
"""Mean and deviation; of a laboratory value: median and the logarithm's deviation."""


@dataclass(frozen=True, slots=True)
class Profile:
    """How patients with one diagnosis tend to look; what is not stated is as in the healthy.

    share: of the patients, before the hospital's mix. symptoms: probability by name.
    """

    share: float
    age: _Number
    symptoms: Mapping[str, float]
    vitals: Mapping[str, _Number] = field(default_factory=dict)
    labs: Mapping[str, _Number] = field(default_factory=dict)


_VITALS: Final[Mapping[str, _Number]] = {
    "systolic": (126, 15),
    "diastolic": (79, 9),
    "hr": (76, 11),
    "temp": (36.8, 0.3),
    "spo2": (97.5, 1.0),
    "rr": (15, 2),
}
_LABS: Final[Mapping[str, _Number]] = {
    "wbc": (7200, 0.25),
    "crp": (3, 0.9),
    "troponin": (6, 0.5),
    "bnp": (35, 0.7),
}
_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "age": (18, 100),
    "systolic": (60, 250),
    "diastolic": (30, 150),
    "hr": (30, 220),
    "temp": (34, 42),
    "spo2": (60, 100),
    "rr": (6, 60),
    "wbc": (500, 60_000),
    "crp": (0, 600),
    "troponin": (3, 20_000),
    "bnp": (5, 20_000),
}

PROFILES: Final[Mapping[str, Profile]] = {
    "back pain": Profile(0.15, (48, 18), {"back pain": 0.8, "fatigue": 0.15}),
    "respiratory infection": Profile(
        0.22,
        (42, 18),
        {"cough": 0.75, "sore throat": 0.55, "runny nose": 0.6, "fever": 0.4, "headache": 0.3},
        {"temp": (37.5, 0.6), "hr": (84, 12)},
        {"wbc": (8800, 0.25), "crp": (12, 0.8)},
    ),
    "pneumonia": Profile(
        0.13,
        (62, 17),
        {"fever": 0.75, "cough": 0.85, "sputum": 0.6, "shortness of breath": 0.6, "fatigue": 0.5},
        {"temp": (38.3, 0.7), "hr": (98, 15), "spo2": (92.5, 3), "rr": (22, 4)},
        {"wbc": (13_500, 0.3), "crp": (110, 0.6)},
    ),
    "COPD": Profile(
        0.12,
        (66, 11),
        {"wheezing": 0.7, "shortness of breath": 0.8, "cough": 0.6, "sputum": 0.4},
        {"spo2": (92, 3), "rr": (21, 4), "hr": (88, 13)},
        {"crp": (8, 0.9)},
    ),
    "myocardial infarction": Profile(
        0.1,
        (65, 12),
        {"chest pain": 0.85, "shortness of breath": 0.35, "dizziness": 0.2},
        {"systolic": (136, 22), "hr": (85, 16)},
        {"troponin": (240, 1.2), "wbc": (10_000, 0.25), "bnp": (130, 0.9)},
    ),
    "heart failure": Profile(
        0.11,
        (74, 10),
        {"shortness of breath": 0.85, "leg swelling": 0.7, "fatigue": 0.6},
        {"hr": (88, 16), "spo2": (93.5, 3), "rr": (20, 4)},
        {"bnp": (750, 0.8), "troponin": (22, 0.7)},
    ),
    "atrial fibrillation": Profile(
        0.08,
        (70, 11),
        {"palpitations": 0.8, "dizziness": 0.4, "fatigue": 0.3},
        {"hr": (118, 22)},
        {"bnp": (160, 0.8)},
    ),
    "hypertension": Profile(
        0.09,
        (60, 13),
        {"headache": 0.4, "dizziness": 0.3},
        {"systolic": (166, 15), "diastolic": (98, 9)},
    ),
}


def patients(hospital: Hospital, count: int, seed: int) -> list[JsonRecord]:
    """``count`` synthetic records of ``hospital`` as an EHR would send them.

    The same arguments give the same patients; those of another seed are others. The hospital's
    mix of diagnoses does not depend on the seed.
    """
    place = HOSPITALS.index(hospital)
    shares = np.array([profile.share for profile in PROFILES.values()])
    shares *= np.random.default_rng(place).uniform(0.5, 1.5, len(shares))
    rng = np.random.default_rng((seed, place))
    drawn = rng.choice(len(PROFILES), size=count, p=shares / shares.sum())
    names = list(PROFILES)
    return [
        _patient(f"SYNTHETIC-{hospital}-{seed}-{number}", names[which], rng)
        for number, which in enumerate(drawn)
    ]


def template() -> Template:
    """The shipped policy template that these records are for."""
    return find_template("respiratory-cardiac")


def _patient(patient_id: str, diagnosis: str, rng: np.random.Generator) -> JsonRecord:
    profile = PROFILES[diagnosis]
    chances = [profile.symptoms.get(symptom, _BACKGROUND) for symptom in _SYMPTOMS]
    present = rng.random(len(_SYMPTOMS)) < chances
    vitals = {name: rng.normal(*profile.vitals.get(name, usual)) for name, usual in _VITALS.items()}
    labs: dict[str, float] = {}
    for name, usual in _LABS.items():
        median, deviation = profile.labs.get(name, usual)
        labs[name] = rng.lognormal(log(median), deviation)
    kept = {
        name: _plausible(name, value, digits=1 if name == "temp" else 0)
        for name, value in (vitals | labs).items()
        if rng.random() >= _MISSING[name]
    }
    record: JsonRecord = {
        "patient_id": patient_id,
        "age": _plausible("age", rng.normal(*profile.age)),
        "sex": "female" if rng.random() < 0.5 else "male",
        "symptoms": [s for s, has in zip(_SYMPTOMS, present.tolist(), strict=True) if has],
        "vitals": {name: kept[name] for name in ("hr", "temp", "spo2", "rr") if name in kept},
        "labs": {name: kept[name] for name in _LABS if name in kept},
        "diagnosis": diagnosis,
    }
    if "systolic" in kept and "diastolic" in kept:
        record["vitals"]["bp"] = f"{kept['systolic']}/{kept['diastolic']}"
    return record


def _plausible(name: str, value: float, digits: int = 0) -> float | int:
    low, high = _RANGES[name]
    cut = round(min(max(value, low), high), digits)
    return cut if digits else int(cut)
