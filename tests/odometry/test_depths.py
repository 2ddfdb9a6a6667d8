"""Depth of single pixels: none where there is a hole or an edge."""

from __future__ import annotations

import numpy as np

from cv3d.odometry.depths import read_depths


def wall(distance: float = 2.0) -> np.ndarray:
    return np.full((48, 64), distance, np.float32)


def test_depth_of_a_slope_is_that_of_the_pixel() -> None:
    slope = (1.0 + 0.01 * np.arange(64, dtype=np.float32))[None].repeat(48, 0)
    found, sigma = read_depths(slope, np.array([[10.0, 20.0], [30.4, 20.4], [30.6, 20.0]]))
    assert np.allclose(found, [1.1, 1.3, 1.31], atol=1e-6)
    assert (np.diff(sigma) > 0.0).all()


def test_the_deviation_grows_with_the_square_of_the_distance() -> None:
    sigma = [read_depths(wall(distance), np.array([[5.0, 5.0]]))[1][0] for distance in (1.0, 2.0, 4.0)]
    assert sigma[2] - sigma[1] == 4.0 * (sigma[1] - sigma[0]) or np.isclose(
        sigma[2] - sigma[1], 4.0 * (sigma[1] - sigma[0])
    )


def test_holes_edges_and_nan_give_none() -> None:
    depth = wall()
    depth[10:20, 10:20] = 0.0
    depth[30:40, 10:20] = np.nan
    depth[:, 40:] = 3.0
    pixels = np.array([[15.0, 15.0], [15.0, 35.0], [39.6, 25.0], [39.0, 25.0], [38.0, 25.0], [50.0, 25.0]])
    found, _ = read_depths(depth, pixels)
    assert found.tolist() == [0.0, 0.0, 0.0, 0.0, 2.0, 3.0]


def test_a_few_missing_neighbours_do_not_matter() -> None:
    depth = wall()
    depth[20, 20:22] = 0.0
    depth[21, 20] = np.nan
    depth[30, 30:33] = depth[31, 30] = 0.0
    found, _ = read_depths(depth, np.array([[21.0, 21.0], [31.0, 31.0]]))
    assert found.tolist() == [2.0, 0.0]


def test_beyond_the_picture_there_is_none() -> None:
    pixels = np.array([[-3.0, 5.0], [0.0, 5.0], [63.0, 5.0], [5.0, 47.0], [1e9, 5.0], [np.nan, np.nan]])
    found, sigma = read_depths(wall(), pixels)
    assert (found == 0.0).all()
    assert (sigma > 0.0).all()
    assert read_depths(wall(), np.zeros((0, 2)))[0].shape == (0,)


def test_negative_and_infinite_depth_is_no_measurement() -> None:
    for value in (-1.0, np.inf):
        assert read_depths(wall(value), np.array([[20.0, 20.0]]))[0][0] == 0.0
