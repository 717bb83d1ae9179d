"""The consortium's answer: checked against the keys that are here, then written beside them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from party.certificates import (
    Unfit,
    certificates,
    check_issued,
    check_key,
    check_name,
    check_time,
)
from party.identity import read_key
from party.new_files import refuse_existing, write_new
from party.opening import what_is_trained
from party.private_files import check_private
from secagg.cli import CommandError, ExitCode
from secagg.crypto.signatures import IdentityKey
from secagg.enrollment import answer as answers
from secagg.enrollment import settings
from secagg.enrollment.answer import Answer
from secagg.enrollment.fingerprint import fingerprint, is_fingerprint
from secagg.enrollment.key_files import FERNET_KEY, IDENTITY_KEY, JOURNAL_KEY
from secagg.enrollment.settings import Settings
from secagg.errors import DecodeError, LocalMisuse
from secagg.policy import Policy

_ASK = "Ask the consortium for the answer to this hospital's enrollment, unaltered."


@dataclass(frozen=True, slots=True)
class Installed:
    """The policy, and the party.toml that the node starts with."""

    policy: Policy
    configuration: Path


def install(
    path: Path, directory: Path, epsilon: Decimal | None, policy_fingerprint: str | None
) -> Installed:
    """Install the answer in ``path`` beside this hospital's keys in ``directory``.

    ``epsilon``: the privacy budget over all rounds, at the policy's delta; None under a policy
    without noise. ``policy_fingerprint``: as the consortium has read it out, if it has.

    Raises CommandError, before anything is written, for whatever does not fit.
    """
    answer = _read(path)
    policy = answer.policy
    _check_policy(answer, directory)
    _check_fingerprint(policy, policy_fingerprint)
    _check_certificate(answer, directory)
    for name in (JOURNAL_KEY, FERNET_KEY):
        check_private(directory / name)
    budget = None if epsilon is None else (f"{epsilon:f}", policy.noise.delta)
    _check_budget(policy, epsilon)
    first = Settings(answer.name, answer.server_host, answer.server_port, budget)
    public = {
        settings.POLICY: policy.canonical(),
        settings.AUTHORITY: answer.authority.encode(),
        settings.CERTIFICATE: answer.certificate.encode(),
        settings.SETTINGS: first.toml(),
    }
    refuse_existing(directory, public)
    write_new(directory, public)
    return Installed(policy, directory / settings.SETTINGS)


def _read(path: Path) -> Answer:
    try:
        with path.open("rb") as file:
            return answers.read(file.read(answers.MAX_BYTES + 1))
    except (OSError, DecodeError) as error:
        raise CommandError(
            f"The answer {path} cannot be used: {error}.", _ASK, ExitCode.USAGE
        ) from None


def _check_policy(answer: Answer, directory: Path) -> None:
    """The policy pins this hospital's own key under the name that the answer is for."""
    policy = answer.policy
    own = IdentityKey(read_key(directory / IDENTITY_KEY)).public
    try:
        pinned = policy.identity_key(policy.client(answer.name))
    except LocalMisuse as error:
        raise CommandError(f"The answer is for nobody: {error}.", _ASK, ExitCode.USAGE) from None
    if pinned != own:
        raise CommandError(
            f"The policy pins another identity key for {answer.name!r} than the one in {directory}:"
            f" this answer is for another hospital, or somebody has replaced the key on its way.",
            "Compare the enrollment's fingerprint with the consortium by telephone; install "
            "nothing before they agree.",
            ExitCode.USAGE,
        )
    what_is_trained(policy, "in the answer")


def _check_fingerprint(policy: Policy, read_out: str | None) -> None:
    if read_out is not None and not is_fingerprint(read_out, policy.digest()):
        raise CommandError(
            f"This policy's fingerprint is {fingerprint(policy.digest())}, not {read_out}.",
            "Install nothing before the consortium has read out the fingerprint of this policy.",
            ExitCode.USAGE,
        )


def _check_certificate(answer: Answer, directory: Path) -> None:
    """The certificate is this hospital's, for the key that is here, and from that authority."""
    key = directory / settings.TLS_KEY
    check_private(key)
    try:
        chain = certificates(answer.certificate.encode())
        authorities = certificates(answer.authority.encode())
        check_key(chain[0], key.read_bytes())
        check_name(chain[0], answer.name)
        check_issued(chain, authorities)
        for each in (*chain, *authorities):
            check_time(each, datetime.now(UTC))
    except Unfit as error:
        raise CommandError(
            f"The certificate in the answer {error}.", _ASK, ExitCode.USAGE
        ) from None


def _check_budget(policy: Policy, epsilon: Decimal | None) -> None:
    noised = policy.noise.mode != "none"
    if noised and epsilon is None:
        raise CommandError(
            "How much of its patients' privacy this hospital gives away in total is its own "
            "decision.",
            "Give it with --epsilon: 1.0 is a common choice; `secagg preflight` says how many "
            "rounds that affords.",
            ExitCode.USAGE,
        )
    if not noised and epsilon is not None:
        raise CommandError(
            "The policy adds no noise, so no privacy budget can be kept.",
            "Leave --epsilon out; or ask the consortium for a policy with noise.",
            ExitCode.USAGE,
        )
