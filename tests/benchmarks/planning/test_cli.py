"""``secagg budget plan``: the issue's own command, the plot, and the policy that comes out."""

import json
from pathlib import Path

import pytest

from benchmarks.planning.cli import Mode, plan
from secagg.cli import CommandError, ExitCode, Format, main
from secagg.policy import load
from server.consortium import create
from server.policy_template import read_template


def run(**options: object) -> None:
    given: dict[str, object] = {
        "epsilon": "1",
        "delta": "1e-5",
        "rounds": 12,
        "hospitals": 4,
        "patients": 500,
        "mode": Mode.EXACT,
        "policy_template": "respiratory-cardiac",
        "plot": None,
        "write_policy": None,
        "output": Format.TEXT,
    }
    plan(**(given | options))  # type: ignore[arg-type]


def test_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    run()
    shown = capsys.readouterr().out
    for words in ("noise multiplier", "14.013", "23 bits", "2,000 patients", "bytes of a hospital"):
        assert words in shown


def test_the_page_shows_this_plan(capsys: pytest.CaptureFixture[str]) -> None:
    run(output=Format.JSON)
    found = json.loads(capsys.readouterr().out)
    page = (Path(__file__).parents[3] / "docs" / "planning.md").read_text(encoding="utf-8")
    error, floor = found["error"], found["error_at_the_floor"]
    for figure in (
        f"{found['epsilon_sum']:.3f} toward the server",
        f"{found['epsilon_own']:.3f} toward everybody else",
        f"rho = {found['rho']:.9f}",
        f"| {found['noise_multiplier']:.3f} |",
        f"{found['deviation']:,.1f} units in each of {found['coordinates']} coordinates",
        f"{error['coordinate']:.6f} a coordinate, norm {error['norm']:.4f}",
        f"{floor['coordinate']:.6f} a coordinate, norm {floor['norm']:.4f}",
        f"{found['ring_bits']} bits",
        f"{found['sent']:,} sent, {found['received']:,} received; the vector: {found['vector']:,}",
    ):
        assert figure in page


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    run(output=Format.JSON)
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "secagg-plan/1"
    assert found["ring_bits"] == 23
    assert found["noise_multiplier"] == pytest.approx(14.0127, abs=1e-4)
    assert {"coordinate", "norm", "count"} < set(found["error"])


@pytest.mark.parametrize(("name", "begins"), [("p.svg", b"<?xml"), ("p.png", b"\x89PNG")])
def test_the_plot(name: str, begins: bytes, tmp_path: Path) -> None:
    run(plot=tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_the_same_plan_draws_the_same_file(tmp_path: Path) -> None:
    run(plot=tmp_path / "one.svg")
    run(plot=tmp_path / "two.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_a_plot_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"cannot be written.*\n.*\.svg"):
        run(plot=tmp_path / "plot.unheard-of")


def test_the_written_policy_makes_a_consortium(tmp_path: Path) -> None:
    written = tmp_path / "policy-template.json"
    run(write_policy=written, patients=700)
    names = ["a", "b", "c", "d"]
    created = create(tmp_path / "consortium", names, read_template(written))
    policy = load((created.server.parent / "policy.json").read_bytes())
    assert (policy.noise.mode, policy.noise.delta) == ("exact", "0.00001")
    assert policy.model is not None
    assert policy.model.contribution.max_patients == 1024


def test_an_old_policy_is_never_overwritten(tmp_path: Path) -> None:
    written = tmp_path / "policy-template.json"
    written.write_text("mine")
    with pytest.raises(CommandError, match="cannot be written"):
        run(write_policy=written)
    assert written.read_text() == "mine"


def test_showing_and_planning_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        main(["budget", "--help"])
    assert ending.value.code == ExitCode.OK
    shown = capsys.readouterr().out
    assert "show" in shown
    assert "plan" in shown
