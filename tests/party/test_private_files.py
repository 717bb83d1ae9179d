"""Private files: regular ones, for their owner alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from party.private_files import check_private
from secagg.cli import CommandError


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        check_private(tmp_path / "absent.key")
    with pytest.raises(CommandError, match="is not a file"):
        check_private(tmp_path)
