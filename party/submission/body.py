"""The body of a submission, as an EHR's scripts post it.

    {"patient_data_list": [{"patient_id": "PATIENT_001", "encrypted_data": "<Fernet token>",
                            "ipfs_cid": "QmV5koooi...", "data_hash": "<SHA-256 in hex>"}],
     "round_number": 5}

``ipfs_cid`` may be anything or absent: nothing is done with it. Other members are not read either,
so that a script which sends more than is needed goes on working.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec

from party.training.records import MAX_TEXT

MAX_ROUND: Final = 2**53
"""The highest number that every JSON reader takes for what it is."""

_Round = Annotated[int, msgspec.Meta(ge=1, le=MAX_ROUND)]
_Id = (
    Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
    | Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
)
_PLACE: Final = re.compile(r"(?P<problem>.*) - at (?:`key` in )?`\$\.?(?P<field>[^`]*)`", re.DOTALL)


class BodyError(ValueError):
    """The body is not a submission. The text names the place and the problem, never a value.

    field: such as ``patient_data_list[3].data_hash``; "" for the body as a whole.
    """

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(f"{field or 'the body'}: {problem}")


class PatientData(msgspec.Struct, frozen=True):
    """One patient: who, the record's Fernet token, and SHA-256 of the plaintext's bytes in hex."""

    patient_id: _Id
    encrypted_data: str
    data_hash: str

    @property
    def name(self) -> str:
        """The patient's id as a record spells it: a number is its digits."""
        return str(self.patient_id).strip()

    def __repr__(self) -> str:
        return "PatientData(<redacted>)"


class SubmissionBody(msgspec.Struct, frozen=True):
    """A batch of patients, and the training round from which on it counts."""

    patient_data_list: Annotated[tuple[PatientData, ...], msgspec.Meta(min_length=1)]
    round_number: _Round

    def __repr__(self) -> str:
        return f"SubmissionBody({len(self.patient_data_list)} patients, {self.round_number})"


_DECODER: Final = msgspec.json.Decoder(SubmissionBody)


def decode_body(data: bytes) -> SubmissionBody:
    """The submission whose JSON is ``data``. Raises BodyError.

    Of a member that stands twice in an object the last one counts, as everywhere in JSON.
    """
    try:
        return _DECODER.decode(data)
    except msgspec.ValidationError as error:
        raise _located(str(error)) from None
    except RecursionError:
        raise BodyError("", "is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BodyError("", "is not valid JSON in UTF-8; send what json.dumps makes") from None


def _located(message: str) -> BodyError:
    """Place and problem out of msgspec's message, which names types and limits but no values."""
    match = _PLACE.fullmatch(message)
    field, problem = (match["field"], match["problem"]) if match else ("", message)
    missing = re.fullmatch(r"Object missing required field `(\w+)`", problem)
    if missing:
        return BodyError(f"{field}.{missing[1]}".lstrip("."), "is missing")
    return BodyError(field, problem)
