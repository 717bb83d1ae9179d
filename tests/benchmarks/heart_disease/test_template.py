"""The shipped template is the policy that the study and the demonstration use."""

from importlib.resources import as_file, files
from pathlib import Path

from benchmarks.demo.setting import template
from benchmarks.heart_disease.policy import CHOSEN, Target
from server.consortium import read_template


def test_the_shipped_template_is_this_policy() -> None:
    with as_file(files("server") / "templates" / "heart_disease.json") as path:
        assert read_template(Path(path)) == template(Target("exact", "1"), CHOSEN.rounds)
