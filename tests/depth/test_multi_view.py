"""Depth maps of a set: how true they are, what is left out, what an interrupted run keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from cv3d.compute import Compute
from cv3d.depth import multi_view
from cv3d.depth.choosing import NoSources, Sources, choose_sources
from cv3d.depth.forecast import duration_words
from cv3d.depth.multi_view import depth_maps
from cv3d.depth.options import DepthOptions, Quality
from cv3d.depth.posed import PosedSet
from cv3d.depth.result import DepthResult
from cv3d.depth.store import DepthStore
from cv3d.errors import EstimationError, UsageError
from tests.depth.rendered import Rendered, pose, rendered

CPU = Compute.choose("cpu")
OPTIONS = DepthOptions(max_side=200, rounds=1, coarse_iterations=5)
SMALL = DepthOptions(max_side=100, rounds=1, coarse_iterations=1, iterations=1)
"""Of every step one, for what does not depend on how good the maps are."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    return rendered(tmp_path_factory.mktemp("rendered"))


@pytest.fixture(scope="module")
def result(scene: Rendered) -> DepthResult:
    return depth_maps(scene.posed, options=OPTIONS, compute=CPU)


@pytest.fixture(scope="module")
def three(scene: Rendered) -> PosedSet:
    """Three views of the scene."""
    return replace(scene.posed, views=scene.posed.views[1:4])


@pytest.fixture(scope="module")
def small(three: PosedSet) -> DepthResult:
    return depth_maps(three, options=SMALL, compute=CPU)


def test_depth_is_true_and_says_how_sure_it_is(scene: Rendered, result: DepthResult) -> None:
    assert [one.name for one in result.maps] == [view.picture.name for view in scene.posed.views]
    for one, truth in zip(result.maps, scene.depths, strict=True):
        error = np.abs(one.depth - truth) / truth
        has = one.depth > 0.0
        assert has.mean() > 0.8
        assert (error[has] < 0.01).mean() > 0.93
        assert (one.confidence[has] > 0.0).all()
        assert (one.confidence[~has] == 0.0).all()
        sure, doubtful = one.confidence >= 0.8, has & (one.confidence < 0.8)
        assert (error[sure] < 0.01).mean() > 0.97
        assert (error[sure] < 0.01).mean() > (error[doubtful] < 0.01).mean()


def test_what_only_one_view_shows_gets_no_depth(scene: Rendered, result: DepthResult) -> None:
    # The leftmost camera's left border is seen by nobody else.
    assert (result.maps[0].depth[:, :4] > 0.0).mean() < 0.6


def test_the_same_seed_gives_the_same_maps(three: PosedSet, small: DepthResult) -> None:
    assert min(one.coverage for one in small.maps) > 0.2
    again = depth_maps(three, options=SMALL, compute=CPU)
    for one, other in zip(small.maps, again.maps, strict=True):
        assert np.array_equal(one.depth, other.depth)
        assert np.array_equal(one.confidence, other.confidence)


