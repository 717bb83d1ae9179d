"""The README says what is true: its example runs, its layout exists, its links lead somewhere."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_runs_as_printed() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})


def test_every_path_of_the_layout_exists() -> None:
    section = README.split("## Layout", 1)[1].split("## Documents", 1)[0]
    folder = ROOT
    lines = [line for line in section.splitlines() if line.startswith("    ")]
    assert len(lines) > 10
    for line in lines:
        names = re.split(r"\s{2,}", line.strip())[0].split(", ")
        parent = folder if line.startswith("      ") else ROOT
        for name in names:
            assert (parent / name).exists(), name
        if parent is ROOT and names[0].endswith("/"):
            folder = ROOT / names[0]


def test_every_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
