"""The transcripts of all attempts, each a file that a reviewer can be handed.

``ROUND-ATTEMPT.transcript`` under one directory. A file is written anew and moved into its place,
so that it is whole at any time. docs/protocol.md, "Transcripts".
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Final, final

from secagg.errors import DecodeError
from secagg.transcript.record import Transcript, decode, encode
from secagg.transcript.recording import certified
from secagg.wire.messages import Certificate

_NAME: Final = re.compile(r"([0-9]+)-([0-9]+)\.transcript")


@final
class Archive:
    """The transcripts under ``directory``, which is made if need be. Blocking.

    ``masked_inputs``: where the masked inputs of certified attempts are kept; None: they are not.
    """

    def __init__(self, directory: Path, masked_inputs: Path | None = None) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._masked_inputs = masked_inputs

    def record(self, transcript: Transcript) -> None:
        """Write a transcript, in the place of an earlier one of the same attempt; it is on disk
        when this returns. Raises OSError.
        """
        attempt = transcript.attempt
        path = self._path(attempt.round, attempt.attempt)
        unfinished = path.with_suffix(".part")
        with unfinished.open("wb") as file:
            file.write(encode(transcript))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        _flush(self._directory)

    def certify(self, certificate: Certificate) -> None:
        """Add a certificate to the transcript of its attempt, if there is one. Raises OSError."""
        transcript = self.of_attempt(certificate.round, certificate.attempt)
        if transcript is not None and transcript.published is not None:
            self.record(certified(transcript, certificate))

    def of_attempt(self, number: int, attempt: int) -> Transcript | None:
        """The transcript of one attempt; None if it is not here or cannot be read."""
        try:
            return decode(self._path(number, attempt).read_bytes())
        except (FileNotFoundError, DecodeError):
            return None

    def of_round(self, number: int) -> bytes | None:
        """The bytes of a training round's transcript: its newest attempt's; None without one."""
        attempts = [
            int(name.group(2))
            for path in self._directory.iterdir()
            if (name := _NAME.fullmatch(path.name)) and int(name.group(1)) == number
        ]
        return self._path(number, max(attempts)).read_bytes() if attempts else None

    def keep_masked_inputs(self, number: int, attempt: int, spool: Path) -> None:
        """Move the masked inputs of a certified attempt here, if they are to be kept."""
        if self._masked_inputs is not None:
            self._masked_inputs.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.move(spool, self._masked_inputs / f"{number}-{attempt}")

    def _path(self, number: int, attempt: int) -> Path:
        return self._directory / f"{number}-{attempt}.transcript"


def _flush(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
