from __future__ import annotations

from pathlib import Path

import pytest

from secagg.cli import CommandError, ExitCode
from server.config import Listen, Timing, load

MINIMAL = """\
policy = "policy.json"
state_dir = "/var/lib/secagg"
[tls]
certificate = "server.crt"
private_key = "keys/server.key"
[identity]
key_file = "identity.key"
"""


def write(directory: Path, text: str) -> Path:
    path = directory / "server.toml"
    path.write_text(text)
    return path


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    config = load(write(tmp_path, MINIMAL))
    assert config.listen == Listen(host="127.0.0.1", port=8443)
    assert config.timing == Timing(
        stage_deadline=30.0,
        gathering_window=30.0,
        unmasking_patience=300.0,
        attempt_pause=1.0,
        unauthenticated=10.0,
        send_timeout=30.0,
        max_attempts=3,
    )
    assert config.tls.client_ca is None


def test_relative_paths_start_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, MINIMAL.replace("[identity]", 'client_ca = "ca.crt"\n[identity]'))
    monkeypatch.chdir(path.parent)
    config = load(Path(path.name))
    assert config.policy == tmp_path / "policy.json"
    assert config.state_dir == Path("/var/lib/secagg")
    assert config.tls.private_key == tmp_path / "keys" / "server.key"
    assert config.tls.client_ca == tmp_path / "ca.crt"
    assert config.identity.key_file == tmp_path / "identity.key"


def test_the_environment_stands_above_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, MINIMAL + "[listen]\nport = 1\n[timing]\nmax_attempts = 7\n")
    monkeypatch.setenv("SECAGG_SERVER__LISTEN__PORT", "0")
    config = load(path)
    assert config.listen.port == 0
    assert config.timing.max_attempts == 7


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (MINIMAL.replace('policy = "policy.json"\n', ""), "policy"),
        (MINIMAL + '[listen]\nhots = "localhost"\n', "listen.hots"),
        (MINIMAL + "[listen]\nport = 65536\n", "listen.port"),
        (MINIMAL + "[timing]\nstage_deadline = 0\n", "timing.stage_deadline"),
        (MINIMAL + "[timing]\nunauthenticated = inf\n", "timing.unauthenticated"),
        (MINIMAL + "[timing]\nmax_attempts = 0\n", "timing.max_attempts"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(CommandError, match=named) as caught:
        load(write(tmp_path, text))
    assert caught.value.exit_code is ExitCode.USAGE
    assert "Mend these fields" in caught.value.remedy


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "policy =")
    with pytest.raises(CommandError, match=str(path)) as caught:
        load(path)
    assert "secagg init" in caught.value.remedy


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No such file"):
        load(tmp_path / "server.toml")
