"""``secagg budget show``: the account as it is stored, beside a running node or without one."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import URL, Engine

from party.config import load
from party.database import open_database
from party.journal import Journal
from party.ledger import Cost, Ledger
from party.models import ModelStore
from secagg.cli import ExitCode, main
from secagg.context import Attempt
from secagg.policy import NoiseSpec
from secagg.rounds.journal import Certified, Charged, Entered
from secagg.wire.messages import Certificate
from tests.party.files import NAME, Installation, install

BUDGET = EntryPoint("budget", "party.budget_cli:app", "secagg.commands")
MODEL = b"m" * 32


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return install(tmp_path, port=1)


def opened(installation: Installation, place: Path | URL | None = None) -> Engine:
    """The node's database, as the node would make it."""
    state = installation.directory / "state"
    state.mkdir(mode=0o700, exist_ok=True)
    return open_database(place or state / "party.sqlite3")


def spend(installation: Installation, engine: Engine) -> Ledger:
    """Two attempts at round 1, of which the second is certified."""
    limits = load(installation.configuration).budget
    cost = Cost.of(installation.policy)
    assert limits is not None
    assert cost is not None
    ledger = Ledger(engine, cost, *limits.exact)
    journal = Journal(engine, ledger, ModelStore(engine))
    digest, nonce = installation.policy.digest(), bytes(32)
    for number in (1, 2):
        attempt = Attempt(digest, 1, number, bytes(32), nonce)
        journal.record((Entered(attempt), Charged(attempt, bytes(32))))
    certificate = Certificate(
        policy_digest=digest,
        round=1,
        attempt=2,
        base_model_hash=bytes(32),
        server_nonce=nonce,
        u2_hash=bytes(32),
        u3=(1, 2, 3, 4),
        sum_digest=bytes(32),
        model_hash=MODEL,
        signatures=(),
    )
    journal.record((Certified(certificate),))
    return ledger


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit status, stdout, stderr of ``secagg budget show``."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["budget", "show", *map(str, arguments)], [BUDGET])
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, captured.out, captured.err


def shown(installation: Installation, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The account as JSON."""
    code, out, err = run("--config", installation.configuration, "--format", "json", capsys=capsys)
    assert (code, err) == (ExitCode.OK, "")
    account: dict[str, Any] = json.loads(out)
    assert account["schema"] == "secagg-budget/1"
    return account


def test_the_account_is_what_the_ledger_says(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = opened(installation)
    ledger = spend(installation, engine)
    account = shown(installation, capsys)  # while somebody else has the database open
    budget = ledger.budget()
    assert account["epsilon_total"] == 1.0
    assert account["epsilon_used"] == budget.epsilon_spent()
    assert account["epsilon_remaining"] == 1.0 - budget.epsilon_spent()
    assert account["affordable_attempts"] == budget.affordable(ledger.cost.sum)
    assert account["total_rounds"] == 1
    first, second = account["history"]
    assert (first["round"], first["model_hash"]) == (1, None)
    assert (second["round"], second["model_hash"]) == (1, MODEL.hex())
    assert first["epsilon_spent"] + second["epsilon_spent"] == pytest.approx(
        account["epsilon_used"]
    )
    engine.dispose()


def test_it_is_read_while_a_writer_has_the_lock(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = opened(installation)
    spend(installation, engine)
    with engine.begin():
        assert len(shown(installation, capsys)["history"]) == 2
    engine.dispose()


def test_it_changes_nothing(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    engine = opened(installation)
    spend(installation, engine)
    engine.dispose()
    database = installation.directory / "state" / "party.sqlite3"
    before = database.read_bytes()
    assert shown(installation, capsys) == shown(installation, capsys)
    assert database.read_bytes() == before


def test_the_account_is_read_from_postgresql(
    installation: Installation,
    place: Path | URL,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if isinstance(place, URL):
        monkeypatch.setenv("SECAGG_PARTY__DATABASE__URL", place.render_as_string())
        engine = opened(installation, place)
    else:
        engine = opened(installation)
    ledger = spend(installation, engine)
    assert shown(installation, capsys)["epsilon_used"] == ledger.budget().epsilon_spent()
    engine.dispose()


def test_in_words(installation: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    engine = opened(installation)
    ledger = spend(installation, engine)
    engine.dispose()
    code, out, err = run("--config", installation.configuration, capsys=capsys)
    assert (code, err) == (ExitCode.OK, "")
    spent = ledger.budget().epsilon_spent()
    assert f"epsilon {spent:.6g} of 1 is spent" in out
    assert "more attempts fit" in out
    *_, first, second = out.splitlines()
    assert first.split()[0] == second.split()[0] == "1"
    assert first.split()[-1] == "none"
    assert second.split()[-1] == f"{MODEL.hex()[:16]}.."


def test_a_spent_budget_is_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    installation = install(tmp_path, port=1)
    engine = opened(installation)
    ledger = spend(installation, engine)
    engine.dispose()
    installation.change('epsilon = "1.0"', f'epsilon = "{ledger.budget().epsilon_spent():.9f}"')
    code, out, _ = run("--config", installation.configuration, capsys=capsys)
    assert code == ExitCode.OK
    assert "budget is exhausted" in " ".join(out.split())


def test_without_noise_there_is_no_number(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = msgspec.structs.replace(installation.policy, noise=NoiseSpec())
    (installation.directory / "policy.json").write_bytes(plain.canonical())
    installation.change('[budget]\nepsilon = "1.0"\ndelta = "0.001"\n', "")
    opened(installation).dispose()
    account = shown(installation, capsys)
    assert account["epsilon_used"] is None
    assert "adds no noise" in account["warning"]


@pytest.mark.parametrize(
    ("find", "put", "problem"),
    [
        ('state_dir = "state"', 'state_dir = "elsewhere"', "No node has run here yet"),
        (f'name = "{NAME}"', 'name = "nobody"', "'nobody' is not on the roster"),
        ('policy = "policy.json"', 'policy = "missing.json"', "missing.json cannot be used"),
        ('[budget]\nepsilon = "1.0"\ndelta = "0.001"\n', "", "sets no privacy budget"),
    ],
)
def test_what_is_wrong_is_said(
    installation: Installation,
    find: str,
    put: str,
    problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    opened(installation).dispose()
    installation.change(find, put)
    code, out, err = run("--config", installation.configuration, capsys=capsys)
    assert (code, out) == (ExitCode.USAGE, "")
    assert problem in err


def test_a_file_that_is_no_database_is_named(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    opened(installation).dispose()
    (installation.directory / "state" / "party.sqlite3").write_bytes(b"x" * 5000)
    code, _, err = run("--config", installation.configuration, capsys=capsys)
    assert code == ExitCode.USAGE
    assert "cannot be read: file is not a database" in err
