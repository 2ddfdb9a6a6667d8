"""The page of a matched set: whole, self-contained, bounded, true to its numbers."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cv3d.features.store import FeatureStore
from cv3d.reporting.match_cards import choose_examples
from cv3d.reporting.match_page import match_page
from cv3d.reporting.stored_pairs import stored_pairs

VOID = {"br", "col", "hr", "img", "input", "meta", "wbr"}
MOST_BYTES = 3_000_000


class Balance(HTMLParser):
    """Sees that what is opened is closed, and collects what would be loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href") and value and not value.startswith(("data:", "#")):
                self.loaded.append(value)
            if name == "href" and value and value.startswith("#"):
                self.links.append(value[1:])
            if name == "id" and value:
                self.ids.append(value)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def rendered(result: Any, load: Any, title: str = "a set") -> str:
    with FeatureStore.open(result.store, read_only=True) as store:
        return match_page(result, store, load, title)


def without_pictures(text: str) -> str:
    return re.sub(r"base64,[\w+/=]+", "", text)


SHAPES: dict[str, dict[str, Any]] = {
    "connected": {},
    "parts": {"count": 20, "groups": 3, "lone": 4, "unreadable": 2, "warnings": ("<b>careful</b>",)},
    "nothing": {"count": 5, "lone": 5},
    "smallest": {"count": 2},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_page_is_whole_and_loads_nothing(shape: str, make_set: Any, noise: Any, tmp_path: Path) -> None:
    result = make_set(tmp_path, **SHAPES[shape])
    text = rendered(result, lambda name: noise((160, 120)))
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert parser.loaded == []
    assert len(parser.ids) == len(set(parser.ids))
    assert set(parser.links) <= set(parser.ids)
    assert "<script" not in text
    assert not re.search(r"\b(nan|inf)\b", without_pictures(text), re.IGNORECASE)
    assert "<b>careful" not in text
    words = result.sentence()
    assert words[:1].upper() + words[1:] in text
    assert ("nothing verified" in text) == (shape == "nothing")
    for picture in result.pictures:
        assert picture.name in text


def test_names_and_reasons_are_text(make_set: Any, noise: Any, tmp_path: Path) -> None:
    result = make_set(tmp_path, count=6, name="<i>{:d}&\"'".format)
    text = rendered(result, lambda name: noise((160, 120)), title="<script>alert(1)</script>")
    assert "<i>" not in text
    assert "<script" not in text
    assert "&lt;i&gt;3&amp;" in text


def test_the_page_says_the_same_in_every_run(make_set: Any, noise: Any, tmp_path: Path) -> None:
    result = make_set(tmp_path, count=15, groups=2, lone=2)
    assert rendered(result, lambda name: noise((160, 120))) == rendered(result, lambda name: noise((160, 120)))


def test_a_picture_that_is_gone_leaves_its_place(make_set: Any, noise: Any, tmp_path: Path) -> None:
    result = make_set(tmp_path)
    text = rendered(result, lambda name: None if name == "0001.png" else noise((160, 120)))
    assert "cannot be read" in text


@pytest.mark.slow
def test_a_large_set_of_large_pictures_makes_no_large_page(make_set: Any, noise: Any, tmp_path: Path) -> None:
    result = make_set(tmp_path, count=350, reach=4, lone=30, name=lambda i: f"{'long name ' * 6}{i:04d}.jpg")
    large = noise((900, 700))
    text = rendered(result, lambda name: large)
    assert len(text.encode()) < MOST_BYTES
    assert "Each cell stands for 2 × 2 pictures" in text
    assert "drawn as one dot" in text
    assert "30 alone" in text


def test_examples_are_what_they_are_called(make_set: Any, tmp_path: Path) -> None:
    result = make_set(tmp_path, count=30, groups=2)
    with FeatureStore.open(result.store, read_only=True) as store:
        pairs = list(stored_pairs(store, result))
    chosen = choose_examples(iter(pairs), "lighterglue")
    shown = [pair for kind in (chosen.strongest, chosen.weakest, chosen.helped, chosen.unverified) for pair in kind]
    assert len(shown) == len({pair.ids for pair in shown}) == 16
    verified = [pair.inliers for pair in pairs if pair.verified]
    assert all(pair.inliers == max(verified) for pair in chosen.strongest)
    assert all(pair.inliers == min(verified) for pair in chosen.weakest)
    assert all(pair.matcher == "lighterglue" and pair.inliers > pair.first_inliers for pair in chosen.helped)
    assert not any(pair.verified for pair in chosen.unverified)
    assert len({place for pair in chosen.strongest for place in pair.places}) == 8


def test_stored_pairs_agree_with_the_result(make_set: Any, tmp_path: Path) -> None:
    result = make_set(tmp_path, count=25, groups=2, lone=3)
    with FeatureStore.open(result.store, read_only=True) as store:
        pairs = list(stored_pairs(store, result))
    assert len(pairs) == result.planned
    known = {pair.places: pair for pair in pairs}
    for edge, inliers, is_learned in zip(result.edges.tolist(), result.inliers, result.is_learned, strict=True):
        pair = known.pop(tuple(edge))
        assert pair.verified
        assert pair.inliers == inliers
        assert (pair.matcher == "lighterglue") == is_learned
    assert not any(pair.verified for pair in known.values())
    assert np.isfinite([pair.promise for pair in pairs]).all()
