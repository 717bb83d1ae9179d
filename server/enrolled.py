"""A consortium of hospitals that made their own keys: enrollments in, answers out.

Whoever runs this sees public keys alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from secagg.cli import CommandError, ExitCode
from secagg.crypto.randomness import Randomness, SystemRandomness
from secagg.enrollment import document
from secagg.enrollment.answer import Answer
from secagg.enrollment.document import Enrollment
from secagg.errors import DecodeError
from secagg.policy import Policy
from server.certificate_request import RequestError, checked_request
from server.founding import Address, Founded, check_names, found
from server.new_files import make_directory, write_new
from server.policy_template import Template

ANSWERS: Final = "answers"
"""The directory with one file for each hospital, to be sent to it."""

_SYSTEM: Final = SystemRandomness()


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What is on disk now: the policy, server.toml, and each hospital's answer.

    ``fingerprints``: of the enrollments, by hospital, to be compared by telephone.
    """

    policy: Policy
    server: Path
    answers: Mapping[str, Path]
    fingerprints: Mapping[str, str]


def enroll(
    directory: Path,
    enrollments: Sequence[Path],
    template: Template,
    *,
    consortium: str = "consortium",
    server_host: str = "localhost",
    server_port: int = 8443,
    randomness: Randomness = _SYSTEM,
) -> Enrolled:
    """Make the consortium of those whose ``enrollments`` these files are, in ``directory``.

    ``directory`` must be new or empty. The roster has the order of the files. ``server_host``,
    ``server_port``: where hospitals reach the server. ``randomness`` makes the server's identity.

    Raises CommandError, before anything is written, for what does not fit together.
    """
    read = [_read(path) for path in enrollments]
    check_names([enrollment.name for enrollment in read])
    address = Address(server_host, server_port)
    roster = {enrollment.name: enrollment.public for enrollment in read}
    founded = found(directory, consortium, template, roster, address, randomness)
    make_directory(directory / ANSWERS)
    files = {f"{one.name}.answer.json": _answer(founded, one, address) for one in read}
    write_new(directory / ANSWERS, files, {})
    return Enrolled(
        founded.policy,
        founded.server,
        {one.name: directory / ANSWERS / f"{one.name}.answer.json" for one in read},
        {one.name: one.fingerprint for one in read},
    )


def _answer(founded: Founded, enrollment: Enrollment, address: Address) -> bytes:
    request = checked_request(enrollment)
    return Answer(
        name=enrollment.name,
        policy=founded.policy,
        authority=founded.authority.issued.certificate.decode("ascii"),
        certificate=founded.authority.certify(enrollment.name, request).decode("ascii"),
        server_host=address.host,
        server_port=address.port,
    ).encoded()


def _read(path: Path) -> Enrollment:
    """The enrollment in ``path``, checked."""
    try:
        with path.open("rb") as file:
            enrollment = document.read(file.read(document.MAX_BYTES + 1))
        checked_request(enrollment)
    except (OSError, DecodeError, RequestError) as error:
        raise CommandError(
            f"The enrollment {path} cannot be used: {error}.",
            "Ask the hospital for the file that `secagg party enroll` has written, unaltered.",
            ExitCode.USAGE,
        ) from None
    return enrollment
