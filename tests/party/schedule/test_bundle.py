from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import Engine

from benchmarks.heart_disease.policy import schema
from party.database import open_database
from party.schedule import bundle as module
from party.schedule.bundle import Bundle
from party.schedule.diary import Diary
from party.schedule.fhir_records import Vocabulary
from party.schedule.source import NotYet
from party.submission.admission import Admission
from party.submission.keyring import Keyring
from party.submission.opening import open_batch
from party.submission.posted import tokens_of
from tests.party.schedule import fhir
from tests.party.schedule.fhir import blood_pressure, condition, observation, patient

DUE = datetime(2026, 5, 1, 22, 30, tzinfo=UTC)
CRON = "30 0 * * *"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_database(tmp_path / "party.sqlite3")
    Diary(made, CRON).done_until(DUE - timedelta(days=1))
    yield made
    made.dispose()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return fhir.bundle(
        tmp_path / "bundle.json",
        patient("canary-1"),
        condition("canary-1", "Heart disease"),
        blood_pressure("canary-1", 121, 79),
        patient("canary-2", gender="male"),
        condition("canary-2", "Healthy"),
        observation("canary-2", "2093-3", 5, "mmol/L"),
        patient("canary-3"),
    )


@pytest.fixture
def source(path: Path, admission: Admission, engine: Engine) -> Bundle:
    vocabulary = Vocabulary.of(schema())
    return Bundle(path, admission, vocabulary, Diary(engine, CRON), ZoneInfo("Europe/Berlin"))


def test_a_bundle_becomes_one_encrypted_batch(
    source: Bundle, path: Path, fernet: Fernet, keyring: Keyring
) -> None:
    assert list(source.found()) == ["bundle.json"]
    claimed = source.claim("bundle.json", 3, DUE)
    posted = claimed.posted
    assert (posted.number, posted.kind, posted.patients) == (3, "records", 2)
    assert posted.keys == keyring.fingerprints
    assert b"canary" not in posted.payload
    plain = [json.loads(fernet.decrypt(token)) for token in tokens_of(posted.payload)]
    assert plain[1] == {
        "patient_id": "canary-2",
        "age": 46,  # on the second of May in Berlin
        "sex": "male",
        "symptoms": [],
        "labs": {"chol": pytest.approx(193.35)},
        "diagnosis": "Healthy",
    }
    batch = open_batch(tokens_of(posted.payload), keyring, schema()).batch
    assert batch.classes.tolist() == [1, 0]
    source.handed_over(claimed)
    assert path.exists()


def test_nothing_of_it_is_written_in_clear(source: Bundle, tmp_path: Path, engine: Engine) -> None:
    source.claim("bundle.json", 3, DUE)
    engine.dispose()
    for each in tmp_path.rglob("*"):
        if each.is_file() and each.name != "bundle.json":
            assert b"canary" not in each.read_bytes()


def test_a_run_that_was_cut_off_goes_on_as_the_same_submission(source: Bundle) -> None:
    first = source.claim("bundle.json", 3, DUE).posted
    again = source.claim("bundle.json", 8, DUE).posted
    assert (again.number, again.digest) == (3, first.digest)
    assert again.payload != first.payload  # encrypted anew, and yet the same


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "it is not JSON in UTF-8"),
        ("[" * 100_000, "it is not JSON in UTF-8"),
        ("[]", "it is not a FHIR Bundle"),
        ({"resourceType": "Patient"}, "it is not a FHIR Bundle"),
        ({"resourceType": "Bundle", "entry": {}}, "entry: is not as FHIR R4 has it"),
        ({"resourceType": "Bundle", "entry": [1]}, "entry 0: is not as FHIR R4 has it"),
        ({"resourceType": "Bundle"}, "holds 0 patients; the policy allows 1 to 3"),
        (
            {"resourceType": "Bundle", "entry": [{"resource": patient("p", birthDate="CANARY")}]},
            r"entry 0 \(Patient\), birthDate",
        ),
    ],
)
def test_a_bundle_that_cannot_be_used_is_not_quoted(
    source: Bundle, path: Path, content: Any, words: str
) -> None:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(NotYet, match=rf"bundle\.json: .*{words}") as error:
        source.claim("bundle.json", 3, DUE)
    assert "CANARY" not in str(error.value)


def test_records_are_judged_as_if_they_were_posted(source: Bundle, path: Path) -> None:
    fhir.bundle(path, patient("p"), condition("p", "x"), blood_pressure("p", 1210, 79))
    with pytest.raises(NotYet, match=r"record 0, vitals\.bp\.systolic: is outside 40 to 300"):
        source.claim("bundle.json", 3, DUE)
    ill = [each for i in range(4) for each in (patient(f"p{i}"), condition(f"p{i}", "x"))]
    fhir.bundle(path, *ill)
    with pytest.raises(NotYet, match="holds 4 patients; the policy allows 1 to 3"):
        source.claim("bundle.json", 3, DUE)


def test_entries_without_a_resource_are_passed_over(source: Bundle, path: Path) -> None:
    sick = [patient("p"), condition("p", "x")]
    entries = [{"response": {"status": "200"}}, *({"resource": each} for each in sick)]
    path.write_text(json.dumps({"resourceType": "Bundle", "entry": entries}))
    assert source.claim("bundle.json", 3, DUE).posted.patients == 1


def test_a_file_that_is_not_there_or_not_fit(
    source: Bundle, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BUNDLE_BYTES", 10)
    with pytest.raises(NotYet, match="longer than 10 bytes"):
        source.claim("bundle.json", 3, DUE)
    path.rename(tmp_path / "elsewhere.json")
    for use in (source.found, lambda: source.claim("bundle.json", 3, DUE)):
        with pytest.raises(NotYet, match=r"cannot be read: No such file.*correct fhir_bundle"):
            use()
    path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(NotYet, match="it is not a regular file"):
        source.found()
