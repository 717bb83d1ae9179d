"""party.toml: what it means, what the environment may override, what is refused and how."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from sqlalchemy import make_url

from party.config import PartyConfig, load
from secagg.cli import CommandError, ExitCode

WHOLE = """
name = "cleveland"
policy = "policy.json"
state_dir = "state"
[server]
host = "127.0.0.1"
port = 8443
[tls]
ca = "ca.crt"
certificate = "party.crt"
private_key = "party.key"
server_name = "localhost"
[identity]
key_file = "identity.key"
journal_key_file = "journal.key"
[data]
train = "train.jsonl"
test = "test.jsonl"
rounds = 10
[budget]
epsilon = "1.0"
delta = "0.001"
[api]
host = "127.0.0.1"
port = 0
[reconnect]
initial = 0.5
maximum = 30.0
"""


def written(directory: Path, text: str) -> Path:
    path = directory / "party.toml"
    path.write_text(text, encoding="utf-8")
    return path


def loaded(directory: Path, text: str = WHOLE) -> PartyConfig:
    return load(written(directory, text))


def test_paths_are_taken_from_where_the_file_is(tmp_path: Path) -> None:
    config = loaded(tmp_path, WHOLE.replace('"ca.crt"', '"/etc/ca.crt"'))
    assert config.policy == tmp_path / "policy.json"
    assert config.state_dir == tmp_path / "state"
    assert config.tls.ca == Path("/etc/ca.crt")
    assert config.tls.private_key == tmp_path / "party.key"
    assert config.identity.journal_key_file == tmp_path / "journal.key"
    assert config.data is not None
    assert config.data.test == tmp_path / "test.jsonl"
    assert config.standing_batch == tmp_path / "train.jsonl"


def test_a_budget_is_exact(tmp_path: Path) -> None:
    budget = loaded(tmp_path, WHOLE.replace('"1.0"', '"0.1"')).budget
    assert budget is not None
    assert budget.exact == (Fraction(1, 10), Fraction(1, 1000))


def test_what_may_be_left_out(tmp_path: Path) -> None:
    start = WHOLE.index("[budget]")
    short = WHOLE[:start].replace('test = "test.jsonl"\n', "")
    short = short.replace('certificate = "party.crt"\nprivate_key = "party.key"\n', "")
    config = loaded(tmp_path, short)
    assert config.budget is None
    assert config.data is not None
    assert config.data.test is None
    assert config.models.keep == 10
    assert config.schedule is None
    assert config.tls.certificate is None
    assert (config.api.host, config.api.port) == ("127.0.0.1", 8000)
    assert (config.reconnect.initial, config.reconnect.maximum) == (0.5, 30.0)
    assert config.limits.extra_charged_attempts == 0


def test_the_environment_stands_above_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECAGG_PARTY__SERVER__PORT", "9443")
    monkeypatch.setenv("SECAGG_PARTY__STATE_DIR", "elsewhere")
    config = loaded(tmp_path)
    assert (config.server.host, config.server.port) == ("127.0.0.1", 9443)
    assert config.state_dir == tmp_path / "elsewhere"


@pytest.mark.parametrize(
    ("find", "put", "explanation"),
    [
        ('name = "cleveland"\n', "", "name"),
        ("port = 8443", "port = 0", r"server\.port"),
        ("port = 8443", "port = 70000", r"server\.port"),
        ("rounds = 10", "rounds = 0", r"data\.rounds"),
        ('"1.0"', '"-1"', r"budget\.epsilon"),
        ('"0.001"', '"1"', r"budget\.delta"),
        ('"1.0"', '"nan"', r"budget\.epsilon"),
        ('private_key = "party.key"\n', "", "one-way TLS"),
        ("maximum = 30.0", "maximum = 0.1", "initial must not exceed"),
        ('[api]\nhost = "127.0.0.1"', '[api]\nhost = "0.0.0.0"', "from other machines"),
        ('[api]\nhost = "127.0.0.1"', '[api]\nhost = "192.0.2.1"', "from other machines"),
        ('[api]\nhost = "127.0.0.1"', '[api]\nhost = "localhost.example"', "from other machines"),
        ("rounds = 10", "round = 10", r"data\.round"),
        ('name = "cleveland"', 'name = "cleveland"\nsurprise = 1', "surprise"),
        ("[server]", "[server", "cannot be read"),
        ("rounds = 10\n", "", "both train and rounds"),
        ('train = "train.jsonl"\n', "", "both train and rounds"),
        ("[budget]", '[ehr]\nfernet_key_file = "fernet.key"\n[budget]', "either"),
        ('[data]\ntrain = "train.jsonl"\ntest = "test.jsonl"\nrounds = 10\n', "", "either"),
        ("port = 0", 'port = 0\ncertificate = "api.crt"', "plain HTTP"),
        (
            '[api]\nhost = "127.0.0.1"',
            '[api]\nhost = "192.0.2.1"\ntoken_hash_file = "t"',
            "private_key",
        ),
        ("[reconnect]", '[limits]\nnoise = ["loud"]\n[reconnect]', r"limits\.noise"),
        (
            "[reconnect]",
            '[schedule]\ncron = "* * * * *"\nfolder = "outbox"\n[reconnect]',
            r"needs \[ehr\]",
        ),
        ("[reconnect]", '[schedule]\ncron = "* * * * *"\n[reconnect]', "exactly one"),
        (
            "[reconnect]",
            '[schedule]\ncron = "nightly"\nfolder = "o"\n[reconnect]',
            "cron expression",
        ),
        ("[reconnect]", "[models]\nkeep = 0\n[reconnect]", r"models\.keep"),
        *(
            ("[reconnect]", f'[database]\nurl = "{url}"\n[reconnect]', explanation)
            for url, explanation in (
                ("party.sqlite3", "no database URL"),
                ("mysql://localhost/secagg", "only postgresql"),
                ("postgresql+asyncpg://localhost/secagg", "only postgresql"),
                ("postgresql://localhost", "only postgresql"),
                ("postgresql://secagg:word@localhost/secagg", "take the password out"),
                ("postgresql://localhost/secagg?password=word", "take the password out"),
                ("postgresql://db.example.org/secagg", "sslmode=verify-full"),
                ("postgresql://db.example.org/secagg?sslmode=require", "sslmode=verify-full"),
                ("postgresql:///secagg?host=192.0.2.1", "sslmode=verify-full"),
                ("postgresql:///secagg?host=/run/postgresql,192.0.2.1", "sslmode=verify-full"),
                ("postgresql:///secagg?hostaddr=192.0.2.1", "sslmode=verify-full"),
                ("postgresql://localhost/secagg?host=/run&host=192.0.2.1", "sslmode=verify-full"),
            )
        ),
    ],
)
def test_mistakes_are_named(tmp_path: Path, find: str, put: str, explanation: str) -> None:
    assert find in WHOLE
    with pytest.raises(CommandError, match=explanation) as refused:
        loaded(tmp_path, WHOLE.replace(find, put))
    assert refused.value.exit_code is ExitCode.USAGE
    assert str(tmp_path / "party.toml") in refused.value.problem


def test_a_password_in_the_wrong_place_is_not_repeated(tmp_path: Path) -> None:
    for url in ("postgresql://secagg:hunter2@localhost/secagg", "hunter2"):
        with pytest.raises(CommandError) as refused:
            loaded(tmp_path, f'{WHOLE}[database]\nurl = "{url}"\n')
        assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///secagg",
        "postgresql://localhost/secagg",
        "postgresql://secagg@127.0.0.1:5433/secagg",
        "postgresql://secagg@/secagg?host=/run/postgresql",
        "postgresql://secagg@db.example.org/secagg?sslmode=verify-full&sslrootcert=/etc/ca.crt",
    ],
)
def test_a_database_on_this_machine_or_behind_tls(tmp_path: Path, url: str) -> None:
    database = loaded(tmp_path, f'{WHOLE}[database]\nurl = "{url}"\n').database
    assert database is not None
    assert database.place == make_url(url)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        load(tmp_path / "absent.toml")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost"])
def test_loopback_in_any_spelling_is_accepted(tmp_path: Path, host: str) -> None:
    text = WHOLE.replace('[api]\nhost = "127.0.0.1"', f'[api]\nhost = "{host}"')
    assert loaded(tmp_path, text).api.host == host


EHR = """
[ehr]
fernet_key_file = "fernet.key"
[limits]
min_participants = 3
noise = ["exact", "local"]
max_epsilon_per_round = "0.2"
[schedule]
cron = "0 2 * * 0"
fhir_bundle = "bundle.json"
"""


def test_a_node_whose_batches_an_ehr_posts(tmp_path: Path) -> None:
    data = '[data]\ntrain = "train.jsonl"\ntest = "test.jsonl"\nrounds = 10\n'
    config = loaded(tmp_path, WHOLE.replace(data, "") + EHR)
    assert config.standing_batch is None
    assert config.ehr is not None
    assert config.ehr.fernet_key_file == tmp_path / "fernet.key"
    assert config.ehr.queued_batches == 16
    assert config.limits.noise == ("exact", "local")
    assert config.limits.max_epsilon_per_round == Decimal("0.2")
    assert config.schedule is not None
    assert config.schedule.fhir_bundle == tmp_path / "bundle.json"
    assert config.schedule.folder is None


def test_other_machines_are_served_behind_a_token_and_tls(tmp_path: Path) -> None:
    guarded = (
        '[api]\nhost = "0.0.0.0"\ntoken_hash_file = "token.sha256"\n'
        'certificate = "api.crt"\nprivate_key = "api.key"\nallowed_hosts = ["node.example"]'
    )
    api = loaded(tmp_path, WHOLE.replace('[api]\nhost = "127.0.0.1"', guarded)).api
    assert not api.is_local
    assert api.token_hash_file == tmp_path / "token.sha256"
    assert api.allowed_hosts == ("node.example",)
