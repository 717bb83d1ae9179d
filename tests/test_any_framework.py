"""docs/any-framework.md: its template makes a policy, and its figures are right."""

from __future__ import annotations

import re
from fractions import Fraction
from math import sqrt
from pathlib import Path

from secagg.privacy.accounting import epsilon_to_zcdp
from server.policy_template import read_template

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "any-framework.md").read_text(encoding="utf-8")
TEMPLATE = read_template(DOCS / "examples" / "two-layers.json")


def test_the_template_makes_a_policy_of_three_hospitals() -> None:
    keys = [bytes([each]) * 32 for each in range(1, 5)]
    policy = TEMPLATE.policy("trial", keys[0], dict(zip(("a", "b", "c"), keys[1:], strict=True)))
    assert policy.noise.unit == "hospital"
    assert policy.min_survivors == TEMPLATE.model.update.count_floor == 3


def test_the_page_says_what_is_in_the_template() -> None:
    rule = TEMPLATE.model.contribution
    for name in ("scale", "gradient_bound", "count_weight", "max_patients"):
        assert f"| `contribution.{name}` | {getattr(rule, name)} |" in PAGE
    assert f"in units: {rule.gradient_bound / rule.scale}." in PAGE


def test_the_example_names_its_layers_as_the_template_does() -> None:
    script = (DOCS / "examples" / "pytorch_hospital.py").read_text(encoding="utf-8")
    layers = re.findall(r'add_module\("(\w+)", nn\.Linear\((\d+), (\d+)\)\)', script)
    expected = {
        f"{name}.{kind}": shape
        for name, inward, outward in layers
        for kind, shape in (("weight", (int(outward), int(inward))), ("bias", (int(outward),)))
    }
    assert {each.name: each.shape for each in TEMPLATE.model.parameters} == expected


def test_how_loud_the_noise_is() -> None:
    parameters = TEMPLATE.model.dimension - 1
    assert f"For the {parameters}\nparameters here" in PAGE
    rows = re.findall(r"^\| (\d+) \| ([\d.]+) \| ([\d.]+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 3
    for epsilon, *norms in rows:
        total = epsilon_to_zcdp(float(epsilon), Fraction("0.00001"))
        for rounds, norm in zip((1, 10), norms, strict=True):
            assert f"{sqrt(parameters / (2 * float(total) / rounds)):.2g}" == f"{float(norm):.2g}"
