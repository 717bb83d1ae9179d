"""``secagg transcript verify`` on the transcripts that a server has really written."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from secagg.cli import GROUP, ExitCode, main
from secagg.transcript.record import decode, encode
from secagg.wire.messages import ShareKeys
from tests.cohorts import changed, flipped
from tests.server.scripted import World

TRANSCRIPT = EntryPoint("transcript", "party.transcript_cli:app", GROUP)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three certified rounds of four hospitals, one of which drops out of the first.

    ``policy.json``, ``transcripts``, and all ``masked-inputs``.
    """
    directory = tmp_path_factory.mktemp("server")

    async def rounds() -> None:
        async with trio.open_nursery() as nursery:
            world = World(directory, nursery, masked_inputs=True)
            await world.start()
            world.parties[4].vanish_after = ShareKeys
            world.connect(1, 2, 3, 4)
            await world.closed(3, 1, 2, 3)
            (directory / "policy.json").write_bytes(world.policy.canonical())
            nursery.cancel_scope.cancel()

    trio.run(rounds, clock=MockClock(autojump_threshold=0))
    return directory


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["transcript", "verify", *map(str, arguments)], [TRANSCRIPT])
    assert isinstance(ended.value.code, int)
    printed = capsys.readouterr()
    return ended.value.code, printed.out, printed.err


def found(
    capsys: pytest.CaptureFixture[str], records: Path, *arguments: object
) -> tuple[int, dict[str, Any]]:
    policy = ("--policy", records / "policy.json")
    code, out, _ = run(capsys, *arguments, *policy, "--format", "json")
    report: dict[str, Any] = json.loads(out)
    return code, report


def transcripts(records: Path) -> list[Path]:
    return sorted((records / "transcripts").glob("*.transcript"), reverse=True)


def test_all_rounds_hold_to_the_last_bit(records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (*transcripts(records), "--masked-inputs", records / "masked-inputs")
    code, report = found(capsys, records, *arguments)
    assert code == ExitCode.OK
    assert report["schema"] == "secagg-transcript-report/1"
    assert report["holds"]
    first, *others = report["transcripts"]
    assert [each["round"] for each in report["transcripts"]] == [1, 2, 3]
    assert first["u2"] == ["hospital-1", "hospital-2", "hospital-3", "hospital-4"]
    assert first["u3"] == ["hospital-1", "hospital-2", "hospital-3"]
    for each in (first, *others):
        assert each["outcome"] == "certified"
        assert each["recomputed"]
        record = decode((records / "transcripts" / each["file"]).read_bytes())
        assert record.certificate is not None
        assert each["model_hash"] == record.certificate.model_hash.hex()
        assert each["digest"] == record.digest().hex()


def test_without_masked_inputs_it_says_so(
    records: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (*transcripts(records), "--policy", records / "policy.json")
    code, out, _ = run(capsys, *arguments)
    assert code == ExitCode.OK
    assert out.count("not recomputed, for want of masked inputs") == 3
    assert "round 1, attempt 1 (1-1.transcript): certified; everything in it holds" in out


def test_a_gap_leaves_the_model_open(records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = found(capsys, records, records / "transcripts" / "2-1.transcript")
    assert code == ExitCode.OK
    assert report["transcripts"][0]["model_hash"] is None


def test_an_altered_sum_names_its_check(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = decode((records / "transcripts" / "1-1.transcript").read_bytes())
    altered = tmp_path / "altered.transcript"
    altered.write_bytes(
        encode(changed(record, total=bytes([record.total[0] ^ 1]) + record.total[1:]))
    )
    code, report = found(capsys, records, altered)
    assert code == ExitCode.FAILED_ROUND
    assert not report["holds"]
    assert report["transcripts"][0]["check"] == "CHK-502"
    assert report["transcripts"][0]["blamed"] == "server"
    code, out, err = run(capsys, altered, "--policy", records / "policy.json")
    assert code == ExitCode.FAILED_ROUND
    assert "DOES NOT HOLD" in out
    assert "altered.transcript" in err


def test_a_missing_signature_names_its_party(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = decode((records / "transcripts" / "1-1.transcript").read_bytes())
    first, *others = record.masked_inputs
    unsigned = changed(first, signature=flipped(first.signature))
    altered = tmp_path / "altered.transcript"
    altered.write_bytes(encode(changed(record, masked_inputs=(unsigned, *others))))
    code, report = found(capsys, records, altered)
    assert code == ExitCode.FAILED_ROUND
    assert report["transcripts"][0]["check"] == "CHK-250"
    assert report["transcripts"][0]["blamed"] == "hospital-1"


def test_an_altered_masked_input_is_found(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    copy = tmp_path / "masked-inputs"
    shutil.copytree(records / "masked-inputs", copy)
    data = bytearray((copy / "2-1" / "3").read_bytes())
    data[0] ^= 1
    (copy / "2-1" / "3").write_bytes(data)
    code, report = found(capsys, records, *transcripts(records), "--masked-inputs", copy)
    assert code == ExitCode.FAILED_ROUND
    assert [each["holds"] for each in report["transcripts"]] == [True, False, True]
    assert report["transcripts"][1]["blamed"] == "hospital-3"


def test_what_cannot_be_read_is_said(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"not a transcript")
    code, _, err = run(capsys, garbage, "--policy", records / "policy.json")
    assert code == ExitCode.USAGE
    assert "garbage" in err
    code, _, err = run(capsys, *transcripts(records), "--policy", garbage)
    assert code == ExitCode.USAGE
    assert "policy" in err
    (tmp_path / "1-1").mkdir()
    arguments = (records / "transcripts" / "1-1.transcript", "--masked-inputs", tmp_path)
    code, _, err = run(capsys, *arguments, "--policy", records / "policy.json")
    assert code == ExitCode.USAGE
    assert "masked input" in err
