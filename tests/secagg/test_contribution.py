from math import isqrt

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.contribution import MAX_PATIENTS, MAX_SCALE, ContributionRule

RULE = {"scale": 1024, "gradient_bound": 240, "count_weight": 44, "max_patients": 500}


def test_sensitivity_covers_the_gradient_and_the_count_together() -> None:
    rule = ContributionRule(**RULE)
    assert rule.sensitivity_squared == 240**2 + 44**2
    assert rule.sensitivity == 244
    assert rule.coordinate_bound == 500 * 240


def test_the_count_may_be_the_largest_coordinate() -> None:
    assert ContributionRule(**{**RULE, "count_weight": 1000}).coordinate_bound == 500_000


@given(st.integers(1, 2**30), st.integers(1, 2**30))
def test_sensitivity_is_rounded_up(gradient: int, count: int) -> None:
    rule = ContributionRule(scale=1, gradient_bound=gradient, count_weight=count, max_patients=1)
    assert rule.sensitivity**2 >= rule.sensitivity_squared > (rule.sensitivity - 1) ** 2
    assert rule.sensitivity >= isqrt(rule.sensitivity_squared)


@pytest.mark.parametrize("field", ["scale", "gradient_bound", "count_weight", "max_patients"])
@pytest.mark.parametrize("value", [0, -1, MAX_SCALE + 1])
def test_bounds_hold_however_the_rule_is_made(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=field):
        ContributionRule(**{**RULE, field: value})
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**RULE, field: value}, ContributionRule)


def test_coordinates_stay_within_62_bits() -> None:
    with pytest.raises(ValueError, match="62 bits"):
        ContributionRule(scale=1, gradient_bound=2**38, count_weight=1, max_patients=MAX_PATIENTS)
