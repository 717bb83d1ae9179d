import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.heart_disease.__main__ import main

app = typer.Typer()
app.command()(main)


def test_json_is_one_object_on_standard_output() -> None:
    outcome = CliRunner().invoke(app, ["--seeds", "1", "--format", "json"])
    assert outcome.exit_code == 0, outcome.output
    document = json.loads(outcome.stdout)
    assert document["schema"] == "secagg-heart-disease/1"
    assert document["study"]["seeds"] == 1
    assert document["study"]["rounds"] >= 3
    by_target = {
        (row["target"]["mode"], row["target"]["epsilon"]): row
        for row in document["study"]["results"]
        if row["target"]
    }
    assert by_target["local", "1"]["spent"]["own"] <= 1
    assert set(by_target["local", "1"]["hospitals"]) == {
        "cleveland",
        "hungary",
        "switzerland",
        "va-long-beach",
    }
    assert [figure["accuracy"] for figure in document["published"]] == [
        0.735,
        0.731,
        0.700,
        0.702,
        0.629,
    ]


def test_the_table_names_every_mode_and_the_published_figures() -> None:
    outcome = CliRunner().invoke(app, ["--seeds", "1"])
    assert outcome.exit_code == 0, outcome.output
    for word in ("exact", "at_least", "local", "FLamby", "0.702", "rounds"):
        assert word in outcome.stdout


def test_the_plot_is_a_function_of_the_study(tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        outcome = CliRunner().invoke(app, ["--seeds", "1", "--plot", str(tmp_path / name)])
        assert outcome.exit_code == 0, outcome.output
    drawn = (tmp_path / "one.svg").read_bytes()
    assert drawn.startswith(b"<?xml")
    assert drawn == (tmp_path / "two.svg").read_bytes()


@pytest.mark.parametrize("arguments", [["--seeds", "0"], ["--format", "yaml"]])
def test_other_arguments_are_a_usage_error(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2
