from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from benchmarks.heart_disease.policy import schema
from party.schedule.outbox import Outbox
from party.schedule.source import NotYet, Refused
from party.submission.admission import Admission
from party.submission.keyring import Keyring
from party.submission.opening import open_batch
from party.submission.posted import tokens_of
from tests.party.ehr import body

DUE = datetime(2026, 3, 1, 2, tzinfo=UTC)


def record(i: int, **changes: Any) -> dict[str, Any]:
    return {"patient_id": f"PATIENT_{i:03}", "age": 40 + i, "diagnosis": "canary"} | changes


def leave(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def files(folder: Path) -> set[str]:
    return {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}


@pytest.fixture
def outbox(folder: Path, admission: Admission) -> Outbox:
    made = Outbox(folder, admission, 10_000)
    assert made.found() == {}
    return made


def test_what_is_taken_comes_in_the_order_of_names(
    outbox: Outbox, folder: Path, fernet: Fernet
) -> None:
    for name in ("b.json", "a.json", "10.json", "9.json"):
        leave(folder, name, body(fernet, [record(1)]))
    assert list(outbox.found()) == ["10.json", "9.json", "a.json", "b.json"]


def test_only_finished_files_of_the_folder_itself_are_taken(outbox: Outbox, folder: Path) -> None:
    for name in (".a.json", "a.json.tmp", "a.json.part", "a.txt", "readme", "A.JSON"):
        leave(folder, name, "{}")
    (folder / "directory.json").mkdir()
    leave(folder / "directory.json", "inner.json", "{}")
    (folder / "link.json").symlink_to(folder / "readme")
    assert outbox.found() == {}


def test_a_batch_goes_its_way(
    outbox: Outbox, folder: Path, fernet: Fernet, keyring: Keyring
) -> None:
    leave(folder, "monday.json", body(fernet, [record(1), record(2)], number=77))
    claimed = outbox.claim("monday.json", 4, DUE)
    assert (claimed.posted.number, claimed.posted.kind, claimed.posted.patients) == (
        4,
        "records",
        2,
    )
    assert len(open_batch(tokens_of(claimed.posted.payload), keyring, schema()).batch) == 2
    assert files(folder) == {"taken/000000004-monday.json"}
    outbox.handed_over(claimed)
    assert files(folder) == {"done/000000004-monday.json"}
    assert outbox.found() == {}


def test_a_batch_that_was_taken_keeps_its_number(
    outbox: Outbox, folder: Path, fernet: Fernet, admission: Admission
) -> None:
    leave(folder, "b.json", body(fernet, [record(1)]))
    first = outbox.claim("b.json", 4, DUE)
    leave(folder, "a.json", body(fernet, [record(2)]))
    # The process dies here, and another one goes on.
    again = Outbox(folder, admission, 10_000)
    assert list(again.found()) == ["taken/000000004-b.json", "a.json"]
    claimed = again.claim("taken/000000004-b.json", 9, DUE)
    assert claimed == first
    again.handed_over(claimed)
    assert files(folder) == {"a.json", "done/000000004-b.json"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"patient_data_list": [', "is not valid JSON in UTF-8"),
        ("[]", "the body: Expected `object`, got `array`"),
        ({"patient_data_list": [], "round_number": 1}, "patient_data_list: "),
        (" " * 10_001, "longer than max_body_bytes"),
    ],
)
def test_what_is_no_batch_is_refused(
    outbox: Outbox, folder: Path, content: Any, words: str
) -> None:
    leave(folder, "bad.json", content)
    with pytest.raises(Refused, match=words):
        outbox.claim("bad.json", 3, DUE)
    assert files(folder) == {
        "refused/000000003-bad.json",
        "refused/000000003-bad.json.reason.txt",
    }
    reason = (folder / "refused/000000003-bad.json.reason.txt").read_text()
    assert words in reason
    assert "put it back into the folder" in reason


@pytest.mark.parametrize(
    ("records", "changes", "words"),
    [
        ([record(1), record(2, age="canary")], {}, "record 1, age: "),
        ([record(1), record(1)], {}, "record 1, patient_id: the same patient stands"),
        ([record(i) for i in range(4)], {}, "holds 4 patients; the policy allows 1 to 3"),
        ([record(1)], {"data_hash": "00" * 32}, "record 0, data_hash: is not the SHA-256"),
        ([record(1)], {"encrypted_data": "canary"}, "decryption failed: no key of this node"),
    ],
)
def test_one_bad_record_refuses_the_file_and_is_not_quoted(
    outbox: Outbox,
    folder: Path,
    fernet: Fernet,
    records: list[dict[str, Any]],
    changes: dict[str, str],
    words: str,
) -> None:
    batch = body(fernet, records)
    batch["patient_data_list"][-1] |= changes
    leave(folder, "bad.json", batch)
    with pytest.raises(Refused) as refused:
        outbox.claim("bad.json", 3, DUE)
    reason = (folder / "refused/000000003-bad.json.reason.txt").read_text()
    assert words in reason
    for told in (reason, str(refused.value)):
        assert "PATIENT_0" not in told
        assert "canary" not in told
    assert (folder / "refused/000000003-bad.json").exists()


def test_a_folder_that_cannot_be_used(
    tmp_path: Path, outbox: Outbox, folder: Path, admission: Admission
) -> None:
    with pytest.raises(NotYet, match=r"No such file or directory. Let the node's user read and"):
        Outbox(tmp_path / "nowhere", admission, 10_000).found()
    with pytest.raises(NotYet, match="cannot be used"):
        outbox.claim("gone.json", 1, DUE)
    (folder / "a.json").symlink_to(tmp_path / "fernet.key")
    with pytest.raises(NotYet, match="symbolic"):
        outbox.claim("a.json", 1, DUE)
