from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from party.enrollment.keys import make
from party.identity import read_key
from party.submission.keyring import Keyring
from secagg.cli import CommandError, ExitCode
from secagg.crypto.randomness import SeededRandomness, SystemRandomness
from secagg.crypto.signatures import IdentityKey
from secagg.enrollment.document import read

PRIVATE = {
    "identity.key",
    "journal.key",
    "fernet.key",
    "party.key",
    "api.token",
    "api.token-sha256",
}


def test_every_key_is_made_where_it_stays(tmp_path: Path) -> None:
    made = make("anna", tmp_path / "anna", SystemRandomness())
    files = {path.name: path for path in (tmp_path / "anna").iterdir()}
    assert set(files) == PRIVATE | {"anna.enrollment.json"}
    assert made.path == files["anna.enrollment.json"]
    assert {stat.S_IMODE(files[name].stat().st_mode) for name in PRIVATE} == {0o600}
    assert IdentityKey(read_key(files["identity.key"])).public == made.enrollment.public
    assert len(Keyring.load(files["fernet.key"]).fingerprints) == 1
    serialization.load_pem_private_key(files["party.key"].read_bytes(), password=None)


def test_the_enrollment_holds_no_secret(tmp_path: Path) -> None:
    made = make("anna", tmp_path, SystemRandomness())
    sent = made.path.read_bytes()
    assert read(sent) == made.enrollment
    for name in PRIVATE:
        for line in (tmp_path / name).read_bytes().splitlines():
            assert line not in sent


def test_two_hospitals_share_no_key(tmp_path: Path) -> None:
    for name in ("anna", "berta"):
        make(name, tmp_path / name, SystemRandomness())
    for name in PRIVATE:
        assert (tmp_path / "anna" / name).read_bytes() != (tmp_path / "berta" / name).read_bytes()


@pytest.mark.parametrize("existing", [*sorted(PRIVATE), "anna.enrollment.json"])
def test_no_key_is_ever_overwritten(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("in use")
    with pytest.raises(CommandError, match=existing) as refused:
        make("anna", tmp_path, SeededRandomness(b"new"))
    assert refused.value.exit_code is ExitCode.USAGE
    assert [path.name for path in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_text() == "in use"


@pytest.mark.parametrize("name", ["Anna", "", "a b", "../a", "a" * 64, "-a"])
def test_a_name_that_no_roster_takes_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CommandError, match="cannot be a hospital's name"):
        make(name, tmp_path, SeededRandomness(b"new"))
    assert list(tmp_path.iterdir()) == []
