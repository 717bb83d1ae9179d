"""A folder of encrypted batches, each a file with the body of a POST; taken in the order of names.

    FOLDER/*.json       waits: whole and unchanged for a while, or it is left alone
    FOLDER/taken/       on its way into the queue, with its round number in front of its name
    FOLDER/done/        the queue has it
    FOLDER/refused/     it can never be used; NAME.reason.txt says why

Each move is on the disk before the next step, so a process that dies goes on where it was. The
round number that stands in a file is not used: each batch gets the next one that is free.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final, NoReturn, final

import msgspec

from party.audit.events import Event, KeyPurpose, KeyUsed, RefusalReason, SubmissionRefused
from party.audit.log import AuditLog
from party.durable import flush_directory
from party.schedule.source import Claimed, NotYet, Refused, Stamp, read, stamp
from party.submission.admission import Admission, WrongSize
from party.submission.body import BodyError, decode_body
from party.submission.opening import OpeningError
from party.submission.posted import Posted

_TAKEN: Final = "taken"
_DONE: Final = "done"
_REFUSED: Final = "refused"
_MEND: Final = "Mend the batch, and put it back into the folder under a name that ends in .json."


@final
class Outbox:
    """``max_bytes``: of one file, as of one POST. ``audit`` is told what is opened and refused."""

    def __init__(
        self, folder: Path, admission: Admission, max_bytes: int, audit: AuditLog | None = None
    ) -> None:
        self._folder = folder
        self._admission = admission
        self._max_bytes = max_bytes
        self._audit = audit

    def found(self) -> Mapping[str, Stamp]:
        """Batches that a process before this one has taken, then those that wait."""
        with _explained(self._folder):
            for each in (_TAKEN, _DONE, _REFUSED):
                (self._folder / each).mkdir(mode=0o700, exist_ok=True)
            taken = sorted(f"{_TAKEN}/{each.name}" for each in (self._folder / _TAKEN).iterdir())
            waiting = sorted(
                each.name
                for each in self._folder.iterdir()
                if each.suffix == ".json" and not each.name.startswith(".")
            )
            stamps = {name: stamp(self._folder / name) for name in taken + waiting}
        return {name: each for name, each in stamps.items() if each is not None}

    def claim(self, name: str, number: int, due: datetime) -> Claimed:
        """Take the file, judge what is in it, and move it out of the way if it is refused."""
        with _explained(self._folder):
            directory, _, last = name.rpartition("/")
            if directory == _TAKEN:
                number = _number_in(last, number)
                place = self._folder / name
            else:
                place = self._moved(self._folder / name, _TAKEN, f"{number:09d}-{name}")
            data = read(place, self._max_bytes)
            if data is None:
                self._refuse(
                    place,
                    number,
                    RefusalReason.TOO_LARGE,
                    "the file is longer than max_body_bytes in [api] of party.toml",
                )
            return Claimed(self._judged(place, data, number), place.name)

    def handed_over(self, claimed: Claimed) -> None:
        """Move the file to where an operator may remove it."""
        with _explained(self._folder):
            self._moved(self._folder / _TAKEN / claimed.place, _DONE, claimed.place)

    def _judged(self, place: Path, data: bytes, number: int) -> Posted:
        """Raises Refused."""
        try:
            body = msgspec.structs.replace(decode_body(data), round_number=number)
            posted = self._admission.admit(msgspec.json.encode(body))
        except WrongSize as error:
            self._refuse(place, number, RefusalReason.TOO_MANY_PATIENTS, str(error))
        except BodyError as error:
            self._refuse(place, number, RefusalReason.MALFORMED, str(error))
        except OpeningError as error:
            self._refuse(place, number, RefusalReason(error.fault.value), str(error))
        self._tell(KeyUsed(KeyPurpose.VALIDATE_SUBMISSION, " ".join(posted.keys), number))
        return posted

    def _refuse(self, place: Path, number: int, reason: RefusalReason, problem: str) -> NoReturn:
        """Say why beside the file, which then lies among the refused ones. Raises Refused."""
        self._tell(SubmissionRefused(reason, number))
        refused = self._folder / _REFUSED / f"{place.name}.reason.txt"
        refused.write_text(f"{problem}.\n{_MEND}\n", encoding="utf-8")
        self._moved(place, _REFUSED, place.name)
        raise Refused(problem)

    def _moved(self, place: Path, directory: str, name: str) -> Path:
        """Move a file, and return when that is on the disk."""
        target = self._folder / directory / name
        place.rename(target)
        for each in (target.parent, place.parent):
            flush_directory(each)
        return target

    def _tell(self, event: Event) -> None:
        if self._audit is not None:
            self._audit.write(event)


def _number_in(name: str, fallback: int) -> int:
    """The round number in front of the name of a file that was taken."""
    digits = name.partition("-")[0]
    return int(digits) if digits.isascii() and digits.isdecimal() else fallback


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn what the file system refuses into a sentence for the operator."""
    try:
        yield
    except OSError as error:
        raise NotYet(
            f"the folder {folder} cannot be used: {error.strerror}. Let the node's user read and "
            f"write it and what is in it, or correct folder in [schedule] of party.toml"
        ) from None
