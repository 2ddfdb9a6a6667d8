"""Which pairs a set is given, and how many."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from cv3d.features.matching import PairChoice
from cv3d.features.matching.groups import Groups
from cv3d.features.pairs import Sequential


def test_few_pictures_are_all_paired_and_more_are_not() -> None:
    assert PairChoice().resolved(30, is_video=False).how == "exhaustive"
    assert PairChoice().resolved(30, is_video=True).how == "exhaustive"
    assert PairChoice().resolved(31, is_video=False).how == "retrieval"
    assert PairChoice().resolved(31, is_video=True).how == "sequential"


def test_what_was_asked_for_stays(tmp_path: Path) -> None:
    listed = tmp_path / "pairs.txt"
    listed.write_text("a b\n")
    for choice in (
        PairChoice("retrieval", neighbours=40),
        PairChoice("sequential", overlap=7),
        PairChoice(str(listed)),
    ):
        assert choice.resolved(500, is_video=True) == choice


def test_auto_takes_no_more_than_it_was_allowed() -> None:
    assert PairChoice(neighbours=5).resolved(500, is_video=False).neighbours == 5
    assert PairChoice(overlap=1).resolved(500, is_video=True).overlap == 1


@pytest.mark.parametrize("count", [31, 100, 500, 2000])
def test_pairs_of_a_clip_grow_with_n_log_n(count: int) -> None:
    choice = PairChoice().resolved(count, is_video=True)
    pairs = list(Sequential(choice.overlap, doublings=choice.doublings).pairs(count))
    assert len(set(pairs)) == len(pairs)
    assert len(pairs) <= count * (math.log2(count) + choice.overlap)
    distances = {second - first for first, second in pairs}
    assert {1, 2, 3, 4, 8, 16} <= distances
    assert max(distances) >= min(count, 1024) // 2


def test_pictures_hang_together_by_the_pairs_taken_in() -> None:
    groups = Groups()
    assert groups.wants((1, 2), 0)
    groups.join((1, 2), is_thick=True)
    groups.join((3, 2), is_thick=False)
    assert groups.holds((1, 3))
    assert not groups.holds((1, 4))
    assert not groups.wants((1, 2), 1)
    assert groups.wants((1, 3), 1)
    assert groups.wants((1, 2), 2)
