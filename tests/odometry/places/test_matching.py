from __future__ import annotations

import numpy as np

from cv3d.odometry.places.matching import match_rows, once_each


def test_a_permutation_is_undone() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(150, 64))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    order = rng.permutation(150)
    found = match_rows(rows, rows[order].astype(np.float16), 0.82)
    assert len(found) == 150
    assert np.array_equal(order[found.place_rows], found.query_rows)
    assert (found.cosines > 0.99).all()


def test_pairs_that_may_not_match_do_not() -> None:
    rows = np.eye(4, 64)
    allowed = ~np.eye(4, dtype=bool)
    assert len(match_rows(rows, rows, 0.5, allowed)) == 0
    assert len(match_rows(rows, rows, 0.5, ~allowed)) == 4


def test_no_rows_have_no_matches() -> None:
    assert len(match_rows(np.zeros((0, 64)), np.eye(3, 64), 0.5)) == 0
    assert len(match_rows(np.eye(3, 64), np.zeros((0, 64)), 0.5)) == 0


def test_rows_of_one_spot_count_once_by_the_best() -> None:
    rows = np.eye(3, 64)
    blurred = rows.copy()
    blurred[1, 5] = 0.3
    blurred /= np.linalg.norm(blurred, axis=1, keepdims=True)
    found = match_rows(rows, blurred, 0.5)
    pixels = np.array([[10.0, 10.0], [10.5, 10.2], [50.0, 10.0]])
    assert once_each(found, pixels, 1.0).query_rows.tolist() == [0, 2]
