"""``secagg bench``: every measurement has its command."""

import pytest

from secagg.cli import ExitCode, main


def test_every_measurement_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        main(["bench", "--help"])
    assert ending.value.code == ExitCode.OK
    shown = capsys.readouterr().out
    for name in ("batch-size", "masking", "noise", "privacy-audit", "utility"):
        assert name in shown
    assert "Not installed" not in shown
