"""The table of points: rows are nobody's or one point's, whatever is begun, given up and made room for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cv3d.odometry.patches import RADIUS, STORED, build_levels
from cv3d.odometry.points import CANDIDATE, FREE, MAPPED, PointTable
from cv3d.odometry.rays import RayTable

from .simulated import CAMERAS, Texture, rounded

CAMERA = CAMERAS["pinhole"]
RAYS = RayTable(CAMERA)
LEVELS = build_levels(rounded(Texture.random(1, count=20).picture((640, 480))))


def some_pixels(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(20.0, [619.0, 459.0], (count, 2)).astype(np.float32)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(["take", "free", "free twice", "recycle"]), st.integers(0, 12)), max_size=40))
def test_rows_are_never_shared(steps: list[tuple[str, int]]) -> None:
    table = PointTable(capacity=4)
    alive: list[int] = []
    dead: set[int] = set()
    for what, count in steps:
        if what == "take":
            rows = table.take(count)
            assert len(set(rows.tolist())) == count
            # Not those of living points, nor of dead ones that key frames still name.
            assert not set(rows.tolist()) & (set(alive) | dead)
            table.kind[rows] = CANDIDATE
            alive += rows.tolist()
        elif what == "recycle":
            table.recycle()
            dead = set()
        else:
            gone = np.array(alive[:count], np.int64)
            table.free(gone)
            if what == "free twice":
                table.free(gone)
            assert (table.kind[gone] == FREE).all()
            dead |= set(alive[:count])
            alive = alive[count:]
        assert len(table) == len(alive)
        assert table.dead_count == len(dead)
        assert (table.kind != FREE).sum() == len(alive)


def test_growing_keeps_what_is_there() -> None:
    table = PointTable(capacity=8)
    pixels = some_pixels(8)
    rows = table.begin(pixels, LEVELS, RAYS, host=3, frame=5, segment=1)
    table.kind[rows[:4]] = MAPPED
    table.xyz[rows] = np.arange(24.0).reshape(8, 3)
    before = {name: values.copy() for name, values in vars(table).items() if isinstance(values, np.ndarray)}
    patches = table.patches.copy()
    table.begin(some_pixels(30, 1), LEVELS, RAYS, host=4, frame=6, segment=1)
    assert len(table) == 38
    for name, values in before.items():
        now = getattr(table, name)
        assert len(now) >= 38
        assert np.array_equal(now[:8], values), name
    assert np.array_equal(table.patches[:8], patches)
    assert len(table.patches) == len(table.kind)
    # Rows that nobody has had belong to no key frame and were seen in no frame.
    unused = table.kind == FREE
    assert unused.any()
    for name in ("host", "last_frame", "segment"):
        assert (getattr(table, name)[unused] == -1).all()


def test_a_point_begins_with_what_its_key_frame_sees() -> None:
    table = PointTable()
    pixels = np.round(some_pixels(20))
    rows = table.begin(pixels, LEVELS, RAYS, host=7, frame=70, segment=2)
    assert (table.kind[rows] == CANDIDATE).all()
    assert (table.host[rows] == 7).all()
    assert (table.last_frame[rows] == 70).all()
    assert (table.segment[rows] == 2).all()
    assert np.array_equal(table.last_pixel[rows], pixels)
    assert np.allclose(table.host_rays[rows, 0], RAYS.rays(pixels))
    middles = table.patches[rows, 0, STORED, STORED]
    assert np.array_equal(middles, LEVELS[0][pixels[:, 1].astype(int), pixels[:, 0].astype(int)])


@pytest.mark.parametrize("model", CAMERAS)
def test_the_rays_beside_lead_to_the_pixels_beside(model: str) -> None:
    camera = CAMERAS[model]
    rays = RayTable(camera)
    table = PointTable()
    pixels = some_pixels(20)
    pixels[:4] = [[0.0, 0.0], [639.0, 240.0], [320.0, 479.0], [636.0, 476.0]]
    pixels = pixels[np.isfinite(rays.rays(pixels)).all(1)]
    rows = table.begin(pixels, LEVELS, rays, host=0, frame=0, segment=0)
    host_rays = table.host_rays[rows]
    assert np.isfinite(host_rays).all()
    across = host_rays[:, 1:] - host_rays[:, :1]
    assert np.abs(np.einsum("nij,nj->ni", across, host_rays[:, 0])).max() < 1e-9
    seen = camera.project(host_rays)
    inside = ((pixels > 20.0) & (pixels < [619.0, 459.0])).all(1)
    for k, offset in ((1, (RADIUS, 0.0)), (2, (0.0, RADIUS))):
        error = np.abs(seen[:, k] - pixels - offset)
        assert error[inside].max() < 0.02
        # At the border the other side is mirrored.
        assert error.max() < 1.0


def test_a_recycled_row_is_a_new_point() -> None:
    table = PointTable(capacity=8)
    rows = table.begin(some_pixels(8), LEVELS, RAYS, host=0, frame=0, segment=0)
    table.views[rows], table.misses[rows], table.inverse_sigma[rows] = 5, 3, 0.1
    table.free(rows[:3])
    table.recycle()
    again = table.begin(some_pixels(3, 9), LEVELS, RAYS, host=1, frame=9, segment=1)
    assert set(again.tolist()) == set(rows[:3].tolist())
    assert (table.kind[again] == CANDIDATE).all()
    assert (table.views[again] == 0).all()
    assert (table.misses[again] == 0).all()
    assert (table.inverse_sigma[again] == 0.0).all()
