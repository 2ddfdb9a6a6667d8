from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cv3d.formats.json_text import jsonable, to_json

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values, st.booleans(), st.sampled_from([None, 2]))
def test_json_reads_back_what_was_written(value: object, ascii_only: bool, indent: int | None) -> None:
    text = to_json(value, indent=indent, ascii_only=ascii_only)
    assert json.loads(text) == value
    assert text.isascii() or not ascii_only
    assert "\n" not in text or indent is not None


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Part:
    name: str
    at: Path


def test_values_of_the_library_have_a_json_form() -> None:
    value = {
        "part": Part("lens", Path("a/b")),
        Colour.RED: Colour.RED,
        "matrix": np.eye(2),
        "figure": np.float32(0.5),
        "count": np.int64(3),
        "yes": np.bool_(True),
        "pair": (1, 2),
        "names": {"b", "a"},
    }
    assert json.loads(to_json(value)) == {
        "part": {"name": "lens", "at": "a/b"},
        "red": "red",
        "matrix": [[1.0, 0.0], [0.0, 1.0]],
        "figure": 0.5,
        "count": 3,
        "yes": True,
        "pair": [1, 2],
        "names": ["a", "b"],
    }


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, np.float64("nan"), np.array([np.inf])])
def test_what_is_no_number_is_null(number: object) -> None:
    assert jsonable(number) in (None, [None])


def test_a_file_name_that_is_not_unicode_is_escaped() -> None:
    name = b"\xff.jpg".decode("utf-8", "surrogateescape")
    assert json.loads(to_json([name])) == [name]
    assert to_json([name]).isascii()


@pytest.mark.parametrize("value", [object(), {1.5: "x"}, {True: "x"}, print])
def test_what_has_no_json_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        to_json(value)
