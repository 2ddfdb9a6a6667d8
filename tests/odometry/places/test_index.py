from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from cv3d.errors import InputError
from cv3d.odometry.places import Description, PlaceIndex, locate


def _at_angle(base: Description, angle: float) -> Description:
    """A picture whose likeness to another falls with the difference of their angles."""
    whole = np.zeros_like(base.whole)
    whole[:2] = np.cos(angle), np.sin(angle)
    return replace(base, whole=whole)


@pytest.fixture
def base(described: Callable) -> Description:
    return described(np.full((3, 2), 5.0), np.eye(3, 64))


def test_candidates_come_best_first_and_without_the_excluded(base: Description) -> None:
    index = PlaceIndex()
    for key in range(10):
        index.add(key, 0, _at_angle(base, 0.1 * key), np.full((3, 3), np.nan))
    asked = _at_angle(base, 0.42)
    assert [c.key for c in index.candidates(asked, limit=3)] == [4, 5, 3]
    assert [c.key for c in index.candidates(asked, exclude={4, 3}, limit=2)] == [5, 6]
    scores = [c.score for c in index.candidates(asked, limit=10)]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 10
    assert [c.key for c in index.candidates(asked, limit=10, min_score=0.999)] == [4]
    assert index.candidates(asked, limit=0) == [] == PlaceIndex().candidates(asked)


def test_memory_is_bounded_and_what_is_spread_out_stays(base: Description) -> None:
    index = PlaceIndex(max_places=12)
    angles = np.concatenate([np.linspace(0, 1.4, 8), 1.4 + 0.002 * np.arange(1, 40)])
    for key, angle in enumerate(angles):
        index.add(key, 0, _at_angle(base, float(angle)), np.zeros((3, 3)))
        assert len(index) <= 12
    kept = set(index.keys)
    assert set(range(8)) <= kept
    assert {len(angles) - 1, len(angles) - 2} <= kept
    assert index.bytes == 12 * (3 * (8 + 128 + 12) + 2080 * 4)


def test_segments_of_one_place_each_go_oldest_first(base: Description) -> None:
    index = PlaceIndex(max_places=4)
    for key in range(6):
        index.add(key, key, base, np.zeros((3, 3)))
    assert index.keys == (2, 3, 4, 5)


def test_points_are_updated_and_moved(base: Description) -> None:
    index = PlaceIndex()
    index.add(7, 0, base, np.full((3, 3), np.nan))
    assert len(index[7].known) == 0
    points = np.arange(9.0).reshape(3, 3)
    points[1, 0] = np.nan
    index.update_points(7, points)
    assert index[7].known.tolist() == [0, 2]
    index.move_to_segment([7, 8], 3, 2.0)
    assert index[7].segment == 3
    assert np.allclose(index[7].points_in_cam[2], 2.0 * points[2])
    index.update_points(99, points)
    index.remove(7)
    index.remove(7)
    assert 7 not in index
    assert len(index) == 0


def test_it_locates_as_the_function_does(scene: Callable) -> None:
    made = scene(0)
    index = PlaceIndex()
    index.add(0, 0, made.query, np.zeros((200, 3)))
    index.add(
        5,
        2,
        replace(made.query, pixels=made.place.pixels, descriptors=made.place.descriptors.astype(np.float32)),
        made.place.points_in_cam.astype(np.float64),
    )
    found, expected = index.locate(made.query, 5, made.camera), locate(made.query, made.place, made.camera)
    assert found is not None
    assert expected is not None
    assert np.array_equal(found.query_from_place, expected.query_from_place)
    assert (found.key, found.segment) == (5, 2)
    assert index.locate(made.query, 17, made.camera) is None


def test_bad_arguments_are_refused(base: Description) -> None:
    with pytest.raises(InputError, match="at least 4"):
        PlaceIndex(3)
    index = PlaceIndex()
    with pytest.raises(InputError, match="3 rows"):
        index.add(0, 0, base, np.zeros((2, 3)))
    index.add(0, 0, base, np.zeros((3, 3)))
    with pytest.raises(InputError, match="3 rows"):
        index.update_points(0, np.zeros((3, 2)))


def test_threads_may_share_it(base: Description) -> None:
    index = PlaceIndex(max_places=8)

    def work(number: int) -> int:
        for step in range(40):
            key = number * 100 + step
            index.add(key, number, _at_angle(base, 0.01 * step), np.zeros((3, 3)))
            index.update_points(key, np.ones((3, 3)))
            index.candidates(base, limit=3)
        return len(index)

    with ThreadPoolExecutor(4) as pool:
        assert max(pool.map(work, range(4))) <= 8
