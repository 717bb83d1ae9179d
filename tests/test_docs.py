"""The documents hang together: links lead somewhere, and what is named exists."""

import re
from pathlib import Path

import pytest

from secagg.checks import Check

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
RECORDS = sorted(DOCS.glob("adr/[0-9]*.md"))
PAGES = [
    ROOT / "README.md",
    ROOT / "SECURITY.md",
    *sorted(DOCS.rglob("*.md")),
    *sorted(ROOT.glob("benchmarks/**/*.md")),
]
CHECKS = {check.id for check in Check}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        if path.startswith("https:"):
            continue
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_of_the_repository_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:secagg|party|server|tests|benchmarks)/(?!1/)[\w./-]+)`", text)
    for path in [*named, *re.findall(r"\bdocs/[\w./-]+\.md", text)]:
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_check_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"CHK-\d{3}", page.read_text(encoding="utf-8")))
    assert named <= CHECKS


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_decision_that_a_page_refers_to_is_recorded(page: Path) -> None:
    numbers = {record.name[:4] for record in RECORDS}
    assert set(re.findall(r"\bADR (\d{4})", page.read_text(encoding="utf-8"))) <= numbers


def test_every_attack_of_the_threat_model_has_its_file_and_its_checks() -> None:
    rows = re.findall(
        r"^\| (\d+) \| .* \| (.*) \| (.*) \|$",
        (DOCS / "threat-model.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert [int(number) for number, _, _ in rows] == list(range(1, 17))
    shown = set()
    for _, checks, tests in rows:
        assert {f"CHK-{number}" for number in re.findall(r"\d{3}", checks)} <= CHECKS
        files = re.findall(r"`([^`]+)`", tests)
        assert files
        for file in files:
            assert any((ROOT / at / file).exists() for at in ("", "tests", "tests/attacks")), file
        shown |= set(files)
    assert shown >= {file.name for file in ROOT.glob("tests/attacks/test_[0-9]*.py")}


def test_decisions_are_numbered_once_and_indexed_under_their_titles() -> None:
    numbers = [record.name[:4] for record in RECORDS]
    assert len(set(numbers)) == len(numbers) > 0
    index = (DOCS / "adr" / "README.md").read_text(encoding="utf-8")
    listed = [
        f"- [{record.name[:4]}]({record.name}) {_title(record)[len('0000 ') :]}"
        for record in RECORDS
    ]
    assert re.findall(r"^- \[\d{4}\].*$", index, re.MULTILINE) == listed


@pytest.mark.parametrize("record", RECORDS, ids=name)
def test_a_decision_has_its_parts(record: Path) -> None:
    text = record.read_text(encoding="utf-8")
    assert _title(record).startswith(f"{record.name[:4]} ")
    status = re.search(
        r"^Status: (?:accepted(?:; amended by (\d{4}(?: and \d{4})*))?|superseded by (\d{4}))$",
        text,
        re.MULTILINE,
    )
    assert status
    later = re.findall(r"\d{4}", status[0])
    assert set(later) <= {other.name[:4] for other in RECORDS if other.name > record.name}
    parts = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert [p for p in parts if p in ("Context", "Decision", "Consequences")] == [
        "Context",
        "Decision",
        "Consequences",
    ]


def _title(record: Path) -> str:
    return record.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def test_every_attack_is_played_against_processes_and_told() -> None:
    rows = re.findall(
        r"^\| (\d+) \|", (DOCS / "attacks.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert [int(number) for number in rows] == list(range(1, 17))
    for number in rows:
        pattern = f"test_{int(number):02}_*.py"
        assert list((ROOT / "tests/attacks/processes").glob(pattern)), pattern
