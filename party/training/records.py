"""The record of one patient: what the hospital's own systems send, decoded and checked.

    {"patient_id": "P-17", "age": 45, "sex": "female", "symptoms": ["fever", "cough"],
     "vitals": {"bp": "120/80", "hr": 72}, "labs": {"wbc": 12000}, "diagnosis": "pneumonia"}

Only the patient's id (``patient_id`` or ``id``) and ``diagnosis`` are required. Other members of
the object are not read. What stands inside ``vitals`` and ``labs`` is checked when a feature reads
it.
"""

import re
from typing import Annotated, Any, Final

import msgspec

MAX_RECORD_BYTES: Final = 64 * 1024
MAX_TERMS: Final = 256
MAX_TEXT: Final = 256

_Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
_Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Id = _Text | _Integer
_PLACE: Final = re.compile(r"(?P<problem>.*) - at (?:`key` in )?`\$\.?(?P<field>[^`]*)`", re.DOTALL)
_BLOOD_PRESSURE: Final = re.compile(r"\s*([0-9]{1,3})\s*/\s*([0-9]{1,3})\s*", re.ASCII)


class RecordError(ValueError):
    """A record is refused. The text names the field and the problem, never a value or the patient.

    field: where in the record, such as ``vitals.bp``; "" for the record as a whole.
    problem: what is wrong and what was expected.
    position: index of the record in its batch, from 0.
    patient_id: for the answer to whoever sent the batch, not part of the text; None if unknown.
    """

    def __init__(
        self, field: str, problem: str, *, position: int = 0, patient_id: str | None = None
    ) -> None:
        self.field = field
        self.problem = problem
        self.position = position
        self.patient_id = patient_id
        place = f"record {position}, {field}" if field else f"record {position}"
        super().__init__(f"{place}: {problem}")


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One patient's record. ``vitals["bp"]`` is a mapping with ``systolic`` and ``diastolic``."""

    patient_id: str
    diagnosis: str
    age: float | None = None
    sex: str | bool | int | None = None
    symptoms: tuple[str, ...] = ()
    vitals: dict[str, Any] = {}  # msgspec copies an empty default
    labs: dict[str, Any] = {}

    def __repr__(self) -> str:
        return "Record(<redacted>)"


class _Wire(msgspec.Struct, frozen=True, kw_only=True):
    """The record as it is written, before aliases and spellings are resolved."""

    patient_id: _Id | None = None
    id: _Id | None = None
    diagnosis: _Text
    age: float | None = None
    sex: _Text | bool | _Integer | None = None
    symptoms: Annotated[tuple[_Text, ...], msgspec.Meta(max_length=MAX_TERMS)] | None = None
    vitals: dict[_Text, Any] | None = None
    labs: dict[_Text, Any] | None = None

    def __repr__(self) -> str:
        return "_Wire(<redacted>)"


_DECODER: Final = msgspec.json.Decoder(_Wire)


def decode_record(plaintext: bytes, position: int = 0) -> Record:
    """The record whose JSON is ``plaintext``, at ``position`` in its batch.

    Raises ``RecordError``: not JSON, over 64 KiB, a field of the wrong type, no id, two ids.
    """
    if len(plaintext) > MAX_RECORD_BYTES:
        raise RecordError("", f"longer than {MAX_RECORD_BYTES} bytes", position=position)
    try:
        wire = _DECODER.decode(plaintext)
    except msgspec.ValidationError as error:
        field, problem = _place(str(error))
        raise RecordError(field, problem, position=position) from None
    except RecursionError:
        raise RecordError("", "is nested too deeply", position=position) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RecordError(
            "",
            "is not valid JSON in UTF-8: encrypt what json.dumps makes, with null or nothing for a "
            "missing number (NaN is no JSON)",
            position=position,
        ) from None
    patient_id = _patient_id(wire, position)
    vitals = dict(wire.vitals or {})
    if isinstance(vitals.get("bp"), str):
        vitals["bp"] = _blood_pressure(vitals["bp"], position, patient_id)
    if not wire.diagnosis.strip():
        raise RecordError("diagnosis", "is empty", position=position, patient_id=patient_id)
    return Record(
        patient_id=patient_id,
        diagnosis=wire.diagnosis,
        age=wire.age,
        sex=wire.sex,
        symptoms=wire.symptoms or (),
        vitals=vitals,
        labs=wire.labs or {},
    )


def _patient_id(wire: _Wire, position: int) -> str:
    given = {str(each).strip() for each in (wire.patient_id, wire.id) if each is not None}
    if len(given) > 1:
        raise RecordError("id", "differs from patient_id; send one of them", position=position)
    if not given or given == {""}:
        raise RecordError("patient_id", "is missing; id is accepted too", position=position)
    return given.pop()


def _blood_pressure(text: str, position: int, patient_id: str) -> dict[str, int]:
    match = _BLOOD_PRESSURE.fullmatch(text)
    if not match:
        raise RecordError(
            "vitals.bp",
            'is not of the form "120/80"',
            position=position,
            patient_id=patient_id,
        )
    return {"systolic": int(match[1]), "diastolic": int(match[2])}


def _place(message: str) -> tuple[str, str]:
    """Field and problem out of msgspec's message, which names types and limits but no values."""
    match = _PLACE.fullmatch(message)
    if match:
        return match["field"], match["problem"]
    missing = re.fullmatch(r"Object missing required field `(\w+)`", message)
    return (missing[1], "is missing") if missing else ("", message)
