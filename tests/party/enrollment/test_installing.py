"""A hospital installs what the consortium answers, or says why it does not fit its keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from party import config as party_config
from party.connection import tls_context
from party.enrollment.installing import install
from party.enrollment.keys import make
from secagg.cli import CommandError, ExitCode
from secagg.crypto.randomness import SystemRandomness
from secagg.enrollment import answer as answers
from secagg.enrollment.answer import Answer
from secagg.enrollment.fingerprint import fingerprint
from secagg.policy import NoiseSpec
from server import certificates as server_certificates
from server.enrolled import Enrolled, enroll
from server.policy_template import find_template

NAMES = ("anna", "berta", "clara")
ONE = Decimal("1.0")
TEMPLATE = find_template("respiratory-cardiac")


@dataclass(frozen=True)
class Joining:
    """Three enrolled hospitals with their answers, and where Anna's keys are."""

    enrolled: Enrolled
    home: Path

    @property
    def answer(self) -> Path:
        return self.enrolled.answers["anna"]

    def alter(self, **changes: object) -> None:
        """Change Anna's answer on its way."""
        answer = answers.read(self.answer.read_bytes())
        self.answer.write_bytes(msgspec.structs.replace(answer, **changes).encoded())

    def install(self, **settings: str) -> None:
        install(self.answer, self.home, ONE, settings.get("policy_fingerprint"))

    def refuses(self, match: str) -> None:
        before = sorted(self.home.iterdir())
        with pytest.raises(CommandError, match=match) as refused:
            self.install()
        assert refused.value.exit_code is ExitCode.USAGE
        assert sorted(self.home.iterdir()) == before


@pytest.fixture
def joining(tmp_path: Path) -> Joining:
    return join(tmp_path)


def join(directory: Path, **settings: object) -> Joining:
    made = [make(name, directory / name, SystemRandomness()) for name in NAMES]
    template = msgspec.structs.replace(TEMPLATE, **settings)
    enrolled = enroll(directory / "new", [one.path for one in made], template)
    return Joining(enrolled, directory / "anna")


def test_a_node_can_use_what_was_installed(joining: Joining) -> None:
    installed = install(joining.answer, joining.home, ONE, None)
    config = party_config.load(installed.configuration)
    assert config.name == "anna"
    assert config.policy.read_bytes() == joining.enrolled.policy.canonical()
    assert config.ehr is not None
    assert config.ehr.fernet_key_file == joining.home / "fernet.key"
    assert config.budget is not None
    assert (str(config.budget.epsilon), str(config.budget.delta)) == ("1.0", TEMPLATE.noise.delta)
    tls_context(config.tls)


def test_the_fingerprint_read_out_is_compared(joining: Joining) -> None:
    right = fingerprint(joining.enrolled.policy.digest())
    with pytest.raises(CommandError, match=f"fingerprint is {right}, not 0000"):
        joining.install(policy_fingerprint="0000" + right[4:])
    joining.install(policy_fingerprint=right.upper().replace(" ", ":"))


def test_nothing_is_overwritten(joining: Joining) -> None:
    joining.install()
    joining.refuses("already: policy.json, ca.crt, party.crt, party.toml")


def test_another_hospitals_answer_is_refused(joining: Joining) -> None:
    joining.answer.write_bytes(joining.enrolled.answers["berta"].read_bytes())
    joining.refuses("another identity key for 'berta'")


def test_a_replaced_key_on_the_roster_is_refused(joining: Joining) -> None:
    policy = joining.enrolled.policy
    roster = (
        msgspec.structs.replace(policy.roster[0], identity_key="77" * 32),
        *policy.roster[1:],
    )
    joining.alter(policy=msgspec.structs.replace(policy, roster=roster))
    joining.refuses("replaced the key on its way")


def test_a_name_that_is_not_on_the_roster_is_refused(joining: Joining) -> None:
    joining.alter(name="doris")
    joining.refuses("for nobody: 'doris' is not on the roster")


def test_a_policy_that_trains_nothing_is_refused(joining: Joining) -> None:
    joining.alter(policy=msgspec.structs.replace(joining.enrolled.policy, features=None))
    joining.refuses("nothing to train")


def test_a_certificate_for_another_key_is_refused(joining: Joining) -> None:
    berta = answers.read(joining.enrolled.answers["berta"].read_bytes())
    joining.alter(certificate=berta.certificate)
    joining.refuses("certificate in the answer is for another private key")


def test_another_authority_is_refused(joining: Joining) -> None:
    other = server_certificates.Authority.create("consortium TLS authority")
    joining.alter(authority=other.issued.certificate.decode())
    joining.refuses("not by the authority")


def test_an_expired_certificate_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_certificates, "VALIDITY", timedelta(minutes=-1))
    join(tmp_path).refuses("has expired")


@pytest.mark.parametrize("lost", ["identity.key", "journal.key", "party.key", "fernet.key"])
def test_without_its_keys_nothing_is_installed(joining: Joining, lost: str) -> None:
    (joining.home / lost).unlink()
    joining.refuses(f"{lost} cannot be read")


def test_a_key_that_others_can_read_is_refused(joining: Joining) -> None:
    (joining.home / "party.key").chmod(0o640)
    joining.refuses("chmod 600")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-10],
        lambda data: data.replace(b'"secagg-answer/1"', b'"secagg-answer/9"'),
        lambda data: data + b" " * answers.MAX_BYTES,
    ],
)
def test_a_damaged_answer_is_refused(joining: Joining, spoil: Callable[[bytes], bytes]) -> None:
    joining.answer.write_bytes(spoil(joining.answer.read_bytes()))
    joining.refuses(r"anna\.answer\.json cannot be used")


def test_the_budget_is_the_hospitals_own_decision(joining: Joining) -> None:
    with pytest.raises(CommandError, match="--epsilon"):
        install(joining.answer, joining.home, None, None)


def test_without_noise_there_is_no_budget(tmp_path: Path) -> None:
    joining = join(tmp_path, noise=NoiseSpec())
    joining.refuses("adds no noise")
    installed = install(joining.answer, joining.home, None, None)
    assert party_config.load(installed.configuration).budget is None


def test_an_answer_is_what_the_consortium_wrote(joining: Joining) -> None:
    answer = answers.read(joining.answer.read_bytes())
    assert isinstance(answer, Answer)
    assert answer.policy.digest() == joining.enrolled.policy.digest()
