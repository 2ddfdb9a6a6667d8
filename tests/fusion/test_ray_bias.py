"""Views of the model lie where its surface does, wherever the surface is between two voxels."""

from __future__ import annotations

import numpy as np
import pytest

from cv3d.fusion import VoxelGrid

from .rooms import CAMERA


@pytest.mark.parametrize("offset_mm", [0.0, 3.0, 7.0, 9.9, 10.1, 13.0, 19.0])
def test_a_plane_is_met_where_it_is(offset_mm: float) -> None:
    depth = np.full((CAMERA.height, CAMERA.width), 2.0 + 0.001 * offset_mm, np.float32)
    with VoxelGrid(0.02) as grid:
        for _ in range(2):
            grid.integrate(depth, None, CAMERA, np.eye(4))
        met = grid.ray_cast(CAMERA, np.eye(4), 1).depth
    inside = met[10:-10, 10:-10]
    assert (inside > 0.0).all()
    assert np.abs(inside - depth[0, 0]).max() < 5e-4
