"""Every key of a hospital, made where it stays, and the enrollment that goes to the consortium."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from party import certificates
from party.new_files import refuse_existing, write_new
from secagg.cli import CommandError, ExitCode
from secagg.crypto.randomness import Randomness
from secagg.crypto.signatures import IdentityKey
from secagg.enrollment.document import Enrollment
from secagg.enrollment.key_files import HospitalSecrets
from secagg.enrollment.settings import TLS_KEY
from secagg.policy import Name


@dataclass(frozen=True, slots=True)
class Made:
    """The enrollment, and the file that is to be sent."""

    enrollment: Enrollment
    path: Path


def make(name: str, directory: Path, randomness: Randomness) -> Made:
    """Make the keys of the hospital ``name`` in ``directory``, and its enrollment beside them.

    Raises CommandError, before anything is written, if the name will not do or a file exists.
    """
    _check_name(name)
    secrets = HospitalSecrets.generate(randomness)
    tls = certificates.request(name)
    enrollment = Enrollment.signed(name, IdentityKey(secrets.identity), tls.request.decode("ascii"))
    path = directory / f"{name}.enrollment.json"
    private = {**secrets.files(), TLS_KEY: tls.private_key}
    refuse_existing(directory, (*private, path.name))
    write_new(directory, {path.name: enrollment.encoded()}, private)
    return Made(enrollment, path)


def _check_name(name: str) -> None:
    try:
        msgspec.convert(name, Name)
    except msgspec.ValidationError:
        raise CommandError(
            f"{name!r} cannot be a hospital's name on a roster.",
            "Use small letters, digits and hyphens, a letter or digit first, 63 at most.",
            ExitCode.USAGE,
        ) from None
