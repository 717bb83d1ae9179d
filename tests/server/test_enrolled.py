"""A consortium of enrolled hospitals: their public keys on the roster, and no secret of theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from party.enrollment.keys import Made, make
from secagg.cli import CommandError, ExitCode
from secagg.crypto.randomness import SystemRandomness
from secagg.crypto.secret import Secret
from secagg.crypto.signatures import IdentityKey
from secagg.enrollment import answer as answers
from secagg.enrollment.document import Enrollment
from server import config as server_config
from server.enrolled import enroll
from server.identity import identity
from server.policy_template import find_template

NAMES = ("clara", "anna", "berta")
TEMPLATE = find_template("respiratory-cardiac")


@pytest.fixture
def made(tmp_path: Path) -> list[Made]:
    return [make(name, tmp_path / name, SystemRandomness()) for name in NAMES]


def test_the_roster_is_of_the_enrolled_keys_in_the_order_given(
    tmp_path: Path, made: list[Made]
) -> None:
    enrolled = enroll(tmp_path / "new", [one.path for one in made], TEMPLATE, consortium="lungs")
    assert enrolled.policy.consortium == "lungs"
    roster = [(member.name, member.identity_key) for member in enrolled.policy.roster]
    assert roster == [(one.enrollment.name, one.enrollment.identity_key) for one in made]
    assert enrolled.fingerprints == {
        one.enrollment.name: one.enrollment.fingerprint for one in made
    }


def test_answers_hold_policy_authority_and_certificate(tmp_path: Path, made: list[Made]) -> None:
    enrolled = enroll(
        tmp_path / "new", [one.path for one in made], TEMPLATE, server_host="10.0.0.7"
    )
    for one in made:
        answer = answers.read(enrolled.answers[one.enrollment.name].read_bytes())
        assert answer.policy == enrolled.policy
        assert (answer.server_host, answer.server_port) == ("10.0.0.7", 8443)
        certificate = x509.load_pem_x509_certificate(answer.certificate.encode())
        certificate.verify_directly_issued_by(
            x509.load_pem_x509_certificate(answer.authority.encode())
        )
        key = serialization.load_pem_private_key(
            (one.path.parent / "party.key").read_bytes(), password=None
        )
        assert certificate.public_key() == key.public_key()


def test_the_server_can_use_what_it_got(tmp_path: Path, made: list[Made]) -> None:
    enrolled = enroll(tmp_path / "new", [one.path for one in made], TEMPLATE)
    config = server_config.load(enrolled.server)
    assert identity(config.identity.key_file).public.hex() == enrolled.policy.server_key


def test_no_secret_of_a_hospital_is_there(tmp_path: Path, made: list[Made]) -> None:
    enroll(tmp_path / "new", [one.path for one in made], TEMPLATE)
    written = b"".join(
        path.read_bytes() for path in (tmp_path / "new").rglob("*") if path.is_file()
    )
    secrets = [
        path.read_bytes().strip()
        for one in made
        for pattern in ("*.key", "api.token*")
        for path in one.path.parent.glob(pattern)
    ]
    assert len(secrets) == 6 * len(NAMES)
    assert not [secret for secret in secrets if secret in written]
    private = [path.name for path in (tmp_path / "new").rglob("*.key")]
    assert sorted(private) == ["ca.key", "identity.key", "server.key"]


def test_what_was_altered_is_refused_before_anything_is_written(
    tmp_path: Path, made: list[Made]
) -> None:
    made[1].path.write_text(made[1].path.read_text().replace('"anna"', '"doris"'))
    with pytest.raises(CommandError, match=r"anna\.enrollment\.json cannot be used.*altered") as e:
        enroll(tmp_path / "new", [one.path for one in made], TEMPLATE)
    assert e.value.exit_code is ExitCode.USAGE
    assert not (tmp_path / "new").exists()


def test_a_request_of_another_hospital_is_refused(tmp_path: Path, made: list[Made]) -> None:
    stolen = made[0].enrollment.certificate_request
    key = bytes.fromhex((tmp_path / "anna" / "identity.key").read_text())
    made[1].path.write_bytes(Enrollment.signed("anna", IdentityKey(Secret(key)), stolen).encoded())
    with pytest.raises(CommandError, match="not for 'anna'"):
        enroll(tmp_path / "new", [one.path for one in made], TEMPLATE)


def test_one_hospital_twice_is_refused(tmp_path: Path, made: list[Made]) -> None:
    paths = [one.path for one in made]
    with pytest.raises(CommandError, match="a name of its own"):
        enroll(tmp_path / "new", [*paths, paths[0]], TEMPLATE)


def test_one_key_under_two_names_is_refused(tmp_path: Path, made: list[Made]) -> None:
    again = make("doris", tmp_path / "doris", SystemRandomness())
    seed = bytes.fromhex((tmp_path / "anna" / "identity.key").read_text())
    again.path.write_bytes(
        Enrollment.signed(
            "doris", IdentityKey(Secret(seed)), again.enrollment.certificate_request
        ).encoded()
    )
    with pytest.raises(CommandError, match="a key of their own"):
        enroll(tmp_path / "new", [*(one.path for one in made), again.path], TEMPLATE)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"nobody\.json"):
        enroll(tmp_path / "new", [tmp_path / "nobody.json"], TEMPLATE)
