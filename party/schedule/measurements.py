"""Which FHIR Observations are read, by LOINC code, and the unit that a record has them in.

Units are UCUM codes. One that is not listed refuses the bundle: a number in the wrong unit would be
trained on as if it were right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import Final

from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.observation import Observation
from fhir.resources.R4B.quantity import Quantity

LOINC: Final = "http://loinc.org"
_ANNOTATION: Final = re.compile(r"\{[^}]*\}")


class ElementError(ValueError):
    """An element of a resource cannot be read. The text names it and the problem, never a value."""


@dataclass(frozen=True, slots=True)
class _Unit:
    """From a UCUM unit to the record's: ``value * factor + summand``."""

    code: str
    factor: Decimal = Decimal(1)
    summand: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Measurement:
    """A number of the record. ``path``: its place there; ``loinc``: the codes that are read; the
    first unit is the record's.
    """

    path: str
    loinc: tuple[str, ...]
    units: tuple[_Unit, ...]


_PER_MINUTE: Final = (_Unit("/min"),)
_PRESSURE: Final = (_Unit("mm[Hg]"),)
_NANOGRAM_PER_LITRE: Final = (
    _Unit("ng/L"),
    _Unit("pg/mL"),
    _Unit("ng/mL", Decimal(1000)),
    _Unit("ug/L", Decimal(1000)),
)

MEASUREMENTS: Final = (
    Measurement("vitals.bp.systolic", ("8480-6",), _PRESSURE),
    Measurement("vitals.bp.diastolic", ("8462-4",), _PRESSURE),
    Measurement("vitals.hr", ("8867-4",), _PER_MINUTE),
    Measurement("vitals.rr", ("9279-1",), _PER_MINUTE),
    Measurement("vitals.spo2", ("59408-5", "2708-6"), (_Unit("%"),)),
    Measurement(
        "vitals.temp",
        ("8310-5", "8331-1"),
        (_Unit("Cel"), _Unit("[degF]", Decimal(5) / 9, Decimal(-160) / 9)),
    ),
    Measurement(
        "labs.wbc",
        ("6690-2", "26464-8"),
        (_Unit("/uL"), _Unit("10*3/uL", Decimal(1000)), _Unit("10*9/L", Decimal(1000))),
    ),
    Measurement("labs.crp", ("1988-5",), (_Unit("mg/L"), _Unit("mg/dL", Decimal(10)))),
    # Troponin T alone: values of T and I are not comparable. BNP, not NT-proBNP: the same.
    Measurement("labs.troponin", ("67151-1", "6598-7"), _NANOGRAM_PER_LITRE),
    Measurement("labs.bnp", ("30934-4", "42637-9"), _NANOGRAM_PER_LITRE),
    Measurement("labs.chol", ("2093-3",), (_Unit("mg/dL"), _Unit("mmol/L", Decimal("38.67")))),
)
_BY_LOINC: Final = {code: each for each in MEASUREMENTS for code in each.loinc}


def measured(observation: Observation) -> Iterator[tuple[str, float]]:
    """(path, number in the record's unit) of each measurement in ``observation``.

    Components count as well as the value: a blood pressure has two. What has no number (the reason
    may stand in dataAbsentReason) is left out. Raises ElementError.
    """
    yield from _number(observation.code, observation.valueQuantity, "")
    for position, component in enumerate(observation.component or ()):
        place = f"component[{position}]."
        yield from _number(component.code, component.valueQuantity, place)


def _number(
    code: CodeableConcept | None, quantity: Quantity | None, place: str
) -> Iterator[tuple[str, float]]:
    codings = (code and code.coding) or ()
    codes = [each.code for each in codings if each.system == LOINC]
    measurement = next((_BY_LOINC[each] for each in codes if each in _BY_LOINC), None)
    if measurement is None or quantity is None or quantity.value is None:
        return
    named = _ANNOTATION.sub("", quantity.code or quantity.unit or "")
    for unit in measurement.units:
        if unit.code == named:
            value = float(quantity.value * unit.factor + unit.summand)
            if not isfinite(value):
                raise ElementError(f"{place}valueQuantity.value: is too large")
            yield measurement.path, value
            return
    raise ElementError(
        f"{place}valueQuantity.code: {measurement.path} is read in "
        f"{', '.join(unit.code for unit in measurement.units)} (UCUM); export it in one of them"
    )
