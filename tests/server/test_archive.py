"""Transcripts as files: whole at any time, newest attempt first, masked inputs only if wanted."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from secagg.rounds.r5_certification import Concluded
from secagg.transcript.record import Transcript, decode
from secagg.wire.messages import Certificate
from server.archive import Archive
from tests.cohorts import changed, flipped
from tests.secagg.transcript.attempts import certified_attempt

CERTIFIED = certified_attempt().transcript
PUBLISHED = msgspec.structs.replace(CERTIFIED, certificate=None)


def certificate() -> Certificate:
    assert CERTIFIED.certificate is not None
    return CERTIFIED.certificate


def numbered(attempt: int) -> Transcript:
    return changed(CERTIFIED, announcement=changed(CERTIFIED.announcement, attempt=attempt))


def test_what_is_recorded_is_there_again(tmp_path: Path) -> None:
    Archive(tmp_path / "transcripts").record(PUBLISHED)
    again = Archive(tmp_path / "transcripts")
    assert again.of_attempt(1, 1) == PUBLISHED
    data = again.of_round(1)
    assert data is not None
    assert decode(data) == PUBLISHED


def test_a_certificate_is_added(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    archive.record(PUBLISHED)
    archive.certify(certificate())
    assert archive.of_attempt(1, 1) == CERTIFIED
    assert isinstance(certified_attempt().cohort.server.state, Concluded)


def test_a_certificate_of_another_attempt_changes_nothing(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    archive.record(PUBLISHED)
    archive.certify(changed(certificate(), attempt=2))
    assert archive.of_attempt(1, 1) == PUBLISHED
    assert archive.of_attempt(1, 2) is None


def test_an_attempt_without_a_sum_takes_no_certificate(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    failed = changed(PUBLISHED, published=None, total=b"", ended="too few")
    archive.record(failed)
    archive.certify(certificate())
    assert archive.of_attempt(1, 1) == failed


def test_a_round_is_told_by_its_newest_attempt(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    for attempt in (2, 10, 9):
        archive.record(numbered(attempt))
    data = archive.of_round(1)
    assert data is not None
    assert decode(data) == numbered(10)
    assert archive.of_round(2) is None


def test_what_is_unfinished_or_foreign_is_left_alone(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    for name in ("1-3.part", "notes.txt", "1-2.transcript.bak"):
        (tmp_path / name).write_bytes(b"x")
    assert archive.of_round(1) is None
    archive.record(PUBLISHED)
    assert archive.of_round(1) is not None
    assert not list(tmp_path.glob("1-1.part"))


def test_a_damaged_file_is_none(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    archive.record(PUBLISHED)
    path = tmp_path / "1-1.transcript"
    path.write_bytes(path.read_bytes()[:-1])
    assert archive.of_attempt(1, 1) is None


@pytest.mark.parametrize("wanted", [True, False])
def test_masked_inputs_are_kept_only_if_wanted(tmp_path: Path, wanted: bool) -> None:
    spool = tmp_path / "spool" / "session"
    spool.mkdir(parents=True)
    (spool / "1").write_bytes(flipped(bytes(8)))
    kept = tmp_path / "masked-inputs"
    archive = Archive(tmp_path / "transcripts", kept if wanted else None)
    archive.keep_masked_inputs(7, 2, spool)
    assert (kept / "7-2" / "1").exists() == wanted
    assert spool.exists() != wanted