def test_an_interrupted_run_goes_on_where_it_was(
    three: PosedSet, small: DepthResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = DepthStore(tmp_path, "digest")
    real, calls = multi_view.improved, []

    def counted(*arguments: object, **named: object) -> object:
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return real(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(multi_view, "improved", counted)
    with pytest.raises(KeyboardInterrupt):
        depth_maps(three, options=SMALL, compute=CPU, keep=keep)
    before = len(calls)
    finished = depth_maps(three, options=SMALL, compute=CPU, keep=keep)
    rest = len(calls) - before
    for one, other in zip(small.maps, finished.maps, strict=True):
        assert np.array_equal(one.depth, other.depth)
    # Three views, each once in each of three steps, of which the first five times are done.
    assert rest == 3 * 3 - 5
    again = len(calls)
    kept = depth_maps(three, options=SMALL, compute=CPU, keep=keep)
    assert len(calls) == again
    assert np.array_equal(kept.maps[0].depth, small.maps[0].depth)
    assert not (tmp_path / "steps").exists()


@pytest.mark.slow
def test_other_poses_are_another_run(three: PosedSet, tmp_path: Path) -> None:
    keep = DepthStore(tmp_path, "digest")
    options = replace(SMALL, fine_iterations=0)
    first = depth_maps(three, options=options, compute=CPU, keep=keep)
    moved = three.views[0]
    cam_from_world = moved.cam_from_world.copy()
    cam_from_world[0, 3] += 0.05
    views = (replace(moved, cam_from_world=cam_from_world), *three.views[1:])
    other = depth_maps(replace(three, views=views), options=options, compute=CPU, keep=keep)
    assert not np.array_equal(first.maps[0].depth, other.maps[0].depth)


def test_a_picture_that_cannot_be_read_is_left_out(
    scene: Rendered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "2.png"
    broken.write_bytes(b"no picture")
    views = list(scene.posed.views)
    views[2] = replace(views[2], picture=replace(views[2].picture, source=broken))
    options = replace(OPTIONS, fine_iterations=0, max_side=100, coarse_iterations=1)
    posed, keep = replace(scene.posed, views=tuple(views)), DepthStore(tmp_path / "kept", "digest")
    result = depth_maps(posed, options=options, compute=CPU, keep=keep)
    assert [one.name for one in result.left_out] == ["2.png"]
    assert len(result.maps) == 4
    # The others are finished, and a second run says again what was left out.
    monkeypatch.delattr(multi_view, "improved")
    again = depth_maps(posed, options=options, compute=CPU, keep=keep)
    assert [one.name for one in again.left_out] == ["2.png"]
    assert all(np.array_equal(a.depth, b.depth) for a, b in zip(result.maps, again.maps, strict=True))


def test_sources_share_points_at_good_angles(tmp_path: Path) -> None:
    scene = rendered(tmp_path, (pose(0.0, 0.0), pose(0.002, 0.0), pose(0.3, 0.0), pose(-0.3, 0.0)))
    first = choose_sources(scene.posed, 2)[0]
    assert isinstance(first, Sources)
    assert set(first.views) == {2, 3}
    least, most = first.inverse_range
    depth = scene.depths[0]
    assert least < 1.0 / depth.max()
    assert most > 1.0 / depth.min()


def test_views_that_share_nothing_are_told(scene: Rendered) -> None:
    views = list(scene.posed.views)
    views[0] = replace(views[0], points=np.zeros(0, np.intp))
    choice = choose_sources(replace(scene.posed, views=tuple(views)), 4)[0]
    assert isinstance(choice, NoSources)
    assert "0 points" in choice.reason
    nobody = PosedSet(tuple(replace(view, points=np.zeros(0, np.intp)) for view in views), scene.posed.points)
    with pytest.raises(EstimationError, match="no picture has another"):
        depth_maps(nobody, options=OPTIONS, compute=CPU)


def test_a_wall_without_texture_is_a_hole_and_no_invention(scene: Rendered, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    views = []
    for view in scene.posed.views:
        flat = rng.normal(128.0, 2.0, (150, 200, 1)).clip(0, 255).astype(np.uint8).repeat(3, axis=2)
        file = tmp_path / view.picture.name
        assert cv2.imwrite(str(file), flat)
        views.append(replace(view, picture=replace(view.picture, source=file)))
    options = replace(OPTIONS, max_side=120)
    result = depth_maps(replace(scene.posed, views=tuple(views)), options=options, compute=CPU)
    assert np.mean([one.coverage for one in result.maps]) < 0.02


def test_options_out_of_range_and_words() -> None:
    for wrong in ({"max_side": 10}, {"sources": 0}, {"rounds": 0}, {"reprojection_px": 0.0}):
        with pytest.raises(UsageError):
            DepthOptions(**wrong)  # type: ignore[arg-type]
    sides = [DepthOptions.of(quality).max_side for quality in Quality]
    assert sides == sorted(sides)
    assert [duration_words(s) for s in (3.0, 61.0, 200.0, 7300.0)] == [
        "5 seconds",
        "60 seconds",
        "3 minutes",
        "2 hours",
    ]
