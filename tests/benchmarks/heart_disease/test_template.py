"""The shipped template is the policy that the study and the demonstration use."""

from benchmarks.demo.setting import template
from benchmarks.heart_disease.policy import CHOSEN, Target
from server.policy_template import find_template


def test_the_shipped_template_is_this_policy() -> None:
    assert find_template("heart-disease") == template(Target("exact", "1"), CHOSEN.rounds)
