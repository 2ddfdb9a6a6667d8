from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cv3d.errors import UsageError
from cv3d.evaluation.requirements import Requirement, check, check_names, parse_requirement

numbers = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.sampled_from(["<", "<=", ">", ">="]), numbers, st.text(" ", max_size=2))
def test_an_expression_is_read_as_written(op: str, value: float, gap: str) -> None:
    assert parse_requirement(f"{gap}rms_px{gap}{op}{gap}{value!r}{gap}") == Requirement("rms_px", op, value)


@given(numbers, numbers)
def test_opposite_operators_divide_the_numbers_between_them(bound: float, measured: float) -> None:
    assert Requirement("x", "<", bound).holds(measured) is not Requirement("x", ">=", bound).holds(measured)
    assert Requirement("x", ">", bound).holds(measured) is not Requirement("x", "<=", bound).holds(measured)


@pytest.mark.parametrize(
    "text",
    ["", "rms", "rms=0.5", "rms==1", "rms<", "<0.5", "rms<0.5px", "rms<nan", "rms<inf", "r ms<1", "a<1<2", "2<1"],
)
def test_what_is_no_requirement_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="--require"):
        parse_requirement(text)


def test_failures_say_bound_and_figure() -> None:
    wanted = [parse_requirement(text) for text in ("rms<0.5", "views>=10", "corner<1")]
    failures = check(wanted, {"rms": 0.61234, "views": 12, "corner": None})
    assert [failure.requirement.name for failure in failures] == ["rms", "corner"]
    assert str(failures[0]) == "rms<0.5 is required, but rms is 0.6123"
    assert "not known" in str(failures[1])


@pytest.mark.parametrize("op", ["<", "<=", ">", ">="])
def test_a_figure_that_is_not_known_meets_no_bound(op: str) -> None:
    assert not Requirement("x", op, 0.0).holds(math.nan)
    assert not Requirement("x", op, 0.0).holds(None)


def test_an_unknown_figure_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no figure 'rsm'; known: corner, rms"):
        check_names([parse_requirement("rsm<1")], ["rms", "corner"])
    with pytest.raises(UsageError, match="rsm"):
        check([parse_requirement("rsm<1")], {"rms": 0.1})
